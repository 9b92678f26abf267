"""Expired rows go, in short steps that nobody notices, and the room that they took is given back."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import DiskFullError, StoreClosedError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.gc import sweep


class Sleeper:
    """Waits until it is told that the time has come."""

    def __init__(self):
        self.asked = []
        self._wake = asyncio.Event()
        self.waiting = asyncio.Event()

    async def __call__(self, seconds):
        self.asked.append(seconds)
        self.waiting.set()
        await self._wake.wait()
        self._wake.clear()

    async def wake(self):
        """Let it go on, and wait until it waits again: a run later."""
        await self.waiting.wait()
        self.waiting.clear()
        self._wake.set()
        await self.waiting.wait()


async def rows(store):
    return (await store._worker.run(lambda db: db.execute("SELECT count(*) FROM entries").fetchone()))[0]


async def fill(store, count, value="x" * 100, ttl=1, namespace="n"):
    await asyncio.gather(*(store.put(namespace, f"k{number}", value, ttl=ttl) for number in range(count)))


async def test_rows_that_nobody_reads_are_collected_and_the_others_stay(either_store, clock):
    """The seed compared text with numbers: what was never read was never collected."""
    await fill(either_store, 600)
    await either_store.put("n", "later", 1, ttl=100)
    await either_store.put("n", "for ever", 1)
    await fill(either_store, 3, namespace="other")
    clock.advance(1)
    collection = await either_store.collect_garbage()
    assert (collection.entries, collection.value_bytes) == (603, 603 * 102)
    assert await rows(either_store) == 2
    assert [entry.key for entry in (await either_store.list("n")).entries] == ["for ever", "later"]
    stats = await either_store.stats()
    assert (stats.entries, stats.value_bytes) == (2, 2)
    assert (stats.gc.runs, stats.gc.entries, stats.gc.last) == (1, 603, collection)
    counts = await either_store._worker.run(lambda db: db.execute("SELECT * FROM namespaces").fetchall())
    assert counts == [("n", 2, 2)]


async def test_the_cache_forgets_what_was_collected(store, clock):
    """The seed's collection left its cache alone, and that had no idea of time."""
    await fill(store, 5)
    await store.put("n", "stays", 1)
    clock.advance(1)
    await store.collect_garbage()
    stats = await store.stats()
    assert stats.cache_entries == 1
    assert stats.cache_bytes == (await store.get("n", "stays")).weight
    clock.seconds -= 1  # even if the clock goes back
    assert await store.get("n", "k1") is None


async def test_a_read_that_a_collection_overtakes_is_not_cached(store, clock):
    """The row is read before the collection and arrives after it. Nothing would remove the copy later."""
    await store.put("n", "k", 1, ttl=1)
    store._cache.discard(("n", "k"))
    found, receivers = asyncio.get_running_loop().create_future(), []
    fetch = store._lookup._fetch

    def slow(identities, receiver):
        receivers.append(receiver)
        fetch(identities, found)

    store._lookup._fetch = slow
    getting = asyncio.ensure_future(store.get("n", "k"))
    entries = await found
    clock.advance(1)
    assert (await store.collect_garbage()).entries == 1
    store._lookup._fetch = fetch
    receivers[0].set_result(entries)
    assert await getting is None
    assert (await store.stats()).cache_entries == 0
    clock.seconds -= 1  # even if the clock goes back
    assert await store.get("n", "k") is None


async def test_it_runs_every_interval(tmp_path, clock, recorder):
    sleep = Sleeper()
    config = StoreConfig(gc_interval=120)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock, sleep=sleep, observer=recorder) as store:
        for round_ in range(3):
            await fill(store, 10)
            clock.advance(2)
            await sleep.wake()
            assert await rows(store) == 0
            assert recorder.expired_entries == 10 * (round_ + 1)
        assert recorder.collections == 3
        assert set(sleep.asked) == {120}


async def test_another_interval_begins_when_it_is_set(tmp_path, clock, recorder):
    sleep = Sleeper()
    config = StoreConfig(gc_interval=3600)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock, sleep=sleep, observer=recorder) as store:
        await sleep.waiting.wait()
        sleep.waiting.clear()
        store.configure(gc_interval=60)
        async with asyncio.timeout(30):
            await sleep.waiting.wait()
        assert sleep.asked == [3600, 60]
        store.configure(cache_size=5)
        await asyncio.sleep(0)
        assert sleep.asked == [3600, 60], "the same interval goes on"
        await sleep.wake()
        assert recorder.collections == 1
        assert sleep.asked == [3600, 60, 60]


async def test_another_interval_ends_no_run(tmp_path, clock, recorder, monkeypatch):
    sleep, begun, ended = Sleeper(), asyncio.Event(), asyncio.Event()
    async with SqliteStore.open(tmp_path / "db", clock=clock, sleep=sleep, observer=recorder) as store:
        run_exclusive = store._writer.run_exclusive

        async def slow(step):
            begun.set()
            await ended.wait()
            return await run_exclusive(step)

        monkeypatch.setattr(store._writer, "run_exclusive", slow)
        waking = asyncio.ensure_future(sleep.wake())
        await begun.wait()
        store.configure(gc_interval=60)
        async with asyncio.timeout(30):
            await waking
        ended.set()
        await store.collect_garbage()
        assert recorder.collections == 2, "the run that went on, and the one that was asked for"


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_a_collection_that_fails_is_told_and_tried_again(tmp_path, clock, recorder, enable_wal):
    sleep = Sleeper()
    config = StoreConfig(enable_wal=enable_wal, probe_interval=3600)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock, sleep=sleep, observer=recorder) as store:
        await fill(store, 10)
        clock.advance(2)

        def fail(_db, _rows, **_):
            raise DiskFullError("no room")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "delete", fail)
            await sleep.wake()
            assert recorder.failures == [("disk-full", "garbage collection: no room")]
            assert isinstance(store.fault, DiskFullError)
            assert (await store.stats()).gc.last_error == "disk-full: no room"
            with pytest.raises(DiskFullError):
                await store.collect_garbage()
        assert await store.get("n", "k1") is None
        assert store.alive
        await sleep.wake()
        assert await rows(store) == 0
        assert store.fault is None
        stats = await store.stats()
        assert (stats.gc.runs, stats.gc.failures, stats.gc.last_error) == (1, 2, None)


async def test_a_real_full_disk_rolls_the_step_back(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(probe_interval=3600), clock=clock) as store:
        await fill(store, 10)
        clock.advance(2)
        await store._worker.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
        with pytest.raises(Exception, match="readonly"):
            await store.collect_garbage()
        await store._worker.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
        assert await rows(store) == 10
        assert (await store.collect_garbage()).entries == 10


async def test_writers_go_between_the_steps(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(sweep, "_MOST_ROWS", 10)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        await fill(store, 200)
        clock.advance(2)
        collecting = asyncio.ensure_future(store.collect_garbage())
        await store.put("n", "new", 1)
        assert not collecting.done()
        assert await rows(store) > 1
        assert (await collecting).entries == 200


async def test_callers_that_come_during_a_run_share_the_next_one(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(sweep, "_MOST_ROWS", 10)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        await fill(store, 200)
        clock.advance(2)
        first = asyncio.ensure_future(store.collect_garbage())
        await store.put("n", "late", 1, ttl=1)
        clock.advance(2)
        others = await asyncio.gather(*(store.collect_garbage() for _ in range(5)))
        assert (await first).entries == 200
        assert {id(other) for other in others} == {id(others[0])}
        assert others[0].entries == 1
        assert (await store.stats()).gc.runs == 2


async def test_a_caller_that_goes_does_not_stop_the_run(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        await fill(store, 20)
        clock.advance(2)
        caller = asyncio.ensure_future(store.collect_garbage())
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await store.collect_garbage()
        assert (await store.stats()).gc.entries == 20


async def test_closing_ends_a_run_after_its_step(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(sweep, "_MOST_ROWS", 1)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        await fill(store, 100)
        clock.advance(2)
        caller = asyncio.ensure_future(store.collect_garbage())
        await asyncio.sleep(0.005)
    with pytest.raises(StoreClosedError):
        await caller
    with pytest.raises(StoreClosedError):
        await store.collect_garbage()


async def test_empty_pages_are_given_back_and_the_file_gets_shorter(tmp_path, clock):
    """The seed's enableVacuum ran `PRAGMA optimize`."""
    path = tmp_path / "db"
    async with SqliteStore.open(path, StoreConfig(compression_threshold=0, full_text=False), clock=clock) as store:
        await fill(store, 300, value="x" * 20_000)
        await store.put("n", "stays", 1)
        before = (await store.stats()).database_size_bytes
        clock.advance(2)
        collection = await store.collect_garbage()
        stats = await store.stats()
        assert collection.given_back_bytes == before - stats.database_size_bytes > 5_000_000
        assert stats.free_bytes == 0
        assert stats.gc.auto_vacuum == "incremental"
        await store.put("n", "another", 1)
        assert path.stat().st_size < 1_000_000


async def test_without_vacuum_pages_stay_for_later_entries(tmp_path, clock):
    config = StoreConfig(enable_vacuum=False, compression_threshold=0)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock) as store:
        await fill(store, 100, value="x" * 20_000)
        before = (await store.stats()).database_size_bytes
        clock.advance(2)
        assert (await store.collect_garbage()).given_back_bytes == 0
        stats = await store.stats()
        assert stats.database_size_bytes == before
        assert stats.free_bytes > 1_000_000


@pytest.mark.parametrize(("mode", "name"), [(0, "none"), (1, "full")])
async def test_a_file_that_was_made_with_another_auto_vacuum_is_no_error(tmp_path, clock, mode, name):
    path = tmp_path / "db"
    async with SqliteStore.open(path, clock=clock):
        pass
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute(f"PRAGMA auto_vacuum = {mode}")
    db.execute("VACUUM")
    db.close()
    async with SqliteStore.open(path, clock=clock) as store:
        await fill(store, 50)
        clock.advance(2)
        collection = await store.collect_garbage()
        assert (collection.entries, collection.given_back_bytes) == (50, 0)
        assert (await store.stats()).gc.auto_vacuum == name


def test_a_step_is_bounded_by_rows_bytes_and_time(tmp_path, monkeypatch):
    from swarm_operator.memory.sqlite.database import schema

    db = sqlite3.connect(tmp_path / "db", isolation_level=None)
    schema.migrate(db, 0)
    for number in range(1000):
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags,"
            " metadata, value) VALUES ('n', ?, 1, 1, 1, 1, ?, 1000, '[]', '{}', zeroblob(1000))",
            (f"{number:04d}", number),
        )
    db.execute("INSERT INTO namespaces VALUES ('n', 1000, 1000000)")
    assert sweep.find(db, -1) == []
    assert len(sweep.find(db, 99)) <= 100
    monkeypatch.setattr(sweep, "_FIND_SECONDS", 60)
    assert len(sweep.find(db, 5000)) == 256
    monkeypatch.setattr(sweep, "_MOST_BYTES", 10_500)
    found = sweep.find(db, 5000)
    assert [row.identity[1] for row in found] == [f"{number:04d}" for number in range(10)]
    monkeypatch.setattr(sweep, "_DELETE_SECONDS", 0)
    deleted = sweep.delete(db, found, now=5000, keep=10)
    assert [change.key for change in deleted] == ["0000"]
    assert db.execute("SELECT * FROM namespaces").fetchall() == [("n", 999, 999_000)]
    db.close()
