"""The contract of a store, on each engine: SQLite, and the small store of the tests, which shares no code with it."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
from support import entry_contract, record_contract
from support.engines import MEMORY, SHORT_PAGES, SQLITE, open_store
from support.memory_store import MemoryStore
from support.store_drivers import EntryDriver, RecordDriver, pages, play

from swarm_operator.memory.core import Delete, Draft, Put, Query, Store, Watch
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.duplicates import DuplicateRule
from swarm_operator.memory.core.errors import (
    BatchItemError,
    DuplicateError,
    InternalStoreError,
    InvalidInputError,
    MissedChangesError,
    StoreClosedError,
    VersionConflictError,
)
from swarm_operator.memory.core.namespaces import covers


@pytest.fixture(params=[SQLITE, MEMORY, SHORT_PAGES])
def engine(request):
    return request.param


@pytest.fixture
async def store(engine, tmp_path, clock):
    async with open_store(engine, tmp_path / "store.db", clock=clock, changes_kept=5) as opened:
        yield opened


async def put(store, key, value=1, *, namespace="n", **draft):
    entry, _ = await store.write(Draft.create(namespace, key, value, **draft))
    return entry


async def fill(store, *places):
    for namespace, key in places:
        await put(store, key, namespace=namespace)


async def found(store, query, limit=50):
    async def fetch(position):
        page = await store.search(query, position=position, limit=limit)
        return [(hit.entry.namespace, hit.entry.key) for hit in page.hits], page.position

    return await pages(fetch)


async def listed(store, namespace="n", limit=100):
    async def fetch(after):
        page = await store.list(namespace, after=after, limit=limit)
        return [entry.key for entry in page.entries], page.next_key

    return await pages(fetch)


async def named(store, **options):
    async def fetch(after):
        page = await store.namespaces(after=after, **options)
        return [(count.namespace, count.entries, count.bytes) for count in page.namespaces], page.next_name

    return await pages(fetch)


@pytest.mark.parametrize("scenario", entry_contract.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_an_engine_keeps_the_contract_of_entries(engine, tmp_path, clock, scenario):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await play(scenario, EntryDriver(store, clock), clock)


@pytest.mark.parametrize("scenario", record_contract.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_records_run_on_an_engine(engine, tmp_path, clock, scenario):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await play(scenario, RecordDriver(store), clock)


@pytest.mark.parametrize(
    ("contract", "name"),
    [(contract, name) for contract in (Store, Watch) for name in sorted(contract.__abstractmethods__)],
)
def test_a_store_that_lacks_a_part_of_the_contract_cannot_be_made(contract, name):
    parts = {other: getattr(MemoryStore, other, None) for other in contract.__abstractmethods__ - {name}}
    incomplete = type("Incomplete", (contract,), parts)
    with pytest.raises(TypeError, match=f"abstract method '?{name}"):
        incomplete()


def test_every_public_member_of_the_contract_is_required():
    members = {name for base in Store.__mro__ for name in vars(base) if not name.startswith("_")}
    assert members == Store.__abstractmethods__
    assert {name for name in vars(Watch) if not name.startswith("_")} == Watch.__abstractmethods__


async def test_an_expired_entry_is_nowhere_from_its_first_millisecond_on(store, clock):
    await put(store, "short", tags=["t"], ttl=1)
    await put(store, "k", 22)
    clock.advance(0.999)
    assert (await store.get("n", "short")).expires_at == store.now() + 1
    assert await listed(store) == ["k", "short"]
    clock.advance(0.001)
    assert await store.get("n", "short") is None
    assert [entry and entry.key for entry in await store.get_many([("n", "short"), ("n", "k")])] == [None, "k"]
    assert await listed(store) == ["k"]
    assert await found(store, Query.create(namespace="n")) == [("n", "k")]
    assert await found(store, Query.create(tags=["t"])) == []
    assert await found(store, Query.create(text="short")) == []
    assert await store.counts(["n", "none"]) == {"n": 1, "none": 0}
    assert await named(store) == [("n", 1, 2)]
    assert (await store.stats()).entries == 1
    seen = []
    await store.transact([("n", "short"), ("n", "k")], lambda entries, now: seen.append((entries, now)) or [])
    assert [(entry and entry.key) for entry in seen[0][0]] == [None, "k"]
    assert seen[0][1] == store.now()


async def test_an_entry_says_who_wrote_this_version_of_it(store):
    async with store.watch() as watch:
        by_ann = await put(store, "k", updated_by="ann")
        assert (await store.get("n", "k")).updated_by == by_ann.updated_by == "ann"
        await store.batch([
            Put(Draft.create("n", "k", 2, updated_by="swarm:agent:agent-0")), Put(Draft.create("n", "other", 1)),
        ])  # fmt: skip
        await store.transact([("n", "third")], lambda *_: [Put(Draft.create("n", "third", 1, updated_by="ann"))])
        await store.delete("n", "third")
        changes = []
        while len(changes) < 5:
            changes += await watch.next()
    names = {"k": "swarm:agent:agent-0", "other": None}
    assert [(change.key, change.updated_by) for change in changes] == [
        ("k", "ann"), *names.items(), ("third", "ann"), ("third", None),
    ]  # fmt: skip
    await put(store, "z", namespace="m", updated_by="zoe")  # with no watch, so that the next one reads what is stored
    async with store.watch(since=changes[0].seq) as watch:
        *told, last = await watch.next()
    assert (told, last.updated_by) == (changes[1:], "zoe"), "as they were told before"
    assert {entry.key: entry.updated_by for entry in (await store.list("n")).entries} == names
    searched = (await store.search(Query.create(prefix="k"))).hits
    assert [hit.entry.updated_by for hit in searched] == ["swarm:agent:agent-0"]
    assert [entry.updated_by for entry in await store.get_many([("n", "k")])] == ["swarm:agent:agent-0"]


@pytest.mark.parametrize("conditions", [{}, {"order": "updated"}, {"text": "word"}, {"tags": ["t"]}], ids=str)
async def test_a_search_finds_what_somebody_has_written_last(store, conditions):
    for number, name in enumerate(("ann", "bob", "ann", None, "an")):
        await put(store, f"{number}", "word", tags=["t"], updated_by=name)
    await put(store, "2", "word", tags=["t"], updated_by="bob")
    assert await found(store, Query.create(updated_by="ann", **conditions)) == [("n", "0")]
    assert sorted(await found(store, Query.create(updated_by="bob", **conditions), 1)) == [("n", "1"), ("n", "2")]
    assert await found(store, Query.create(updated_by="nobody", **conditions)) == []


@pytest.mark.parametrize("name", ["", "n" * 1025, "a\0b", 7, "\ud800"])
def test_a_name_of_who_wrote_is_a_text(name):
    with pytest.raises(InvalidInputError, match="updated_by"):
        Draft.create("n", "k", 1, updated_by=name)
    with pytest.raises(InvalidInputError, match="updated_by"):
        Query.create(updated_by=name)


async def test_a_namespace_whose_entries_have_expired_is_none(store, clock):
    await put(store, "k", ttl=1)
    clock.advance(1)
    assert await named(store) == []


async def test_garbage_is_collected_and_told_of(store, clock):
    await put(store, "a", "four", tags=["t"], ttl=1)
    await put(store, "b", tags=["t"])
    clock.advance(1)
    assert await store.tag_counts("n", ["t", "none"]) in ({"t": 1, "none": 0}, {"t": 2, "none": 0})
    async with store.watch() as watch:
        collection = await store.collect_garbage()
        (change,) = await watch.next()
    assert (collection.entries, collection.value_bytes, collection.started_at) == (1, 6, store.now())
    assert change[1:] == ("n", "a", Op.EXPIRE, 1, store.now(), None)
    assert await store.tag_counts("n", ["t", "none"]) == {"t": 1, "none": 0}
    assert (await store.collect_garbage()).entries == 0


@pytest.mark.parametrize("removal", ["delete", "expire", "collect", "range", "batch", "transact"])
async def test_versions_grow_over_every_kind_of_removal(store, clock, removal):
    for _ in range(3):
        await put(store, "k", ttl=10 if removal in {"expire", "collect"} else 0)
    if removal == "delete":
        assert await store.delete("n", "k", if_version=3)
    elif removal == "range":
        assert await store.delete_range("n") == 1
    elif removal == "batch":
        assert await store.batch([Delete(("n", "k"))]) == [True]
    elif removal == "transact":
        assert await store.transact([("n", "k")], lambda *_: [Delete(("n", "k"))]) == [True]
    else:
        clock.advance(10)
        if removal == "collect":
            await store.collect_garbage()
    with pytest.raises(VersionConflictError) as caught:
        await store.write(Draft.create("n", "k", 1), if_version=3)
    assert caught.value.current_version is None
    entry, created = await store.write(Draft.create("n", "k", 1), create_only=True)
    assert (entry.version, created, entry.created_at) == (4, True, store.now())


async def test_a_failed_write_takes_no_version_and_tells_nobody(store):
    await put(store, "k")
    async with store.watch() as watch:
        with pytest.raises(VersionConflictError):
            await store.write(Draft.create("n", "k", 2), create_only=True)
        with pytest.raises(BatchItemError):
            await store.batch([Put(Draft.create("n", "k", 3)), Delete(("n", "k")), Delete(("n", "x"), if_version=1)])
        assert (await put(store, "k", 4)).version == 2
        assert [change.version for change in await watch.next()] == [2]


async def test_an_overwritten_entry_keeps_when_it_was_created_but_not_how_long_it_lives(store, clock):
    first = await put(store, "k", ttl=10)
    clock.advance(1)
    second = await put(store, "k", 2, tags=["t"])
    assert (second.created_at, second.updated_at) == (first.created_at, store.now())
    assert (second.ttl, second.expires_at, second.tags) == (0, None, ["t"])
    assert await store.get("n", "k") == second
    again, created = await store.write(Draft.create("n", "k", 3), if_version=2)
    assert (again.version, created) == (3, False)


async def test_an_atomic_batch_names_the_write_that_failed_and_undoes_the_others(store):
    await put(store, "a")
    for failing in (
        Put(Draft.create("n", "a", 2), create_only=True),
        Put(Draft.create("n", "a", 2), if_version=2),
        Delete(("n", "a"), if_version=2),
    ):
        with pytest.raises(BatchItemError) as caught:
            await store.batch([Put(Draft.create("n", "b", 1)), failing])
        assert (caught.value.index, caught.value.cause.current_version) == (1, 1)
        assert await listed(store) == ["a"]


async def test_in_a_batch_a_write_sees_those_before_it(store):
    results = await store.batch([
        Put(Draft.create("n", "a", 1), create_only=True),
        Put(Draft.create("n", "a", 2), if_version=1),
        Put(Draft.create("n", "a", 3), create_only=True),
        Delete(("n", "a"), if_version=2),
        Delete(("n", "a")),
    ], atomic=False)  # fmt: skip
    assert [created for _, created in results[:2]] == [True, False]
    assert (type(results[2]), results[2].current_version) == (VersionConflictError, 2)
    assert results[3:] == [True, False]


async def test_a_value_that_is_too_large_is_refused_wherever_it_is_written(store):
    large = Draft.create("n", "k", "x" * store.max_value_bytes)
    for call, field in (
        (store.write(large), "value"),
        (store.batch([Delete(("n", "k")), Put(large)], atomic=False), r"operations\[1\]\.value"),
        (store.transact([("n", "k")], lambda *_: [Put(large)]), "value"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{field}: "):
            await call
    assert await listed(store) == []


async def test_a_transaction_writes_what_it_decides_or_nothing(store):
    await put(store, "a", 5)
    places = [("n", "a"), ("n", "b")]

    def move(entries, _):
        assert entries[1] is None
        return [Delete(places[0], entries[0].version), Put(Draft.create(*places[1], entries[0].value))]

    deleted, (entry, created) = await store.transact(places, move)
    assert (deleted, entry.value, created) == (True, 5, True)
    assert await listed(store) == ["b"]

    def fail(*_):
        raise InvalidInputError("decision", "made")

    for decide, error in (
        (fail, InvalidInputError),
        (lambda *_: [Delete(places[1]), Put(Draft.create("n", "a", 1), if_version=7)], VersionConflictError),
        (lambda *_: [Delete(places[1]), Put(Draft.create("n", "c", 1))], InternalStoreError),
        (lambda *_: 1 / 0, InternalStoreError),
    ):
        with pytest.raises(error):
            await store.transact(places, decide)
        assert await listed(store) == ["b"]


async def test_nothing_comes_between_what_a_transaction_reads_and_writes(store):
    def count(entries, _):
        return [Put(Draft.create("n", "k", 1 if entries[0] is None else entries[0].value + 1))]

    await asyncio.gather(*(store.transact([("n", "k")], count) for _ in range(20)))
    assert (await store.get("n", "k")).value == 20


async def test_transactions_commit_in_the_order_in_which_they_were_called(store):
    async with store.watch() as watch:
        calls = [
            store.transact([("n", key)], lambda *_, key=key: [Put(Draft.create("n", key, 1))]) for key in "dacb"
        ]  # fmt: skip
        await asyncio.gather(*calls)
        told = []
        while len(told) < 4:
            told += await watch.next()
    assert [change.key for change in told] == list("dacb")


PLACES = [("a", "1"), ("a/b", "2"), ("a/b/c", "3"), ("ab", "4"), ("b", "5")]


@pytest.mark.parametrize(
    ("roots", "namespaces"),
    [
        (None, ["a", "a/b", "a/b/c", "ab", "b"]),
        (["a"], ["a", "a/b", "a/b/c"]),
        (["a/b", "b"], ["a/b", "a/b/c", "b"]),
        (["a", "a/b", "a"], ["a", "a/b", "a/b/c"]),
        ([], []),
        (["none"], []),
    ],
)
async def test_within_limits_searches_namespaces_and_watches(engine, tmp_path, clock, roots, namespaces):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await fill(store, *PLACES)
        wanted = [place for place in PLACES if place[0] in namespaces]
        assert await named(store, within=roots) == [(name, 1, 1) for name in namespaces]
        assert await named(store, within=roots, limit=1) == [(name, 1, 1) for name in namespaces]
        for asked in ({}, {"updated_since": 0}, {"text": "1"}, {"namespace": "a", "subtree": True}):
            query = Query.create(**asked)
            inside = [place for place in await found(store, query) if place in wanted]
            limited = Query(
                **{name: getattr(query, name) for name in Query.__slots__ if name != "within"},
                within=None if roots is None else tuple(roots),
            )
            for limit in (50, 1):
                order = sorted if "text" in asked else list  # the ranks of a limited search are its own
                assert order(await found(store, limited, limit=limit)) == order(inside)
        async with store.watch(since=0, within=roots) as watch:
            await put(store, "last", namespace="b")
            told = []
            while watch.position < 6:
                told += await watch.next(0.1)
        assert [(change.namespace, change.key) for change in told] == [
            place for place in [*PLACES, ("b", "last")] if place[0] in namespaces
        ]


@pytest.mark.parametrize("roots", [("a",), ("a/b", "b"), ("none",), ()])
@pytest.mark.parametrize(
    "asked",
    [{}, {"order": "updated"}, {"text": "1"}, {"tags": ["x"]}, {"prefix": "2"}, {"namespace": "a", "subtree": True}],
)
async def test_within_leaves_no_trace_of_other_entries(engine, tmp_path, clock, roots, asked):
    query = replace(Query.create(**asked), within=roots)
    pages = []
    for name, places in (
        ("own", [place for place in PLACES if covers(roots, place[0])]),
        ("all", [("0", "1"), *PLACES, ("a.b", "1"), ("c", "2")]),
    ):
        async with open_store(engine, tmp_path / name, clock=clock) as store:
            for namespace, key in places:
                await put(store, key, namespace=namespace, tags=["x"])
            found, position = [], None
            while True:
                page = await store.search(query, position=position, limit=1)
                hits = [(hit.entry.namespace, hit.entry.key, hit.score) for hit in page.hits]
                found.append((hits, page.candidates, page.partial, page.ranked, page.position))
                position = page.position
                if position is None:
                    break
            pages.append(found)
    assert pages[0] == pages[1]


async def test_a_search_by_key_goes_on_behind_any_key(store):
    await fill(store, ("m", "a"), ("n", "a"), ("n", "c"), ("o", "a"))
    query = Query.create(order="key")
    for position, first in ((["key", "n", "b"], ("n", "c")), (["key", "n", "c"], ("o", "a")), (None, ("m", "a"))):
        page = await store.search(query, position=position, limit=1)
        assert [(hit.entry.namespace, hit.entry.key) for hit in page.hits] == [first]
    only = Query.create(namespace="n", prefix="", tags=[])
    page = await store.search(only, limit=1)
    assert page.position == ["key", "n", "a"]


async def test_the_last_written_comes_first(store, clock):
    for key in ("b", "a", "c"):
        await put(store, key)
        clock.advance(1)
    await put(store, "a", 2)
    query = Query.create(order="updated")
    assert await found(store, query) == [("n", "a"), ("n", "c"), ("n", "b")]
    assert await found(store, query, limit=1) == [("n", "a"), ("n", "c"), ("n", "b")]
    since = Query.create(updated_since=store.now() - 1000)
    assert await found(store, since) == [("n", "a"), ("n", "c")]


async def test_a_text_gives_scores_and_snippets(store):
    await put(store, "k1", "one fox")
    await put(store, "k2", {"animal": "fox", "more": "fox fox"})

    async def all_hits(text):
        position, hits = None, []
        while True:
            page = await store.search(Query.create(text=text), position=position)
            hits += page.hits
            position = page.position
            if position is None:
                return hits

    hits = await all_hits("fox")
    assert hits[0].entry.key == "k2"
    assert hits[0].score >= hits[1].score
    assert all("**fox**" in hit.snippet for hit in hits)
    assert [hit.matched for hit in hits] == [("value",), ("value",)]
    (page,) = [await store.search(Query.create(prefix="k1"))]
    assert all((hit.score, hit.snippet, hit.matched) == (None, None, ()) for hit in page.hits)
    await put(store, "fox", "a bear")
    assert [hit.matched for hit in await all_hits("fox") if hit.entry.key == "fox"] == [("key",)]
    assert [hit.matched for hit in await all_hits("fox bear")] == [("key", "value")]


@pytest.mark.parametrize("order", ["key", "updated"])
async def test_metadata_is_compared_as_json(store, order):
    await put(store, "one", metadata={"m": 1, "deep": {"x": [1]}})
    await put(store, "true", metadata={"m": True, "deep": {"x": [True]}})
    for asked, key in (({"m": 1.0}, "one"), ({"m": True}, "true"), ({"deep": {"x": [1]}}, "one")):
        assert await found(store, Query.create(metadata=asked, order=order)) == [("n", key)]


async def test_a_watch_goes_on_from_what_is_kept_and_says_what_it_missed(store):
    for number in range(19):
        await put(store, "k", number)
    await store.search(Query.create(text="k"))  # an engine may keep what its index of words lacks
    await put(store, "k", 19)
    with pytest.raises(MissedChangesError) as caught:
        async with store.watch(since=0):
            pass
    oldest = caught.value.oldest
    assert oldest <= 15
    with pytest.raises(MissedChangesError):
        async with store.watch(since=21):
            pass
    async with store.watch(since=oldest) as watch:
        assert [change.seq for change in await watch.next()] == list(range(oldest + 1, 21))
        assert watch.position == 20
        assert await watch.next(0.01) == []
    with pytest.raises(InvalidInputError, match=r"^since: "):
        async with store.watch(since=-1):
            pass


async def test_a_watch_waits_and_every_watch_is_told(store):
    async with store.watch("n", prefix="a") as narrow, store.watch() as wide:
        waiting = asyncio.create_task(narrow.next())
        await put(store, "b")
        await put(store, "a", namespace="m")
        await asyncio.sleep(0)
        assert not waiting.done()
        await put(store, "a")
        assert [(change.namespace, change.key, change.op, change.at) for change in await waiting] == [
            ("n", "a", Op.PUT, store.now())
        ]
        told = []
        while len(told) < 3:
            told += await wide.next()
        assert [(change.namespace, change.key) for change in told] == [("n", "b"), ("m", "a"), ("n", "a")]
        assert narrow.position == wide.position


async def test_a_range_is_deleted_with_all_that_is_in_it(store):
    await fill(store, ("n", "a"), ("n", "a\U0010ffff"), ("n", "ab"), ("n", "b"), ("m", "a"))
    assert await store.delete_range("n", prefix="a") == 3
    assert await listed(store) == ["b"]
    assert await store.counts(["m"]) == {"m": 1}


async def test_a_backup_is_a_new_file_and_a_snapshot_is_read_as_one(store, tmp_path):
    await put(store, "k", "text that is in the copy")
    target = tmp_path / "copy"
    backup = await store.backup(target)
    assert (backup.path, backup.size) == (target, target.stat().st_size)
    assert b"text that is in the copy" in target.read_bytes()
    with pytest.raises(InvalidInputError, match=r"^path: "):
        await store.backup(target)
    assert target.stat().st_size == backup.size
    async with store.snapshot() as snapshot:
        content = snapshot.file.read()
    assert (len(content), hashlib.sha256(content).digest()) == (snapshot.size, snapshot.sha256)
    assert b"text that is in the copy" in content


async def test_each_of_several_reads_has_a_result_of_its_own(store, clock):
    await fill(store, ("n", "a"), ("m", "b"))
    await put(store, "short", ttl=1)
    clock.advance(1)
    places = [("n", "a"), ("n", "short"), ("m", "b"), ("n", "none"), ("n", "a")]
    found = await store.get_each(places)
    assert [entry and (entry.namespace, entry.key) for entry in found] == [
        ("n", "a"),
        None,
        ("m", "b"),
        None,
        ("n", "a"),
    ]
    assert await store.get_each([]) == []
    with pytest.raises(InvalidInputError):
        await store.get_each([("n", "a")] * 1001)


async def test_the_values_of_several_reads_are_bounded_together(store):
    largest = "x" * (store.max_value_bytes // 2)
    for number in range(4):
        await put(store, f"k{number}", largest)
    found = await store.get_each([("n", "none"), *(("n", f"k{number}") for number in range(4)), ("n", "none")])
    assert found[0] is None
    assert [entry.key for entry in found[1:3]] == ["k0", "k1"]
    assert [(type(error), error.field) for error in found[3:]] == [(InvalidInputError, "operations")] * 3


async def test_a_closed_store_says_so(engine, tmp_path, clock):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        assert (store.alive, store.fault, store.swarm_id) == (True, None, "default")
        assert store.now() == int(clock() * 1000)
        context = store.watch()
        watch = await context.__aenter__()
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
    with pytest.raises(StoreClosedError):
        await waiting
    await context.__aexit__(None, None, None)
    for call in (
        store.get("n", "k"), store.list("n"), store.search(Query.create()), store.delete("n", "k"), store.batch([]),
        store.write(Draft.create("n", "k", 1)), store.transact([], lambda *_: []), store.stats(), store.counts([]),
        store.namespaces(), store.delete_range("n"), store.collect_garbage(), store.backup(tmp_path / "x"),
        store.tag_counts("n", []), store.get_many([]), store.get_each([]),
    ):  # fmt: skip
        with pytest.raises(StoreClosedError):
            await call


async def test_a_checked_write_finds_its_twin(store):
    refuse, link = DuplicateRule.create("refuse", 0.8), DuplicateRule.create("link", 0.8)
    await put(store, "far", vector=[0.0, 1.0])
    await put(store, "near", vector=[1.0, 0.5])
    await put(store, "elsewhere", namespace="other", vector=[1.0, 0.0])
    draft = Draft.create("n", "k", 1, vector=[1.0, 0.0])
    with pytest.raises(DuplicateError) as refused:
        await store.write_checked(draft, refuse)
    assert (refused.value.key, refused.value.cosine) == ("near", pytest.approx(0.894, abs=0.01))
    assert await store.get("n", "k") is None
    entry, created, twin = await store.write_checked(draft, link, create_only=True)
    assert (entry.metadata, created, twin.key) == ({"duplicate_of": "near"}, True, "near")
    with pytest.raises(VersionConflictError):
        await store.write_checked(draft, link, create_only=True)
    await store.delete("n", "near")
    results = await store.batch(
        [
            Put(draft, duplicates=refuse),
            Put(draft._replace(key="other"), duplicates=link),
            Put(draft._replace(key="third"), duplicates=refuse),
        ],
        atomic=False,
    )
    assert [result.twin and result.twin.key for result in results[:2]] == [None, "k"]
    assert isinstance(results[2], DuplicateError)
    with pytest.raises(InvalidInputError, match=r"^on_duplicate: the store has no embedder"):
        await store.write_checked(Draft.create("n", "none", 1), refuse)
