"""Writes that look for their twin: which entry it is, what is done about it, and for whom the check holds."""

import asyncio
import json
import math

import pytest
from support.embedders import WordEmbedder, vector_of

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.duplicates import DuplicateRule, linked
from swarm_operator.memory.core.errors import (
    BatchItemError,
    DuplicateError,
    EmbeddingError,
    InvalidInputError,
    OverloadedError,
    VersionConflictError,
)
from swarm_operator.memory.core.observer import SilentObserver
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.vectors import checks, table, twins
from swarm_operator.memory.sqlite.vectors.texts import embedded_text

FACT = "The payment gateway times out after thirty seconds"
SLOW = 300
"""Seconds that a check may wait on a machine that stalls."""
REFUSE, LINK = DuplicateRule.create("refuse"), DuplicateRule.create("link")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(checks, "_MAX_WAIT", SLOW)


def around(angle):
    """A vector in a plane, for cosines that are known."""
    return [math.cos(angle), math.sin(angle), 0.0]


def opened(path, embedder=None, **options):
    config = StoreConfig(probe_interval=0.002)
    return SqliteStore.open(path / "memory.db", config, embedder=embedder, **options)


async def write(store, key, value=FACT, rule=REFUSE, *, namespace="n", create_only=False, if_version=None, **fields):
    draft = Draft.create(namespace, key, value, **fields)
    return await store.write_checked(draft, rule, create_only=create_only, if_version=if_version)


async def refused(store, key, value=FACT, rule=REFUSE, **options):
    """The twin that a write is refused for."""
    before = await store.get("n", key)
    with pytest.raises(DuplicateError) as failed:
        await write(store, key, value, rule, **options)
    assert await store.get("n", key) == before, "nothing was changed"
    return failed.value.key, failed.value.cosine


async def test_a_twin_is_named_and_refused(store):
    await store.put("n", "far", 1, vector=around(1))
    await store.put("n", "near", 1, vector=around(0.3))
    await store.put("n", "nearest", 1, vector=around(0.1))
    assert await refused(store, "k", vector=around(0)) == ("nearest", pytest.approx(math.cos(0.1), abs=0.005))
    entry, created, twin = await write(store, "k", vector=around(-1))
    assert (entry.key, created, twin) == ("k", True, None)
    assert await refused(store, "k2", vector=around(-1)) == ("k", 1.0)


async def test_the_threshold_is_the_least_cosine(store):
    await store.put("n", "a", 1, vector=around(0))
    for angle, threshold, same in [
        (0.3, 0.9, True), (0.6, 0.9, False), (0.6, 0.8, True), (1.2, 0.3, True), (1.5, 0.3, False), (0, 1, True),
        (0.1, 1, False),
    ]:  # fmt: skip
        rule = DuplicateRule.create("refuse", threshold)
        if same:
            assert (await refused(store, "k", rule=rule, vector=around(angle)))[0] == "a"
        else:
            assert (await write(store, "k", rule=rule, vector=around(angle))).twin is None
            await store.delete("n", "k")


async def test_equal_vectors_of_any_length_have_the_cosine_one(store):
    numbers = [0.3333333, -0.77, 0.123456, 7e-3]
    await store.put("n", "a", 1, vector=numbers)
    exactly = DuplicateRule.create("refuse", 1)
    assert await refused(store, "k", rule=exactly, vector=numbers) == ("a", 1.0)
    assert await refused(store, "k", rule=exactly, vector=[4 * number for number in numbers]) == ("a", 1.0)


async def test_a_link_names_the_key_of_the_twin(store):
    await store.put("n", "a", 1, vector=around(0))
    entry, created, twin = await write(store, "b", rule=LINK, vector=around(0.1), metadata={"by": "ada"}, tags=["x"])
    assert (created, twin.key, twin.cosine) == (True, "a", pytest.approx(math.cos(0.1), abs=0.005))
    assert (entry.metadata, entry.tags) == ({"by": "ada", "duplicate_of": "a"}, ["x"])
    assert (await store.get("n", "b")).metadata == entry.metadata
    found = await store.search(Query.create(metadata={"duplicate_of": "a"}))
    assert [hit.entry.key for hit in found.hits] == ["b"]
    # A link of before goes with its twin: an entry that is read and written again has no wrong one.
    again = await write(store, "b", rule=LINK, vector=around(2), metadata=entry.metadata)
    assert (again.entry.metadata, again.twin) == ({"by": "ada"}, None)


async def test_a_link_that_is_too_long_is_refused(store):
    await store.put("n", "a" * 1000, 1, vector=around(0))
    with pytest.raises(InvalidInputError, match="metadata: at most 65536 bytes of JSON, duplicate_of included"):
        await write(store, "b", rule=LINK, vector=around(0), metadata={"filler": "x" * 65_000})
    assert await store.get("n", "b") is None


async def test_a_key_is_not_its_own_twin(store):
    await write(store, "a", vector=around(0))
    entry, created, twin = await write(store, "a", 2, vector=around(0.1))
    assert (entry.version, created, twin) == (2, False, None)
    await store.put("n", "b", 1, vector=around(0.1))
    assert (await refused(store, "a", vector=around(0.1)))[0] == "b"


async def test_what_is_gone_is_no_twin(store, clock):
    await store.put("n", "deleted", 1, vector=around(0))
    await store.put("n", "expired", 1, vector=around(0), ttl=1)
    await store.put("n", "overwritten", 1, vector=around(0))
    await store.delete("n", "deleted")
    await store.put("n", "overwritten", 1, vector=around(2))
    clock.advance(2)
    assert (await write(store, "k", vector=around(0))).twin is None


async def test_entries_of_other_namespaces_are_no_twins(store):
    for namespace in ("m", "n/below", "o"):
        await store.put(namespace, "a", 1, vector=around(0))
    assert (await write(store, "k", vector=around(0))).twin is None
    assert (await write(store, "k2", vector=around(1))).twin is None


async def test_conditions_hold_too(store):
    await store.put("n", "a", 1, vector=around(0))
    with pytest.raises(VersionConflictError):
        await write(store, "a", vector=around(0), create_only=True)
    with pytest.raises(VersionConflictError):
        await write(store, "a", vector=around(0), if_version=7)
    assert (await write(store, "a", vector=around(0), if_version=1)).entry.version == 2


async def test_a_store_without_an_embedder_needs_a_vector(store):
    with pytest.raises(
        InvalidInputError, match=r"^on_duplicate: the store has no embedder; put a vector with the entry"
    ):
        await write(store, "k")
    with pytest.raises(InvalidInputError, match=r"^operations\[1\].on_duplicate: the store has no embedder"):
        await store.batch([Put(Draft.create("n", "a", 1)), Put(Draft.create("n", "k", FACT), duplicates=REFUSE)])
    await store.put("n", "a", 1, vector=around(0))
    with pytest.raises(InvalidInputError, match=r"^vector: 3 numbers, as the other vectors of the namespace 'n' have"):
        await write(store, "k", vector=[1.0])
    assert await store.get("n", "k") is None


async def test_the_embedder_s_vector_must_have_the_width_of_the_namespace(tmp_path):
    async with opened(tmp_path) as store:
        await store.put("n", "a", 1, vector=around(0))
    async with opened(tmp_path, WordEmbedder()) as store:
        expected = r"^on_duplicate: the namespace 'n' has vectors of clients; put one of 3 numbers, or keep"
        with pytest.raises(InvalidInputError, match=expected):
            await write(store, "k")
        assert (await refused(store, "k", vector=around(0)))[0] == "a"


async def test_the_embedder_makes_the_vector_once(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder) as store:
        await store.put("n", "1", FACT)
        assert await refused(store, "2") == ("1", 1.0)
        assert (await write(store, "3", "Something else altogether")).twin is None
        await store.search(Query.create(text="fox", mode="meaning"))  # after what is behind has been embedded
        assert embedder.texts.count(embedded_text("3", b'"Something else altogether"')) == 1
        assert (await store.stats()).vectors.entries == 2
    assert not check(tmp_path / "memory.db").findings


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_what_was_acknowledged_is_found(tmp_path, enable_wal):
    config = StoreConfig(probe_interval=0.002, enable_wal=enable_wal)
    async with SqliteStore.open(tmp_path / "memory.db", config, embedder=WordEmbedder()) as store:
        for number in range(8):
            fact = f"vixen{number} jumps over lazy{number}"
            await store.put("n", f"{number}", fact)
            assert await refused(store, f"{number}b", fact) == (f"{number}", 1.0)


async def test_numbers_and_ids_of_keys_do_not_count(tmp_path):
    async with opened(tmp_path, WordEmbedder()) as store:
        await store.put("n", "fact:agent-7:12", FACT)
        exactly = DuplicateRule.create("refuse", 1)
        assert await refused(store, "fact:agent-12:4711", rule=exactly) == ("fact:agent-7:12", 1.0)
        await store.put("m", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", FACT)
        with pytest.raises(DuplicateError):
            await write(store, "5b7f2c9d0e", rule=exactly, namespace="m")


@pytest.mark.parametrize("embedder", [None, WordEmbedder()])
async def test_of_several_at_a_time_one_is_the_first(tmp_path, embedder):
    vector = None if embedder else around(0)
    async with opened(tmp_path, embedder) as store:
        results = await asyncio.gather(
            *(write(store, f"k-{number}", vector=vector) for number in range(20)), return_exceptions=True
        )
        written = [result.entry.key for result in results if not isinstance(result, Exception)]
        assert len(written) == 1
        assert {result.key for result in results if isinstance(result, DuplicateError)} == {*written}
        assert (await store.stats()).entries == 1
        linked = await asyncio.gather(
            *(write(store, f"l-{number}", "It rains", LINK, vector=vector and around(2)) for number in range(20))
        )
        assert [result.twin is None for result in linked].count(True) == 1
    assert not check(tmp_path / "memory.db").findings


async def test_a_twin_that_goes_before_the_commit_is_none(store, monkeypatch):
    await store.put("n", "a", 1, vector=around(0))
    await store.put("n", "b", 1, vector=around(0.2))
    found = store._twins.checks

    async def slowly(*arguments, **options):
        result = await found(*arguments, **options)
        await store.delete("n", "a")
        await store.put("n", "c", 1, vector=around(0.1))
        return result

    monkeypatch.setattr(store._twins, "checks", slowly)
    assert (await write(store, "k", rule=LINK, vector=around(0))).entry.metadata == {"duplicate_of": "c"}


async def test_what_happens_before_the_commit_counts_by_namespace_and_time(store, clock, monkeypatch):
    await store.put("n", "expires", 1, vector=around(0), ttl=10)
    found = store._twins.checks

    async def slowly(*arguments, **options):
        result = await found(*arguments, **options)
        await store.put("other", "k", 1, vector=around(0))
        clock.advance(10)
        return result

    monkeypatch.setattr(store._twins, "checks", slowly)
    assert (await write(store, "k", vector=around(0))).twin is None


async def test_other_namespaces_take_no_candidate_s_place(store):
    for number in range(2 * twins.MAX_CANDIDATES):
        await store.put("other", f"{number}", 1, vector=around(0))
    await store.put("n", "a", 1, vector=around(0.1))
    assert (await refused(store, "k", vector=around(0)))[0] == "a"


async def test_a_check_that_is_too_old_is_refused(store, monkeypatch):
    await store.put("n", "a", 1, vector=around(0))
    found = store._twins.checks

    async def slowly(*arguments, **options):
        result = await found(*arguments, **options)
        await store.delete("n", "a")
        return result

    monkeypatch.setattr(store._twins, "checks", slowly)
    monkeypatch.setattr(twins, "MAX_CANDIDATES", 1)
    with pytest.raises(OverloadedError, match="have been deleted since; retry"):
        await write(store, "k", vector=around(0))
    monkeypatch.setattr(twins, "MAX_LOGGED", 0)
    await store.put("n", "a", 1, vector=around(0))
    with pytest.raises(OverloadedError, match="too many vectors were written since"):
        await write(store, "k", vector=around(0))
    assert await store.get("n", "k") is None


async def test_an_embedder_that_fails_leaves_nothing_written(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder) as store:
        await write(store, "1")
        embedder.failing = True
        expected = r"^on_duplicate: the embedder is away; retry, or write with on_duplicate: keep"
        with pytest.raises(EmbeddingError, match=expected):
            await write(store, "2")
        with pytest.raises(EmbeddingError, match=expected):
            await store.batch([Put(Draft.create("n", "3", 1)), Put(Draft.create("n", "2", FACT), duplicates=LINK)])
        assert [await store.get("n", key) for key in "23"] == [None, None]
        embedder.failing = False
        assert (await refused(store, "2"))[0] == "1"


async def test_earlier_writes_without_vectors_stop_the_check(tmp_path, monkeypatch):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder) as store:
        vector = vector_of("words", 32, FACT)
        await write(store, "1", vector=vector)
        embedder.gate.clear()
        await store.put("n", "2", FACT)
        monkeypatch.setattr(checks, "_MAX_WAIT", 0.01)
        with pytest.raises(EmbeddingError, match="some earlier writes cannot be compared yet; retry, or"):
            await write(store, "3", vector=vector)
        embedder.gate.set()
        monkeypatch.setattr(checks, "_MAX_WAIT", SLOW)
        assert (await refused(store, "3", vector=vector))[1] == 1.0


async def test_texts_without_a_meaning_have_no_twins(tmp_path):
    async with opened(tmp_path, WordEmbedder()) as store:
        await store.put("n", "1", "123")
        assert (await write(store, "2", "123")).twin is None
    assert not check(tmp_path / "memory.db").findings


async def test_a_batch_checks_each_of_its_writes(tmp_path):
    async with opened(tmp_path, WordEmbedder()) as store:
        await store.put("n", "old", "It rains in the north")
        writes = [
            Delete(("n", "old")),
            Put(Draft.create("n", "1", "It rains in the north"), duplicates=REFUSE),
            Put(Draft.create("n", "2", FACT), duplicates=LINK),
            Put(Draft.create("n", "3", FACT), duplicates=LINK),
            Put(Draft.create("n", "4", FACT), duplicates=REFUSE),
            Put(Draft.create("n", "5", FACT)),
        ]
        deleted, first, second, third, fourth, fifth = await store.batch(writes, atomic=False)
        assert (deleted, first.twin, second.twin, third.twin.key) == (True, None, None, "2")
        assert third.entry.metadata == {"duplicate_of": "2"}
        assert isinstance(fourth, DuplicateError)
        assert fourth.key in {"2", "3"}
        assert fifth[0].key == "5"
        assert await store.get("n", "4") is None
        with pytest.raises(BatchItemError, match=r"operations\[1\]: on_duplicate: the entry") as failed:
            await store.batch([Put(Draft.create("n", "6", 1)), Put(Draft.create("n", "7", FACT), duplicates=REFUSE)])
        assert isinstance(failed.value.cause, DuplicateError)
        assert await store.get("n", "6") is None
        many = [Put(Draft.create("n", f"k{number}", FACT), duplicates=LINK) for number in range(101)]
        with pytest.raises(InvalidInputError, match=r"^operations: at most 100 of them with on_duplicate"):
            await store.batch(many)
    assert not check(tmp_path / "memory.db").findings


async def test_writes_that_have_a_twin_are_counted(tmp_path):
    seen = []

    class Counting(SilentObserver):
        def duplicate(self, outcome):
            seen.append(outcome)

    async with opened(tmp_path, observer=Counting()) as store:
        for rule in (REFUSE, LINK, LINK):
            await write(store, rule.on.value, rule=rule, vector=around(0))
        await refused(store, "k", vector=around(0))
        draft = Draft.create("n", "k", 1, vector=around(0))
        await store.batch([Put(draft, duplicates=rule) for rule in (LINK, REFUSE)], atomic=False)
        with pytest.raises(BatchItemError):
            await store.batch([Put(draft, duplicates=REFUSE)])
    assert seen == ["linked", "linked", "refused", "linked", "refused", "refused"]


async def test_the_vector_of_a_model_that_may_go_is_not_stored(tmp_path):
    old, new = WordEmbedder("old"), WordEmbedder("new", 48)
    async with opened(tmp_path, old) as store:
        await write(store, "1")
    new.gate.clear()
    async with opened(tmp_path, new, former_embedder={"old": old}.get) as store:
        assert (await refused(store, "2"))[0] == "1"
        await write(store, "3", "It rains")
        count = await store._worker.run(lambda db: db.execute("SELECT count(*) FROM vectors").fetchone())
        assert count == (1,)
        assert (await refused(store, "4", "It rains"))[0] == "3"  # the follower of the former model has embedded it
        new.gate.set()
    assert not check(tmp_path / "memory.db").findings


async def test_a_vector_is_not_compared_with_those_of_another_model(tmp_path, monkeypatch):
    old, new = WordEmbedder("old"), WordEmbedder("new")
    async with opened(tmp_path, old) as store:
        await write(store, "1")
    new.gate.clear()
    async with opened(tmp_path, new, former_embedder={"old": old}.get) as store:
        embed = store._vectors.embed

        async def slowly(texts):
            made = await embed(texts)
            new.gate.set()
            async with asyncio.timeout(SLOW):
                while len(store._vectors.followers) > 1:  # noqa: ASYNC110 - the engine tells nobody
                    await asyncio.sleep(0.01)
            return made

        monkeypatch.setattr(store._vectors, "embed", slowly)
        with pytest.raises(EmbeddingError, match="some earlier writes cannot be compared yet"):
            await write(store, "2")
        assert await refused(store, "2") == ("1", 1.0)


WRONG = [
    ({"on_duplicate": "drop"}, "on_duplicate: one of keep, refuse, link"),
    ({"on_duplicate": 1}, "on_duplicate: one of"),
    ({"on_duplicate": ["refuse"]}, "on_duplicate: one of"),
    ({"on_duplicate": "refuse", "threshold": 0}, "threshold: a number above 0 and up to 1"),
    ({"on_duplicate": "refuse", "threshold": 1.01}, "threshold: a number above 0"),
    ({"on_duplicate": "refuse", "threshold": True}, "threshold: a number above 0"),
    ({"on_duplicate": "refuse", "threshold": "0.9"}, "threshold: a number above 0"),
    ({"on_duplicate": "refuse", "threshold": math.nan}, "threshold: a number above 0"),
    ({"on_duplicate": "keep", "threshold": 0.9}, "threshold: only together with on_duplicate: refuse or link"),
    ({"on_duplicate": None, "threshold": 0.9}, "threshold: only together"),
]


@pytest.mark.parametrize(("rule", "message"), WRONG)
def test_a_rule_is_checked(rule, message):
    with pytest.raises(InvalidInputError, match=rf"^{message}"):
        DuplicateRule.create(**rule)


def test_keep_is_no_rule():
    assert DuplicateRule.create(None) is None
    assert DuplicateRule.create("keep") is None
    assert DuplicateRule.create("link").threshold == 0.9
    assert DuplicateRule.create("refuse", 1) == DuplicateRule.create("refuse", 1.0)


def test_a_draft_without_a_twin_stays_as_it_is():
    draft = Draft.create("n", "k", 1, metadata={"a": 1})
    assert linked(draft, None) is draft
    assert json.loads(linked(draft, twins.Twin("ä", 1.0)).metadata_json) == {"a": 1, "duplicate_of": "ä"}


async def test_the_first_read_of_a_check_is_made_with_the_lock(store, monkeypatch):
    """A snapshot that is taken before may be older than what is in memory."""
    its = await store._vectors.compared(3, since=0, seconds=5)
    checked = table.check_width
    locked = []
    monkeypatch.setattr(table, "check_width", lambda *given: (locked.append(its.lock.locked()), checked(*given)))
    await write(store, "k", vector=around(0))
    assert locked == [True, False]  # the second one is in the transaction of the write
