"""Searches by meaning and hybrid: what they find, in which order, and for whom."""

import contextlib
import itertools
import math
import random
import struct
from dataclasses import replace

import pytest
from support.embedders import WordEmbedder

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.errors import BatchItemError, EmbeddingError, InvalidInputError
from swarm_operator.memory.core.query import Mode
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import by_text
from swarm_operator.memory.sqlite.vectors import index, planes, scan, table


def vector(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def around(angle):
    """A vector in a plane, for cosines that are known."""
    return vector(math.cos(angle), math.sin(angle), 0.0)


async def find(store, within=None, limit=50, position=None, **query):
    return await store.search(replace(Query.create(**query), within=within), limit=limit, position=position)


def keys(page):
    return [hit.entry.key for hit in page.hits]


async def walk(store, limit, **query):
    """The hits of all pages."""
    hits, position = [], None
    while True:
        page = await find(store, limit=limit, position=position, **query)
        hits += page.hits
        if page.position is None:
            return hits
        position = page.position


async def test_the_smallest_angle_comes_first(store):
    for number in range(10):
        await store.put("n", f"k{number}", number, vector=around(number / 10))
    await store.put("n", "without", 1)
    page = await find(store, vector=around(0.41), limit=3)
    assert keys(page) == ["k4", "k5", "k3"]
    assert (page.mode, page.fresh, page.partial) == (Mode.MEANING, True, False)
    assert [hit.cosine for hit in page.hits] == pytest.approx(
        [math.cos(0.01), math.cos(0.09), math.cos(0.11)], abs=0.005
    )
    assert [hit.score for hit in page.hits] == [hit.cosine for hit in page.hits]
    assert len(await walk(store, 3, vector=around(0.41))) == 10


async def test_pages_show_each_entry_once_in_order(store):
    numbers = random.Random(1)
    for number in range(100):
        await store.put(
            "n", f"k{number}", "fox" if number % 3 else "cat", vector=around(numbers.choice([0.1, 0.2, 3.0]))
        )
    for query in ({"vector": around(0.11)}, {"vector": around(0.11), "text": "fox"}):
        whole = await walk(store, 1000, **query)
        assert len({hit.entry.key for hit in whole}) == 100
        assert [hit.score for hit in whole] == sorted((hit.score for hit in whole), reverse=True)
        assert await walk(store, 7, **query) == whole


async def test_an_overwritten_or_deleted_vector_is_never_used(store):
    await store.put("n", "a", 1, vector=around(0))
    await store.put("n", "b", 1, vector=around(1))
    assert keys(await find(store, vector=around(0))) == ["a", "b"]
    await store.put("n", "a", 1)
    assert keys(await find(store, vector=around(0))) == ["b"]
    await store.put("n", "a", 2, vector=around(2))
    await store.delete("n", "b")
    page = await find(store, vector=around(2))
    assert keys(page) == ["a"]
    assert page.hits[0].cosine == pytest.approx(1, abs=1e-3)
    await store.delete_range("n")
    await store.put("other", "c", 1)  # it may take the row of one before
    assert keys(await find(store, vector=around(0))) == []


async def test_expired_entries_are_not_found_and_take_no_place(store, clock):
    for number in range(5):
        await store.put("n", f"gone{number}", 1, vector=around(0), ttl=1)
    for number in range(3):
        await store.put("n", f"k{number}", 1, vector=around(0.5))
    clock.advance(2)
    page = await find(store, vector=around(0), limit=2)
    assert keys(page) == ["k0", "k1"]
    assert keys(await find(store, vector=around(0), limit=2, position=page.position)) == ["k2"]
    await store.collect_garbage()
    assert (await store.stats()).vectors.entries == 3


async def test_a_namespace_has_one_width(store):
    await store.put("n", "a", 1, vector=[1.0, 2.0])
    for write in (
        lambda: store.put("n", "b", 1, vector=[1.0, 2.0, 3.0]),
        lambda: store.batch([Put(Draft.create("n", "b", 1, vector=[1.0]))]),
        lambda: find(store, namespace="n", vector=[1.0, 2.0, 3.0]),
    ):
        with pytest.raises((InvalidInputError, BatchItemError), match="vector: 2 numbers, as the other vectors"):
            await write()
    assert await store.get("n", "b") is None
    await store.put("m", "a", 1, vector=[1.0, 2.0, 3.0])
    assert [hit.entry.namespace for hit in (await find(store, vector=[1.0, 2.0])).hits] == ["n"]
    assert [hit.entry.namespace for hit in (await find(store, vector=[1.0, 2.0, 3.0])).hits] == ["m"]
    await store.delete("n", "a")
    await store.put("n", "b", 1, vector=[1.0, 2.0, 3.0])


async def test_a_vector_is_written_with_its_entry_or_not_at_all(store):
    await store.put("n", "a", 1, vector=[1.0, 2.0])
    results = await store.batch(
        [
            Put(Draft.create("n", "a", 2, vector=[5.0, 5.0]), if_version=7),
            Put(Draft.create("n", "b", 2, vector=[1.0])),
            Put(Draft.create("n", "c", 2, vector=[3.0, 3.0])),
            Delete(("n", "c")),
        ],
        atomic=False,
    )
    assert [type(result).__name__ for result in results] == [
        "VersionConflictError",
        "InvalidInputError",
        "tuple",
        "bool",
    ]
    page = await find(store, vector=[1.0, 2.0])
    assert [(hit.entry.key, hit.entry.value, hit.cosine) for hit in page.hits] == [("a", 1, pytest.approx(1, abs=1e-4))]
    with pytest.raises(BatchItemError):
        await store.batch([Put(Draft.create("n", "d", 1, vector=[1.0, 1.0])), Delete(("n", "a"), if_version=9)])
    assert (await store.stats()).vectors.entries == 1


CONDITIONS = [
    {"tags": ["odd"]}, {"any_tags": ["odd", "none"]}, {"metadata": {"kind": 1}}, {"prefix": "odd"}, {"glob": "*dd:*"},
    {"namespace": "odd"}, {"namespace": "odd", "subtree": True}, {"updated_since": 2_000_000_000_000},
    {"updated_by": "odd one"},
]  # fmt: skip


async def test_conditions_apply_before_the_ranking(store, clock, monkeypatch):
    """The entries that meet them are the worst of all, so none of them is among the best of all."""
    monkeypatch.setattr(scan, "_BATCH", 3)
    for number in range(30):
        await store.put("even", f"even:{number}", "fox", vector=around(number / 100))
    clock.seconds = 2_000_000_000
    for number in range(4):
        await store.put(
            "odd", f"odd:{number}", "fox", tags=["odd"], metadata={"kind": 1}, vector=around(2 + number / 100),
            updated_by="odd one",
        )  # fmt: skip
    for enumerated, exact, conditions in itertools.product((0, 2000), (4, 10_000), CONDITIONS):
        monkeypatch.setattr(scan, "_MAX_ENUMERATED", enumerated)
        # Without enumeration, as many are candidates as there are: of fewer, none would meet the conditions.
        monkeypatch.setattr(planes, "EXACT", exact if enumerated or "namespace" in conditions else 10_000)
        for text in ({}, {"text": "fox"}):
            page = await find(store, vector=around(0), limit=3, **conditions, **text)
            assert keys(page) == ["odd:0", "odd:1", "odd:2"]
            page = await find(store, vector=around(0), limit=3, position=page.position, **conditions, **text)
            assert keys(page) == ["odd:3"]


async def test_conditions_apply_before_the_ranks_by_words(store):
    for number in range(3):
        await store.put("n", f"other{number}", "fox", vector=around(1))
    await store.put("n", "tagged", "a fox among many other words", tags=["t"], vector=around(1))
    (hit,) = (await find(store, vector=around(0), text="fox", tags=["t"])).hits
    assert (hit.entry.key, hit.words, hit.score) == ("tagged", 1, 2 / 61)


async def test_what_may_not_be_read_has_no_effect(store, monkeypatch):
    monkeypatch.setattr(planes, "EXACT", 5)
    for number in range(20):
        await store.put("mine", f"k{number}", "fox", vector=around(2 + number / 50))
    queries = [{"vector": around(0)}, {"vector": around(0), "text": "fox"}, {"vector": around(0), "prefix": "k"}]
    before = [await find(store, within=("mine",), limit=5, **query) for query in queries]
    for number in range(100):
        await store.put("theirs", f"k{number}", "fox fox", vector=around(number / 1000))
    after = [await find(store, within=("mine",), limit=5, **query) for query in queries]
    for one, other in zip(before, after, strict=True):
        assert replace(one, steps=[]) == replace(other, steps=[])
        assert [step.candidates for step in one.steps] == [step.candidates for step in other.steps]
        assert {hit.entry.namespace for hit in one.hits} == {"mine"}
    with pytest.raises(InvalidInputError, match="vector: 3 numbers"):
        await find(store, within=("mine",), namespace="mine", vector=[1.0])
    assert keys(await find(store, within=("mine",), namespace="theirs", vector=[1.0])) == []


async def test_vectors_that_are_gone_take_no_place_among_the_candidates(store, monkeypatch):
    monkeypatch.setattr(planes, "EXACT", 5)
    for number in range(40):
        await store.put("gone", f"k{number}", 1, vector=around(0.1))
    await store.put("gone", "left", 1, vector=around(2))
    assert keys(await find(store, namespace="gone", vector=around(0.1), limit=1)) == ["k0"]
    await store.delete_range("gone", prefix="k1")
    await store.batch([Put(Draft.create("gone", f"k{number}", 2)) for number in range(40)])
    assert keys(await find(store, vector=around(0.1))) == ["left"]


def test_another_position_of_a_backup(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as db:
        schema.migrate(db, 0)
        table.add_model(db, "complete", 3)
        table.set_progress(db, 1, 0, None)
        table.add_model(db, "behind", 4)
        table.set_progress(db, 2, -1, None)
        table.move(db, 500)
        assert [model[3:] for model in table.models(db)] == [(500, None), (500, 0)]


async def test_the_first_read_of_a_search_is_made_with_the_lock(store, monkeypatch):
    """A snapshot that is taken before may be older than what is in memory."""
    await store.put("n", "k", 1, vector=around(0))
    its = await store._vectors.compared(3, since=0, seconds=5)
    checked = table.check_width
    locked = []
    monkeypatch.setattr(table, "check_width", lambda *given: (locked.append(its.lock.locked()), checked(*given)))
    await find(store, namespace="n", vector=around(0))
    assert locked == [True]


async def test_hybrid_fuses_ranks_and_tells_them(store):
    await store.put("n", "both", "a red fox", vector=around(0.3))
    await store.put("n", "words", "fox fox fox", vector=around(3))
    await store.put("n", "near", "nothing", vector=around(0))
    await store.put("n", "far", "nothing", vector=around(2))
    await store.put("n", "unknown", "nothing")
    page = await find(store, vector=around(0), text="fox")
    assert page.mode is Mode.HYBRID
    found = {hit.entry.key: (hit.words, hit.score) for hit in page.hits}
    assert found == {
        "words": (1, 1 / 61 + 1 / 64), "both": (2, 1 / 62 + 1 / 62), "near": (None, 1 / 61), "far": (None, 1 / 63),
    }  # fmt: skip
    assert keys(page) == ["both", "words", "near", "far"]
    assert page.hits[0].snippet == '"a red **fox**"'
    assert page.hits[0].cosine == pytest.approx(math.cos(0.3), abs=0.005)
    assert page.hits[2].snippet is None
    assert [step.name for step in page.steps] == ["words", "meaning", "entries"]


async def test_words_that_all_have_are_no_part_of_the_fusion(store, monkeypatch):
    monkeypatch.setattr(by_text, "MAX_RANKED", 3)
    for number in range(6):
        await store.put("n", f"k{number}", "the", vector=around(number / 10))
    page = await find(store, vector=around(0), text="the")
    assert keys(page) == [f"k{number}" for number in range(6)]
    assert {hit.words for hit in page.hits} == {None}
    assert not page.ranked


@pytest.mark.parametrize("width", [1, 63, 64, 65, 1000, 4096])
async def test_vectors_of_all_widths(store, width):
    numbers = random.Random(width)
    given = [[numbers.gauss(0, 1) for _ in range(width)] for _ in range(3)]
    for number, each in enumerate(given):
        await store.put("n", f"k{number}", 1, vector=each)
    page = await find(store, vector=given[1], limit=1)
    assert page.hits[0].cosine == pytest.approx(1, abs=0.001)


async def test_vectors_are_found_after_a_restart_and_memory_follows_the_file(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(planes, "_LOAD_ROWS", 3)
    async with SqliteStore.open(tmp_path / "memory.db", clock=clock) as store:
        for number in range(10):
            await store.put("n", f"k{number}", 1, vector=around(number / 10))
    async with SqliteStore.open(tmp_path / "memory.db", clock=clock) as store:
        assert keys(await find(store, vector=around(0)))[:3] == ["k0", "k1", "k2"]
        await store.delete("n", "k0")
        await store.put("n", "k9", 1, vector=around(0))
        await store.put("n", "new", 1, vector=around(0.05))
        assert keys(await find(store, vector=around(0)))[:3] == ["k9", "new", "k1"]
        assert (await store.stats()).vectors.memory_bytes > 0


async def test_meaning_of_a_text_needs_an_embedder(store):
    for query in ({"text": "fox", "mode": "meaning"}, {"text": "fox", "mode": "hybrid"}):
        with pytest.raises(InvalidInputError, match="mode: words, or meaning with a vector: the store has no embedder"):
            await find(store, **query)
    assert (await find(store, text="fox")).mode is Mode.WORDS


@pytest.mark.parametrize("mode", ["words", "meaning", "hybrid"])
async def test_a_pasted_paragraph_is_a_question(tmp_path, mode):
    """Its first words are searched: more than can be do not make it an error in any mode."""
    paragraph = " ".join(f"word{number}" for number in range(250))
    assert len(paragraph) > 1800
    async with SqliteStore.open(tmp_path / "memory.db", embedder=WordEmbedder()) as store:
        await store.put("n", "whole", paragraph)
        await store.put("n", "begin", " ".join(f"word{number}" for number in range(32)))
        await store.put("n", "other", "fox")
        page = await find(store, text=paragraph, mode=mode)
    assert page.mode is Mode(mode)
    assert set(keys(page)[:2]) == {"whole", "begin"}
    assert len(page.hits) == (2 if mode == "words" else 3)


async def test_a_slow_embedder_leaves_the_words(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_HYBRID_SECONDS", 0.01)
    embedder = WordEmbedder()
    async with SqliteStore.open(tmp_path / "memory.db", embedder=embedder) as store:
        embedder.gate.clear()
        await store.put("n", "a", "fox")
        page = await find(store, text="fox")
        assert (page.mode, keys(page)) == (Mode.WORDS, ["a"])
        embedder.gate.set()
        assert keys(await find(store, text="vixen", mode="meaning")) == ["a"]


async def test_a_failing_embedder_leaves_the_words(tmp_path):
    embedder = WordEmbedder()
    async with SqliteStore.open(tmp_path / "memory.db", embedder=embedder) as store:
        await store.put("n", "a", "fox")
        assert (await find(store, text="fox")).mode is Mode.HYBRID
        embedder.failing = True
        page = await find(store, text="vixen fox")
        assert (page.mode, keys(page)) == (Mode.WORDS, [])
        assert keys(await find(store, text="fox fox")) == ["a"]
        with pytest.raises(EmbeddingError):
            await find(store, text="vixen", mode="meaning")
        assert (await find(store, text="fox", mode="words")).mode is Mode.WORDS
