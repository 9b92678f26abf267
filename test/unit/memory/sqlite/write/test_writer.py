"""Group commit."""

import asyncio
import contextlib
import threading
from dataclasses import dataclass

import pytest

from swarm_operator.memory.core import Draft, Query
from swarm_operator.memory.core.errors import (
    InternalStoreError,
    OverloadedError,
    StoreClosedError,
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3


class Gate:
    """Holds a store's writer thread until it is opened."""

    def __init__(self, store):
        self._entered = asyncio.Event()
        self._open = threading.Event()
        loop = asyncio.get_running_loop()

        def hold(_db):
            loop.call_soon_threadsafe(self._entered.set)
            self._open.wait(30)

        self._task = asyncio.ensure_future(store._worker.run(hold))

    async def entered(self):
        await self._entered.wait()

    async def open(self):
        self._open.set()
        await self._task


@dataclass
class Faulty:
    """Writes a row, then fails."""

    error: Exception
    identities: tuple = (("n", "faulty"),)
    weight: int = 0

    def apply(self, work):
        work.db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
            " VALUES ('n', 'faulty', 1, 1, 1, 0, 1, '[]', '{}', x'31')"
        )
        if isinstance(self.error, sqlite3.IntegrityError):
            return Faulty(self.error).apply(work)
        raise self.error


async def test_writes_that_arrive_together_are_committed_together(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", observer=recorder) as store:
        await asyncio.gather(*(store.put("n", str(number), number) for number in range(300)))
        assert recorder.batches == [256, 44]


async def test_puts_of_many_clients_take_few_statements(store):
    seen = set()  # SQLite reports a statement again for each of its triggers
    insert = "INSERT INTO entries "
    await store._worker.run(
        lambda db: db.set_trace_callback(lambda sql: seen.add(sql) if sql.lstrip().startswith(insert) else None)
    )
    await asyncio.gather(*(store.put("n", str(number), number) for number in range(32)))
    assert len(seen) == 1


async def test_a_batch_is_bounded_by_bytes(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_batch_bytes=1000), observer=recorder) as store:
        await asyncio.gather(*(store.put("n", str(size), "x" * size) for size in (400, 400, 5000, 10)))
        assert recorder.batches == [2, 1, 1]


@pytest.mark.parametrize(
    "error", [sqlite3.IntegrityError(), RuntimeError("defect"), ValueError(), VersionConflictError(7)]
)
async def test_a_request_that_fails_is_undone_alone(store, error):
    good = [store.put("n", str(number), number) for number in range(5)]
    results = await asyncio.gather(
        *good, store._writer.submit(Faulty(error)), store.put("n", "last", 1), return_exceptions=True
    )
    assert isinstance(results[5], type(error) if isinstance(error, VersionConflictError) else InternalStoreError)
    assert [isinstance(result, tuple) for result in results] == [True] * 5 + [False, True]
    assert await store.get("n", "faulty") is None
    assert (await store.stats()).entries == 6


async def test_a_cancelled_caller_leaves_no_transaction_open(store):
    gate = Gate(store)
    await gate.entered()
    begun = asyncio.ensure_future(store.put("n", "begun", 1))
    await asyncio.sleep(0)  # submitted
    await asyncio.sleep(0)  # taken by the writer, whose thread is held
    queued = asyncio.ensure_future(store.put("n", "queued", 1))
    await asyncio.sleep(0)
    for task in (begun, queued):
        task.cancel()
    await gate.open()
    await store.put("n", "next", 1)
    assert not await store._worker.run(lambda db: db.in_transaction)
    assert (await store.get("n", "begun")).value == 1
    assert await store.get("n", "queued") is None
    assert (await store.stats()).entries == 2


async def test_a_full_queue_refuses_at_once_and_recovers(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_queue=3)) as store:
        gate = Gate(store)
        await gate.entered()
        first = asyncio.ensure_future(store.put("n", "first", 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(store.put("n", str(number), 1)) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as caught:
            await store.put("n", "refused", 1)
        assert caught.value.transient
        await gate.open()
        await asyncio.gather(first, *waiting)
        await store.put("n", "after", 1)
        assert await store.get("n", "refused") is None


async def test_the_queue_is_bounded_by_bytes_too(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_queue_bytes=1000)) as store:
        gate = Gate(store)
        await gate.entered()
        first = asyncio.ensure_future(store.put("n", "first", 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        large = asyncio.ensure_future(store.put("n", "large", "x" * 2000))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await store.put("n", "refused", "x" * 10)
        await gate.open()
        await asyncio.gather(first, large)
        assert store._writer._queued_bytes == 0


def fails_on_the_thread(start, receiver):
    def broken(_db):
        raise ZeroDivisionError

    start(broken, receiver)


def does_not_begin(_start, _receiver):
    raise StoreClosedError("the connection was lost")


@pytest.mark.parametrize(
    ("begin", "error"), [(fails_on_the_thread, ZeroDivisionError), (does_not_begin, StoreClosedError)]
)
async def test_callers_get_an_error_when_the_writer_dies(tmp_path, begin, error):
    seen = []

    async def live_and_die():
        async with SqliteStore.open(tmp_path / "db") as store:
            await store.put("n", "k", 1)

            start = store._worker.start
            store._worker.start = lambda _function, receiver: begin(start, receiver)
            results = await asyncio.gather(*(store.put("n", str(n), 1) for n in range(300)), return_exceptions=True)
            seen.append({type(result) for result in results})
            seen.append((store.alive, store.stopped.done()))
            with pytest.raises(StoreClosedError):
                await store.put("n", "k", 2)
            store._worker.start = start
            seen.append((await store.get("n", "k")).value)

    with pytest.raises(error):
        await live_and_die()
    # Compared here: the end of the store raises the writer's error over one of these.
    assert seen == [{InternalStoreError}, (False, True), 1]


async def test_a_commit_that_outlives_the_writer_is_reported_all_the_same(tmp_path):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def live_and_die():
        async with SqliteStore.open(tmp_path / "db") as store:
            gate = Gate(store)
            await gate.entered()
            put = asyncio.ensure_future(store.put("n", "k", 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            store.stopped.cancel()
            await gate.open()
            assert (await put)[1]

    with pytest.raises(asyncio.CancelledError):
        await live_and_die()
    assert not reported


async def test_the_next_batch_is_on_its_way_before_results_are_given(store):
    """A receiver has work to do, such as to render a response."""
    gate, order, got = Gate(store), [], asyncio.Event()
    await gate.entered()
    start = store._worker.start

    sent = asyncio.Event()

    def noted(function, receiver):
        order.append("sent")
        sent.set()
        start(function, receiver)

    class Noting:
        def done(self):
            return False

        def set_result(self, result):
            order.append(result[0].key)
            got.set()

    store._worker.start = noted
    store.callbacks.begin_put(Draft.create("n", "first", 1), Noting())
    await sent.wait()
    store.callbacks.begin_put(Draft.create("n", "second", 1), Noting())
    await gate.open()
    await got.wait()
    assert order[:3] == ["sent", "sent", "first"]


class Endless:
    """Writes an entry again as soon as it is written. With two of these, one request always waits."""

    def __init__(self, store, key):
        self.store = store
        self.key = key
        self.count = 0
        self.ending = False
        self.ended = asyncio.Event()

    def done(self):
        return False

    def write(self):
        self.store.callbacks.begin_put(Draft.create("n", self.key, f"word{self.count}"), self)

    def set_result(self, _result):
        self.count += 1
        if self.ending:
            self.ended.set()
        else:
            self.write()


@contextlib.asynccontextmanager
async def without_pause(tmp_path, **settings):
    """A store of which a request waits whenever a batch has been committed."""
    async with SqliteStore.open(tmp_path / "db", StoreConfig(**settings)) as store:
        clients, gate = [Endless(store, key) for key in ("a", "b")], Gate(store)
        await gate.entered()
        for client in clients:
            client.write()
            for _ in range(3):
                await asyncio.sleep(0)  # the first is on its way to the thread, and the second waits for it
        await gate.open()
        yield store
        for client in clients:
            client.ending = True
            await client.ended.wait()


async def test_maintenance_is_not_held_up_by_writes(tmp_path):
    async with without_pause(tmp_path, full_text=False, checkpoint_bytes=2**30) as store:
        for _ in range(3):
            assert not await asyncio.wait_for(store._writer.run_exclusive(lambda db: db.in_transaction), 20)


async def test_the_index_of_words_is_not_held_up_by_writes(tmp_path):
    async with without_pause(tmp_path, search_wait=10, checkpoint_bytes=2**30) as store:
        for _ in range(5):
            assert (await store.search(Query.create(text="word1"))).fresh


async def test_checkpoints_are_not_held_up_by_writes(tmp_path):
    position = 0
    async with without_pause(tmp_path, full_text=False, checkpoint_bytes=100_000) as store:
        async with asyncio.timeout(30), store.watch("n") as watch:
            while position < 1000:
                position = (await watch.next())[-1].seq
        assert (tmp_path / "db-wal").stat().st_size < 2_000_000


async def test_results_come_in_the_order_of_submission(store):
    results = await asyncio.gather(*(store.put("n", "k", number) for number in range(20)))
    assert [entry.version for entry, _ in results] == list(range(1, 21))
    assert (await store.get("n", "k")).value == 19


async def test_the_clock_of_a_batch_stands_still(store, clock):
    results = await asyncio.gather(*(store.put("n", str(number), 1) for number in range(20)))
    assert {entry.updated_at for entry, _ in results} == {int(clock() * 1000)}


@pytest.fixture
async def failing_commits(store):
    """Return a function that makes COMMIT fail (True), after all statements before it succeed, or succeed (False)."""
    schema = """
        PRAGMA foreign_keys = ON;
        CREATE TEMP TABLE parents (id INTEGER PRIMARY KEY);
        CREATE TEMP TABLE children (id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
    """
    await store._worker.run(lambda db: db.executescript(schema))

    async def switch(on):
        statement = "CREATE TEMP TRIGGER orphan AFTER INSERT ON main.changes BEGIN INSERT INTO children VALUES (1); END"
        await store._worker.run(lambda db: db.execute(statement if on else "DROP TRIGGER orphan"))

    return switch


async def test_a_failed_commit_is_neither_read_nor_delivered(store, failing_commits):
    await store.put("n", "old", 1)
    await store.put("n", "deleted", 1)
    await failing_commits(True)
    async with store.watch() as watch:
        writes = (store.put("n", "old", 2), store.put("n", "new", 2), store.delete("n", "deleted"))
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(result) for result in results] == [InternalStoreError] * 3
        assert "FOREIGN KEY" in str(results[0])
        assert (await store.get("n", "old")).value == 1
        assert await store.get("n", "new") is None
        assert (await store.get("n", "deleted")).value == 1
        await failing_commits(False)
        await store.put("n", "last", 1)
        assert [change.key for change in await watch.next()] == ["last"]
