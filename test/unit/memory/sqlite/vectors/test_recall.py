"""What a scan finds, beside the exact order by float32. test/bench/memory/meaning.py does the same for a million."""

import numpy as np
import pytest

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.sqlite.vectors import codes, planes, scan, signs

WIDTH = 64


def random_vectors(random, count):
    return random.standard_normal((count, WIDTH), np.float32)


def clustered_vectors(random, count):
    centres = np.random.default_rng(5).standard_normal((12, WIDTH), np.float32)
    return centres[random.integers(0, 12, count)] + 0.5 * random.standard_normal((count, WIDTH), np.float32)


async def recall(store, vectors, queries):
    """The part of the ten nearest that is found."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = 0
    for query in queries:
        page = await store.search(Query.create(vector=query.astype("<f4").tobytes()), limit=10)
        exact = np.argsort(-(unit @ query))[:10]
        found += len({int(hit.entry.key) for hit in page.hits} & set(exact.tolist()))
        assert len(page.hits) == 10
    return found / (10 * len(queries))


@pytest.mark.parametrize("kind", [random_vectors, clustered_vectors])
async def test_recall(store, monkeypatch, kind):
    vectors, queries = kind(np.random.default_rng(1), 2000), kind(np.random.default_rng(2), 30)
    numbered = [*enumerate(vectors)]
    for start in range(0, len(numbered), 1000):
        batch = numbered[start : start + 1000]
        await store.batch([Put(Draft.create("n", str(number), 0, vector=each.tobytes())) for number, each in batch])
    assert await recall(store, vectors, queries) >= 0.98  # all codes are compared
    monkeypatch.setattr(planes, "EXACT", 400)
    assert await recall(store, vectors, queries) >= 0.97
    store._vectors._planes[WIDTH]._codes = None  # as on a disk that is full
    monkeypatch.setattr(scan, "_BATCH", 20)  # candidates are rescored until those that are left can hardly be better
    assert await recall(store, vectors, queries) >= 0.97

    def without_rescoring(vector, chosen):
        """The cosines of the bits alone."""
        signs = np.where(chosen < 0, -1.0, 1.0)
        query = np.sign(np.frombuffer(vector, "<f4"))
        return signs @ query / len(query)

    monkeypatch.setattr("swarm_operator.memory.sqlite.vectors.codes.cosines", without_rescoring)
    assert await recall(store, vectors, queries) < 0.9  # so this test can fail


@pytest.mark.parametrize("width", [1, 7, 64, 100, 256])
def test_a_code_keeps_the_direction(width):
    vectors = np.random.default_rng(width).standard_normal((50, width), np.float32)
    encoded = [codes.encode(each.tobytes()) for each in vectors]
    restored = np.array([scale * np.frombuffer(code, np.int8) for scale, code in encoded])
    assert np.abs(restored - vectors).max() <= np.abs(vectors).max() / 127
    query = vectors[0] + 0.1
    exact = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    compared = codes.cosines(query.tobytes(), codes.matrix([code for _, code in encoded], width))
    assert np.abs(compared - exact).max() < 0.01


@pytest.mark.parametrize("width", [1, 7, 64, 100, 256])
def test_a_distance_is_the_sum_of_the_sizes_where_signs_differ(width):
    vectors = np.random.default_rng(width).standard_normal((50, width), np.float32)
    query = np.random.default_rng(0).standard_normal(width, np.float32)
    rounded = codes.matrix([codes.encode(each.tobytes())[1] for each in vectors], width)
    sizes = np.minimum(np.rint(np.abs(query) / (0.8 * np.abs(query).mean())), 3)
    found = signs.Signs(query.tobytes()).distances([*signs.sign_bits(rounded)])
    assert found.tolist() == (((rounded < 0) != (query < 0)) * sizes).sum(axis=1).tolist()


def test_few_cosines_exceed_their_bounds():
    vectors = random_vectors(np.random.default_rng(1), 4000)
    query = np.random.default_rng(2).standard_normal(WIDTH, np.float32)
    its = signs.Signs(query.tobytes())
    bounds = its.bounds(its.distances([*signs.sign_bits(vectors)]))
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    assert np.mean(cosines > bounds) < 0.005
    assert np.mean(cosines > bounds - 0.2) > 0.05  # they are close


def test_row_ids_beyond_32_bits_and_slots_in_between():
    held = planes.Planes(3, 0)
    code = codes.encode(np.ones(3, np.float32).tobytes())[1]
    for rows in ([(5, 1, code), (9, 1, code)], [(7, 2, code)], [(2**40, 1, code)], [(1, 1, code), (7, 1, code)]):
        held._set(rows)
    found, guesses = held.candidates(np.ones(3, np.float32).tobytes(), [1, 2])
    assert (found.tolist(), guesses) == ([1, 5, 7, 9, 2**40], None)
    held._remove([5, 6, 2**40, 2**50])
    assert held.candidates(np.ones(3, np.float32).tobytes(), [1])[0].tolist() == [1, 7, 9]
    held._set([(5, 2, code)])
    assert held.candidates(np.ones(3, np.float32).tobytes(), [2])[0].tolist() == [5]
