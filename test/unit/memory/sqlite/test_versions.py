"""A version that somebody remembers is the value that it was, or none: it never comes again for another one."""

import pytest

from swarm_operator.memory.core.errors import VersionConflictError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3


async def delete(store, clock):
    await store.delete("n", "k")


async def delete_range(store, clock):
    await store.delete_range("n")


async def expire(store, clock):
    clock.advance(10)


async def expire_and_collect(store, clock):
    clock.advance(10)
    await store.collect_garbage()


async def expire_and_delete(store, clock):
    clock.advance(10)
    assert not await store.delete("n", "k")


@pytest.mark.parametrize("end", [delete, delete_range, expire, expire_and_collect, expire_and_delete])
async def test_the_version_of_an_entry_that_is_gone_never_comes_again(either_store, clock, end):
    store = either_store
    for number in range(3):
        former, _ = await store.put("n", "k", number, ttl=5)
    await end(store, clock)
    entry, created = await store.put("n", "k", "new")
    assert created
    assert entry.version > former.version
    assert entry.created_at == entry.updated_at
    for version in range(1, former.version + 1):
        with pytest.raises(VersionConflictError):
            await store.put("n", "k", "late", if_version=version)
        with pytest.raises(VersionConflictError):
            await store.delete("n", "k", if_version=version)
    assert (await store.get("n", "k")).value == "new"


async def test_it_is_remembered_over_a_restart(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.put("n", "k", 1)
        former, _ = await store.put("n", "k", 2)
        await store.delete("n", "k")
    async with SqliteStore.open(path, StoreConfig(enable_wal=False)) as store:
        assert (await store.put("n", "k", 3))[0].version > former.version


async def test_where_nothing_was_deleted_entries_begin_at_one(store):
    assert [(await store.put("n", key, 1))[0].version for key in ("a", "b", "a", "c")] == [1, 1, 2, 1]


async def test_an_older_file_begins_above_all_that_it_has(tmp_path):
    path = tmp_path / "db"
    db = sqlite3.connect(path, isolation_level=None)
    schema.migrate(db, 0, until=4)
    db.execute(
        "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
        " VALUES ('n', 'k', 7, 1, 1, 0, 1, '[]', '{}', x'31')"
    )
    db.execute("INSERT INTO namespaces VALUES ('n', 1, 1)")
    db.close()
    async with SqliteStore.open(path) as store:
        assert (await store.put("n", "other", 1))[0].version == 8
