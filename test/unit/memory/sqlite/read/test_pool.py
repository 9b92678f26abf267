"""Reading connections can do nothing but read."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InternalStoreError, StoreClosedError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.read import pool
from swarm_operator.memory.sqlite.read.pool import ENTRIES
from swarm_operator.memory.sqlite.tables import entry_rows


async def test_readers_can_not_write_and_never_checkpoint(store):
    await store.put("n", "k", 1)
    for worker in store._readers.own_workers:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await worker.run(lambda db: db.execute("DELETE FROM entries"))
        assert await worker.run(lambda db: db.execute("PRAGMA wal_autocheckpoint").fetchone()) == (0,)


async def test_a_read_leaves_no_transaction_open(either_store):
    await either_store.put("n", "k", 1)
    await either_store.put("n", "l", 1)
    either_store._cache.discard(("n", "k"))
    await either_store.get("n", "k")
    await either_store.list("n", limit=1)
    await either_store.namespaces(limit=1)
    await either_store.stats()
    for worker in (*either_store._readers.own_workers, either_store._worker):
        assert not await worker.run(lambda db: db.in_transaction)
    if either_store.config.enable_wal:
        busy, in_log, moved = await either_store._worker.run(
            lambda db: db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        )
        assert busy == 0
        assert in_log == moved


async def test_a_fetch_ends_with_the_value_that_reaches_its_bytes(either_store):
    for key in ("a", "b", "c"):
        await either_store.put("n", key, "x" * 8)
    places = [("n", key) for key in ("none", "a", "b", "c", "none")]
    for most, found in ((31, 5), (30, 4), (21, 4), (20, 3), (11, 3), (10, 2), (1, 2)):
        read = asyncio.get_running_loop().create_future()
        either_store._readers.begin_entries(places, read, max_bytes=most)
        entries = await read
        assert len(entries) == found, most
        assert [entry and entry.key for entry in entries] == [None, "a", "b", "c", None][:found]


async def test_reads_of_entries_are_counted_while_they_are_under_way(store, monkeypatch):
    await store.put("n", "k", 1)
    seen, read = [], entry_rows.read

    def noted(db, identity):
        seen.append(dict(store._readers.under_way))
        return read(db, identity)

    monkeypatch.setattr(entry_rows, "read", noted)
    assert await store.get("n", "none") is None
    store._lookup.forget()
    assert (await store.get("n", "k")).value == 1
    assert [counts[ENTRIES] for counts in (*seen, store._readers.under_way)] == [1, 1, 0]
    monkeypatch.setattr(entry_rows, "read", lambda _db, _identity: 1 / 0)
    with pytest.raises(InternalStoreError):
        await store.get("n", "none")
    assert store._readers.under_way[ENTRIES] == 0


async def test_a_read_that_does_not_begin_is_not_under_way(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        readers = store._readers
    with pytest.raises(StoreClosedError):
        readers.begin_entries([("n", "k")], asyncio.get_running_loop().create_future(), max_bytes=1)
    assert readers.under_way[ENTRIES] == 0


async def test_a_failed_read_is_an_error_of_the_store_and_leaves_no_transaction_open(store, monkeypatch):
    monkeypatch.setattr(entry_rows, "_GET", "SELECT * FROM nowhere WHERE namespace = ? AND key = ?")
    with pytest.raises(InternalStoreError, match="nowhere"):
        await store.get("n", "k")
    monkeypatch.undo()
    assert await store.get("n", "k") is None


async def test_with_a_rollback_journal_reads_share_the_writers_connection(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(enable_wal=False)) as store:
        assert {*store._readers._workers.values(), *store._readers._searchers} == {store._worker}


async def test_counting_expired_rows_touches_only_their_index(store):

    plan = await store._worker.run(lambda db: db.execute("EXPLAIN QUERY PLAN " + pool._EXPIRED, (5, "")).fetchall())
    assert "COVERING INDEX entries_expiry (expires_at<?)" in plan[0][3]


async def test_a_page_is_found_by_the_index_without_sorting(store):

    plan = await store._worker.run(
        lambda db: db.execute("EXPLAIN QUERY PLAN " + pool._PAGE, ("n", "", b"", 0, 10)).fetchall()
    )
    assert [row[3] for row in plan] == [
        "SEARCH entries USING INDEX sqlite_autoindex_entries_1 (namespace=? AND key>? AND key<?)",
        "CORRELATED SCALAR SUBQUERY 1",
        "SEARCH accesses USING INTEGER PRIMARY KEY (rowid=?)",
    ]
