"""The database is replaced while it is in use."""

import asyncio
import contextlib
import threading

import pytest
from support.index import indexed
from support.replacements import entries, nothing, swap, values

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.errors import (
    MissedChangesError,
    RestoringError,
    StorageIOError,
    StoreClosedError,
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import backup, replace
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import by_text, planner, slices
from swarm_operator.memory.sqlite.write.writer import Writer


def findings(path):
    return list(check(path).findings)


async def test_afterwards_the_store_has_what_the_backup_has(either_store, place, clock):
    store = either_store
    for number in range(20):
        await store.put("n", f"k{number}", f"old word{number}", tags=["old"])
    await store.put("n", "short", 1, ttl=60)
    await store.backup(place)
    clock.advance(5)
    for number in range(5, 25):
        await store.put("n", f"k{number}", "new", tags=["new"])
    await store.delete("n", "k0")
    await store.put("other", "k", 1)
    before = await values(store)
    assert len(before) == 25
    clock.advance(56)
    await swap(store, place)
    assert await values(store) == {f"k{number}": f"old word{number}" for number in range(20)}
    assert (await store.get("n", "k7")).value == "old word7"
    assert [each.namespace for each in (await store.namespaces()).namespaces] == ["n"]
    found = await store.search(Query.create(namespace="n", text="word7"))
    assert [hit.entry.key for hit in found.hits] == ["k7"]
    assert (await store.search(Query.create(tags=["new"]))).hits == []
    assert len((await store.search(Query.create(tags=["old"]), limit=100)).hits) == 20
    stats = await store.stats()
    assert (stats.entries, stats.cache_entries) == (20, 1)
    assert (await store.collect_garbage()).entries == 1
    await store.put("n", "k3", "written")
    assert (await store.get("n", "k3")).value == "written"
    backup = await store.backup(place)
    assert findings(backup.path) == []


async def test_afterwards_no_version_that_was_known_is_good_for_anything(either_store, place):
    store = either_store
    await store.put("n", "same", 1)
    await store.put("n", "gone later", 1)
    for _ in range(5):
        await store.put("n", "often", 1)
    await store.backup(place)
    await store.put("n", "created later", 1)
    await store.delete("n", "gone later")
    known = {("n", key): set(range(1, version + 3)) for key, (_, version) in (await entries(store)).items()}
    known["n", "gone later"] = {1, 2, 3}
    await swap(store, place)
    for (namespace, key), versions in known.items():
        for version in versions:
            with pytest.raises(VersionConflictError):
                await store.put(namespace, key, 2, if_version=version)
            with pytest.raises(VersionConflictError):
                await store.delete(namespace, key, if_version=version)
    assert set((await entries(store)).keys()) == {"same", "gone later", "often"}
    highest = max(max(versions) for versions in known.values())
    assert all(version > highest for _, version in (await entries(store)).values())
    created, _ = await store.put("n", "created later", 2)
    assert created.version > highest
    current = (await store.get("n", "same")).version
    entry, _ = await store.put("n", "same", 2, if_version=current)
    assert entry.version == current + 1


async def test_watches_and_positions_of_before_miss_changes(either_store, place):
    store = either_store
    await store.put("n", "k", 1)
    await store.backup(place)
    for number in range(10):
        await store.put("n", "k", number)
    async with store.watch("n") as open_watch, store.watch(since=0) as behind:
        position = open_watch.position
        assert await open_watch.next(0) == []
        await swap(store, place)
        for watch in (open_watch, behind):
            with pytest.raises(MissedChangesError):
                await watch.next(5)
        for known in (0, 1, position - 1, position, position + 1):
            with pytest.raises(MissedChangesError):
                async with store.watch(since=known):
                    raise AssertionError(known)
        await store.put("n", "after", 1)
        told = await open_watch.next(5)
        assert told[-1].key == "after"
        # The change between is the one that holds the position: it says what is true.
        assert [(each.key, each.version) for each in told[:-1]] == [("k", (await store.get("n", "k")).version)]
    async with store.watch() as fresh:
        assert fresh.position == told[-1].seq > position


async def test_a_backup_without_entries_has_a_position_too(either_store, place):
    await either_store.backup(place)
    await either_store.put("n", "k", 1)
    async with either_store.watch() as watch:
        await swap(either_store, place)
        with pytest.raises(MissedChangesError):
            await watch.next(5)
    assert (await either_store.stats()).entries == 0
    entry, created = await either_store.put("n", "k", 1)
    assert created
    assert entry.version > 1
    await either_store.backup(place)
    assert findings(place) == []


async def test_access_times_are_those_of_the_backup(store, place, clock):
    await store.put("n", "k", 1)
    await store.get("n", "k")
    await store.collect_garbage()
    accessed = (await store.list("n")).entries[0].accessed_at
    await store.backup(place)
    clock.advance(10)
    await store.get("n", "k")
    assert (await store.list("n")).entries[0].accessed_at == accessed + 10_000
    await swap(store, place)
    assert (await store.list("n")).entries[0].accessed_at == accessed


async def test_writes_are_refused_before_the_caller_is_asked_and_reads_go_on(either_store, place):
    store = either_store
    await store.put("n", "k", "old")
    await store.backup(place)
    asked = []

    async def before(position):
        asked.append(position)
        for write in (
            store.put("n", "k", 2),
            store.delete("n", "k"),
            store.batch([Put(Draft.create("n", "k", 2))]),
            store.transact([("n", "k")], lambda *_: [Delete(("n", "k"))]),
            store.collect_garbage(),
            store.delete_range("n"),
        ):
            with pytest.raises(RestoringError):
                await write
        assert (await store.get("n", "k")).value == "new"
        assert await values(store) == {"k": "new"}
        assert (await store.search(Query.create(text="new"))).hits

    await store.put("n", "k", "new")
    await swap(store, place, before)
    async with store.watch() as watch:
        assert asked == [watch.position]
    assert await values(store) == {"k": "old"}


async def test_the_former_file_has_all_that_was_acknowledged(store, place):
    """A write is in it, or it was refused. The file is whole without a log."""
    await store.put("n", "before", 1)
    await store.backup(place)
    writes = [asyncio.ensure_future(store.put("n", f"k{number}", number)) for number in range(500)]

    async def before(_):
        await asyncio.wait(writes)
        accepted.update((f"k{number}", number) for number, write in enumerate(writes) if write.exception() is None)
        assert await values(store) == accepted

    accepted, former = {"before": 1}, place.with_name("former.db")
    await store.replace(place, former=former, before=before)
    assert await values(store) == {"before": 1}
    await store.put("n", "after", 1)
    assert [path.name for path in place.parent.iterdir()] == ["former.db"]
    assert findings(former) == []
    async with SqliteStore.open(former) as kept:
        assert await values(kept) == accepted


async def test_what_waits_to_be_committed_is_in_the_former_file(tmp_path, place, monkeypatch):
    """Each write is a batch of its own here, so many wait when writes begin to be refused."""
    pause, writes, former = Writer.pause, [], place.with_name("former.db")
    async with SqliteStore.open(tmp_path / "queued.db", StoreConfig(max_batch=1)) as store:
        await store.backup(place)

        async def late(self, refusal):
            writes.extend(asyncio.ensure_future(store.put("n", f"k{number}", number)) for number in range(100))
            await asyncio.sleep(0)
            await pause(self, refusal)

        monkeypatch.setattr(Writer, "pause", late)
        await store.replace(place, former=former, before=nothing)
        await asyncio.gather(*writes)
    async with SqliteStore.open(former) as kept:
        assert len(await values(kept)) == 100


async def test_a_file_that_is_there_is_not_taken_for_the_former_one(store, place):
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")
    other = place.with_name("former.db")
    other.write_bytes(b"of somebody else")
    with pytest.raises(StorageIOError):
        await store.replace(place, former=other, before=nothing)
    assert other.read_bytes() == b"of somebody else"
    assert await values(store) == {"k": "new"}
    await store.put("n", "k", "newer", if_version=2)


async def test_a_caller_that_fails_leaves_everything_as_it_was(either_store, place):
    store = either_store
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")

    async def before(_):
        raise LookupError

    with pytest.raises(LookupError):
        await swap(store, place, before)
    assert await values(store) == {"k": "new"}
    entry, _ = await store.put("n", "k", "newer", if_version=2)
    assert entry.version == 3


async def test_readers_wait_and_see_the_old_data_or_the_new(store, place):
    """Gets, pages and searches without an end: none fails, and who has seen the new data never sees the old again."""
    for number in range(200):
        await store.put("n", f"k{number:03}", "first", tags=["t"])
    await store.backup(place)
    for number in range(200):
        await store.put("n", f"k{number:03}", "second", tags=["t"])
    done, replaced, everybody = asyncio.Event(), asyncio.Event(), asyncio.Event()
    since = set()

    async def read(look):
        seen = ["second"]
        while not done.is_set():
            found = await look()
            # On a busy machine, a search may find nothing in its time.
            assert len(set(found)) == 1 or (look in (tagged, texts) and not found), (look.__name__, found)
            if found and found[-1] != seen[-1]:
                seen.append(found[-1])
            if replaced.is_set():
                since.add(look)
            if since == set(looks):
                everybody.set()
            await asyncio.sleep(0)  # a cached entry is read without waiting
        assert (await look())[0] == "first"
        assert seen in (["second", "first"], ["second"])

    async def get():
        return [(await store.get("n", "k007")).value]

    async def many():
        return [each.value for each in await store.get_many([("n", f"k{number:03}") for number in range(50)])]

    async def page():
        return [each.value for each in (await store.list("n", limit=200)).entries]

    async def tagged():
        return [hit.entry.value for hit in (await store.search(Query.create(tags=["t"]), limit=200)).hits]

    async def texts():
        return [hit.entry.value for hit in (await store.search(Query.create(match="first OR second"), limit=200)).hits]

    looks = (get, many, page, tagged, texts)
    async with asyncio.TaskGroup() as tasks:
        for look in looks:
            tasks.create_task(read(look))
        for _ in range(3):
            await store.put("n", "x", "y", ttl=1)
            await store.delete("n", "x")
        await swap(store, place)
        replaced.set()
        await everybody.wait()
        done.set()


@pytest.mark.parametrize("seconds", [60, 0])
@pytest.mark.parametrize("query", [{"tags": ["t"]}, {"match": "first OR second", "mode": "words"}])
async def test_a_search_between_whose_slices_the_database_is_replaced_begins_anew(
    either_store, place, monkeypatch, query, seconds
):
    """Its page has entries of the new database only: with no time left, those of one slice, and where to go on.

    The first slice of a match that too many entries meet finds that out.
    """
    store = either_store
    for value in ("first", "second"):
        await store.batch([Put(Draft.create("n", f"k{number:03}", value, tags=["t"])) for number in range(300)])
        if value == "first":
            await store.backup(place)
    await indexed(store)
    monkeypatch.setattr(planner, "_MAX_SECONDS", 0.0)
    monkeypatch.setattr(planner, "_MAX_RANKED_SECONDS", 0.0)
    monkeypatch.setattr(by_text, "MAX_RANKED", 10)
    monkeypatch.setattr(slices, "MAX_SECONDS", 60)
    monkeypatch.setattr(slices, "MAX_INDEX_SECONDS", 60)
    real, steps = store._readers._read_in_turn, []

    async def read_in_turn(kind, read):
        found = await real(kind, read)
        steps.append(found)
        if len(steps) == 2:
            assert found is None
            await swap(store, place)
            monkeypatch.setattr(slices, "MAX_SECONDS", seconds)
            monkeypatch.setattr(slices, "MAX_INDEX_SECONDS", seconds)
        return found

    monkeypatch.setattr(store._readers, "_read_in_turn", read_in_turn)
    page = await store.search(Query.create(**query), limit=250)
    assert {hit.entry.value for hit in page.hits} <= {"first"}
    assert len(steps) == 3 if seconds == 0 else len(steps) > 4
    keys = [hit.entry.key for hit in page.hits]
    one_slice = 64 if "tags" in query else 0
    assert (len(keys), page.partial) == ((one_slice, True) if seconds == 0 else (250, False))
    rest = await store.search(Query.create(**query), limit=250, position=page.position)
    assert len({*keys, *(hit.entry.key for hit in rest.hits)}) == len(keys) + len(rest.hits)


async def test_writes_go_on_while_a_backup_is_waited_for(store, place, tmp_path, monkeypatch):
    await store.put("n", "k", "old")
    await store.backup(place)
    finish, inside, let = backup._finish, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(*arguments):
        loop.call_soon_threadsafe(inside.set)
        let.wait()
        finish(*arguments)

    monkeypatch.setattr(backup, "_finish", hold)
    prepared, excluded = asyncio.Event(), backup.Backups.excluded
    monkeypatch.setattr(backup.Backups, "excluded", lambda self: prepared.set() or excluded(self))
    copying = asyncio.ensure_future(store.backup(tmp_path / "during.db"))
    await inside.wait()
    asked = []

    async def before(position):
        asked.append(position)

    replacing = asyncio.ensure_future(swap(store, place, before))
    await prepared.wait()
    for number in range(20):
        await store.put("n", "k", number)
    assert asked == []
    let.set()
    await asyncio.gather(copying, replacing)
    assert await values(store) == {"k": "old"}


async def test_a_backup_that_runs_is_waited_for_and_a_new_one_waits(store, place, tmp_path, monkeypatch):
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")
    real, inside, let = replace.put_in_place, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def put_in_place(*arguments):
        loop.call_soon_threadsafe(inside.set)
        asyncio.run_coroutine_threadsafe(let.wait(), loop).result()
        real(*arguments)

    monkeypatch.setattr(replace, "put_in_place", put_in_place)
    replacing = asyncio.ensure_future(swap(store, place))
    await inside.wait()
    copying = asyncio.ensure_future(store.backup(tmp_path / "during.db"))
    reading = asyncio.ensure_future(store.get("n", "nowhere"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not copying.done()
    assert not reading.done()
    assert store.alive
    let.set()
    await asyncio.gather(replacing, copying, reading)
    async with SqliteStore.open(tmp_path / "during.db") as copy:
        assert await values(copy) == {"k": "old"}


async def test_a_backup_of_an_older_release_is_migrated(store, place):
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as db:
        schema.migrate(db, 0, until=2)
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value) "
            "VALUES ('n', 'ancient', 3, 1, 1, 0, 1, '[\"t\"]', '{}', ?)", (b"1",)
        )  # fmt: skip
        db.execute("INSERT INTO namespaces VALUES ('n', 1, 1)")
    await store.put("n", "k", 1)
    await swap(store, place)
    assert await values(store) == {"ancient": 1}
    assert [hit.entry.key for hit in (await store.search(Query.create(tags=["t"]))).hits] == ["ancient"]
    assert [hit.entry.key for hit in (await store.search(Query.create(text="ancient"))).hits] == ["ancient"]
    await store.backup(place)
    assert findings(place) == []


async def test_more_changes_than_the_margin_raise_the_copy_again(store, place, monkeypatch):
    monkeypatch.setattr(replace, "MARGIN", 3)
    await store.put("n", "k", "old")
    await store.backup(place)
    real, prepared = replace.prepare, []
    loop = asyncio.get_running_loop()

    async def write():
        for number in range(10):
            await store.put("n", "k", number)

    def prepare(db, file, config, known, *rest):
        position = real(db, file, config, known, *rest)
        prepared.append((known.position, position))
        if len(prepared) == 1:
            asyncio.run_coroutine_threadsafe(write(), loop).result()
        return position

    monkeypatch.setattr(replace, "prepare", prepare)
    async with store.watch() as watch:
        await swap(store, place)
        with pytest.raises(MissedChangesError):
            await watch.next(5)
    assert len(prepared) == 2
    entry = await store.get("n", "k")
    assert entry.value == "old"
    assert entry.version > 11


async def test_a_backup_of_another_language_is_searched_by_the_stores_own(tmp_path, place):
    async with SqliteStore.open(tmp_path / "source.db", StoreConfig(search_language="english")) as source:
        await source.put("n", "k", "it retried")
        assert (await source.search(Query.create(text="retries"))).hits
        await source.backup(place)
    assert findings(place) == []
    async with SqliteStore.open(tmp_path / "store.db") as store:
        await swap(store, place)
        assert not (await store.search(Query.create(text="retries"))).hits
        await indexed(store)
        for asked, found in (("retries", []), ("retried", ["k"])):
            assert [hit.entry.key for hit in (await store.search(Query.create(text=asked))).hits] == found
    assert findings(tmp_path / "store.db") == []


async def test_closing_the_store_ends_a_replacement_that_prepares(tmp_path, place, monkeypatch):
    inside = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = replace.prepare

    def prepare(db, *rest):
        loop.call_soon_threadsafe(inside.set)
        while not rest[-1]():
            pass
        return real(db, *rest)

    monkeypatch.setattr(replace, "prepare", prepare)
    async with SqliteStore.open(tmp_path / "store.db") as store:
        await store.put("n", "k", "here")
        await store.backup(place)
        replacing = asyncio.ensure_future(swap(store, place))
        await inside.wait()
    with pytest.raises(StoreClosedError):
        await replacing
    async with SqliteStore.open(tmp_path / "store.db") as store:
        assert await values(store) == {"k": "here"}


async def test_a_caller_who_gives_up_during_the_exchange_finds_it_complete(store, place, monkeypatch):
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")
    real, inside = replace.put_in_place, asyncio.Event()
    loop = asyncio.get_running_loop()

    def put_in_place(*arguments):
        loop.call_soon_threadsafe(replacing.cancel)
        loop.call_soon_threadsafe(inside.set)
        real(*arguments)

    monkeypatch.setattr(replace, "put_in_place", put_in_place)
    replacing = asyncio.ensure_future(swap(store, place))
    with pytest.raises(asyncio.CancelledError):
        await replacing
    assert inside.is_set()
    assert await values(store) == {"k": "old"}
    await store.put("n", "k", 1)
