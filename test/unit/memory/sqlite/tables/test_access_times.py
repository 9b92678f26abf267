"""When entries were last read: known, at no cost for reads, and lost at worst."""

import asyncio

import pytest

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.core.errors import StorageIOError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.tables import access_times


async def seen(store, namespace="n"):
    """accessed_at by key, as a list says it; a search says the same."""
    listed = {entry.key: entry.accessed_at for entry in (await store.list(namespace, limit=1000)).entries}
    found = await store.search(Query.create(namespace=namespace), limit=1000)
    assert {hit.entry.key: hit.entry.accessed_at for hit in found.hits} == listed
    return listed


async def rows(store):
    return await store._worker.run(lambda db: db.execute("SELECT id, at FROM accesses ORDER BY id").fetchall())


async def test_a_read_by_key_is_an_access_and_nothing_else_is(either_store, clock):
    for key in ("a", "b", "c"):
        await either_store.put("n", key, 1)
    assert await seen(either_store) == {"a": None, "b": None, "c": None}
    clock.advance(1)
    await either_store.get("n", "a")
    await either_store.get("n", "missing")
    first = either_store.now()
    clock.advance(1)
    await either_store.get_many([("n", "b"), ("n", "b"), ("x", "y")])
    assert await seen(either_store) == {"a": first, "b": either_store.now(), "c": None}
    clock.advance(1)
    await either_store.get("n", "a")  # from the cache
    entry, _ = await either_store.put("n", "b", 2)
    assert await seen(either_store) == {"a": first + 2000, "b": first + 1000, "c": None}
    assert (await either_store.get("n", "b")).version == entry.version == 2


async def test_they_are_written_with_a_collection_and_when_the_store_closes(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        for key in ("a", "b"):
            await store.put("n", key, 1)
        await store.get("n", "a")
        assert await rows(store) == []
        changes = store._feed.newest
        await store.collect_garbage()
        assert await rows(store) == [(1, store.now())]
        assert store._feed.newest == changes, "nobody is told"
        before = await seen(store)
        clock.advance(1)
        await store.get("n", "b")
        later = store.now()
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        assert await seen(store) == {**before, "b": later}
        assert (await store.get("n", "a")).version == 1
    assert check(tmp_path / "db").ok


async def test_an_access_goes_with_its_entry_and_is_never_another_one_s(store, clock):
    await store.put("n", "k", 1)
    await store.get("n", "k")
    await store.collect_garbage()
    assert len(await rows(store)) == 1
    await store.get("n", "k")
    await store.delete("n", "k")
    assert await rows(store) == []
    clock.advance(1)
    await store.put("n", "k", 2)  # of the same number
    assert await seen(store) == {"k": None}
    await store.collect_garbage()
    assert await seen(store) == {"k": None}, "what was noted before was of the former one"
    await store.put("n", "brief", 1, ttl=10)
    await store.get("n", "brief")
    await store.collect_garbage()
    clock.advance(10)
    await store.collect_garbage()
    await store.put("n", "brief", 2)
    assert await seen(store) == {"brief": None, "k": None}


async def test_an_expired_entry_that_is_written_again_begins_anew(store, clock):
    await store.put("n", "k", 1, ttl=1)
    await store.get("n", "k")
    await store.collect_garbage()
    clock.advance(5)
    await store.put("n", "k", 2)  # in the row of the one that has expired
    assert await seen(store) == {"k": None}


async def test_what_is_noted_is_bounded(store, monkeypatch, clock):
    monkeypatch.setattr(access_times, "_MOST", 3)
    monkeypatch.setattr(access_times, "_AT_ONCE", 2)
    for number in range(5):
        await store.put("n", f"k{number}", number)
    for number in range(5):
        await store.get("n", f"k{number}")
    clock.advance(1)
    await store.get("n", "k0")
    known = await seen(store)
    assert [key for key, at in known.items() if at is not None] == ["k0", "k1", "k2"]
    assert known["k0"] == known["k1"] + 1000
    await store.collect_garbage()
    assert await seen(store) == known
    await store.get("n", "k4")
    assert (await seen(store))["k4"] is not None


async def test_many_are_written_while_others_write(store):
    for first in range(0, 3000, 1000):
        await store.batch([Put(Draft.create("n", f"k{number:05}", number)) for number in range(first, first + 1000)])
    for first in range(0, 3000, 1000):
        await store.get_many([("n", f"k{number:05}") for number in range(first, first + 1000)])
    collecting = asyncio.create_task(store.collect_garbage())
    while not collecting.done():
        await store.put("n", "other", 1)
    await collecting
    assert len(await rows(store)) == 3000


async def test_they_are_known_while_they_are_being_written(store):
    await store.put("n", "k", 1)
    await store.get("n", "k")
    known = await seen(store)
    accesses = store._accesses

    async def run(write):
        assert await seen(store) == known
        await store._worker.run(write)

    before = (await store.list("n")).entries[0]._replace(accessed_at=None)
    await accesses.flush(run)
    assert await seen(store) == known
    assert accesses.latest(before).accessed_at == known["k"], "read before the write, shown after it"


async def test_a_disk_that_fails_loses_them_and_nothing_else(tmp_path, monkeypatch):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(probe_interval=3600)) as store:
        await store.put("n", "k", 1)
        await store.get("n", "k")

        def broken(*_):
            raise StorageIOError("the disk")

        monkeypatch.setattr(access_times, "_write", broken)
        with pytest.raises(StorageIOError):
            await store.collect_garbage()
        monkeypatch.undo()
        assert await rows(store) == []
        await store.put("n", "k", 2)
        assert store.fault is None
        await store.get("n", "k")
        await store.collect_garbage()
        assert (await seen(store))["k"] is not None


async def test_check_finds_rows_of_entries_that_are_not_there(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        await store._worker.run(lambda db: db.execute("INSERT INTO accesses (id, at) VALUES (77, 1)"))
    (finding,) = check(tmp_path / "db").findings
    assert finding.what == "it has 1 rows of entries that are not there"
