"""What a scan finds, beside the exact order by float32. test/bench/memory/meaning.py does the same for a million."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.sqlite.vectors import codefile, codes, halves, planes, scan, signs

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


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_two_threads_compute_what_one_does(tmp_path, count):
    vectors = random_vectors(np.random.default_rng(1), count)
    query = np.random.default_rng(2).standard_normal(WIDTH, np.float32).tobytes()
    rounded = np.rint(20 * vectors).astype(np.int8)
    its, bits = signs.Signs(query), [*signs.sign_bits(rounded)]
    file = codefile.CodeFile(tmp_path, WIDTH)
    places = file.append(rounded)
    assert (its.distances(bits, halves.in_halves) == its.distances(bits)).all()
    assert file.cosines(query, places, halves.in_halves) == pytest.approx(file.cosines(query, places), abs=1e-6)


def test_an_error_of_either_half_is_raised():
    for failing in (0, 2500):

        def compute(start, _, failing=failing):
            if start == failing:
                raise OSError

        with pytest.raises(OSError, match=r"^$"):
            halves.in_halves(compute, 5000)


async def test_a_search_has_two_threads_if_it_is_alone(store, monkeypatch):
    await store.put("n", "k", 1, vector=[1.0, 2.0])
    runs = []
    monkeypatch.setattr(planes, "in_halves", lambda compute, count: (runs.append(count), compute(0, count)))
    query = Query.create(vector=[1.0, 2.0])
    await store.search(query, limit=1)
    assert runs == [1]
    store._readers.under_way["texts"] += 1  # as if another one waited for its turn
    await store.search(query, limit=1)
    store._readers.under_way["texts"] -= 1
    assert runs == [1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=300), st.data())
def test_the_best_by_bits_are_those_of_the_plain_selection(slots, data):
    distances, spaces = np.array(slots, np.uint16).T.copy()
    allowed = np.array([False, *data.draw(st.lists(st.booleans(), min_size=3, max_size=3))])
    searched = [(distance, slot) for slot, (distance, space) in enumerate(slots) if allowed[space]]
    count = data.draw(st.integers(0, len(searched)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "EXACT", count)
        held = planes.Planes(WIDTH, 0)
        held._spaces, held._count = spaces.astype(np.uint32), len(slots)
        found = held._best(distances, allowed).tolist()
    last = sorted(searched)[count - 1][0] if count else 0
    assert found == [slot for distance, slot in searched if distance <= last]


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
