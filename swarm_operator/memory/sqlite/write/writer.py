"""Group commit: the one place that writes.

Requests wait in a bounded queue. While one batch is being committed the next one gathers, so batches grow with the load
and a lone request waits for nobody. A batch is one transaction in one function on the writer's thread (`commit`), with
a savepoint for each request: a request that fails is undone alone. Futures are resolved after COMMIT has returned,
which with synchronous=FULL means after the log was synced: acknowledged is on disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import (
    InternalStoreError,
    MemoryStoreError,
    OverloadedError,
    StorageError,
    StoreClosedError,
)
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.checkpoint import truncate, wal_size
from swarm_operator.memory.sqlite.database.connection import Worker
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.write.apply import Operation, commit_batch, trial_write

T = TypeVar("T")


class Deletable(Protocol):
    """A row that maintenance may delete."""

    @property
    def identity(self) -> Identity:
        """Return the identity of the row's entry."""


D = TypeVar("D", bound=Deletable)


class CacheInvalidation(Protocol):
    """Whoever keeps copies of entries (see lookup) is told around each commit, on the event loop."""

    def before_commit(self, identities: Iterable[Identity]) -> None:
        """These entries are about to change: copies of them are worth nothing from now on."""

    def after_commit(self, states: Iterable[tuple[Identity, Entry | None]]) -> None:
        """The commit is over. What these entries are now; those of a failed commit are not among them."""


_PAGE_BYTES = 4096


class CheckpointPolicy:
    """Counts what is written and says when a checkpoint is due."""

    def __init__(self, database: Path, config: StoreConfig) -> None:
        self._database = database
        self._config = config
        self._written = 0
        self.busy = 0
        """Checkpoints that a reader kept from finishing."""
        self.snapshots = 0
        """Backups that hold a snapshot now: for as long as they copy, so the writer must not wait for them."""

    def note(self, *, requests: int, value_bytes: int) -> None:
        """Take note of a commit. Bytes in the log are estimated: its values, and a page for each row it touched."""
        self._written += value_bytes + (requests + 2) * _PAGE_BYTES

    def hasten(self) -> None:
        """Make a checkpoint due: only it cuts off the pages that the database has given up."""
        self._written = max(self._written, self._config.checkpoint_bytes)

    @property
    def due(self) -> bool:
        """Whether the writer should call `run` before its next batch."""
        return self._config.enable_wal and self._written >= self._config.checkpoint_bytes

    def run(self, db: sqlite3.Connection) -> None:
        """Checkpoint, on the writer's thread. May raise sqlite3.Error: what was committed stays safe in the log."""
        self._written = 0
        if wal_size(self._database) > self._config.wal_limit_bytes and not self.snapshots:
            finished = truncate(db)
        else:
            busy, in_log, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finished = busy == 0 and in_log == moved
        self.busy += not finished


@dataclass(slots=True)
class _Request:
    operation: Operation
    identities: Sequence[Identity]
    weight: int
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _MaintenanceTask:
    """A step of maintenance, run where a batch could be."""

    step: Callable[[], Awaitable[Any]]
    future: asyncio.Future[Any]


class Writer:
    """Takes operations, commits them in batches, answers each.

    Attributes:
        fault: why the last write failed, if the disk or the file was the reason; None when writes work.
    """

    def __init__(
        self,
        worker: Worker,
        config: StoreConfig,
        *,
        now: Callable[[], int],
        checkpoints: CheckpointPolicy,
        invalidation: CacheInvalidation,
        publish: Callable[[Sequence[Change]], None],
        observer: Observer,
    ) -> None:
        self.fault: StorageError | None = None
        self._worker = worker
        self._config = config
        self._now = now
        self._checkpoints = checkpoints
        self._invalidation = invalidation
        self._publish = publish
        self._observer = observer
        self._queue: deque[_Request] = deque()
        self._tasks: deque[_MaintenanceTask] = deque()
        self._queued_bytes = 0
        self._queued_entries = 0
        self._wakeup = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the loop and its thread run."""
        return self._task is not None and not self._task.done() and self._worker.alive

    def start(self) -> asyncio.Task[None]:
        """Start the loop. The task ends with `close`, or with the defect that stopped it."""
        self._task = asyncio.create_task(self._run(), name="memory-writer")
        return self._task

    async def submit(self, operation: Operation) -> Any:
        """Queue the operation and wait until it is on disk. Cancelling the wait does not undo what was begun.

        Raises:
            OverloadedError: the queue is full; nothing was written.
            StoreClosedError: the store is closing; nothing was written.
            StorageError: the whole batch failed; nothing was written, see StorageError for the fine print.
            MemoryStoreError: what the operation itself raises.
        """
        if self._closing or not self.alive:
            raise StoreClosedError("the store is closing")
        weight, identities = operation.weight, operation.identities
        entries = len(identities)
        if self._queue and self._queued_entries + entries > self._config.max_queue:
            raise OverloadedError(f"{self._queued_entries} writes are waiting")
        if self._queue and self._queued_bytes + weight > self._config.max_queue_bytes:
            raise OverloadedError(f"{self._queued_bytes} bytes of values are waiting to be written")
        request = _Request(operation, identities, weight, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self._queued_bytes += weight
        self._queued_entries += entries
        self._wakeup.set()
        return await request.future

    async def run_exclusive(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function of the writer's connection while no batch is being committed.

        Raises:
            StorageError, StoreClosedError: as `submit`.
        """
        return await self._queue_task(lambda: self._worker.run(step))

    async def run_deletion(
        self,
        find: Callable[[sqlite3.Connection], Sequence[D]],
        delete: Callable[[sqlite3.Connection, Sequence[D]], Sequence[Change]],
    ) -> Sequence[D]:
        """Find and delete rows while no batch is being committed. Return the deleted rows.

        Args:
            find: returns rows that could be deleted; runs on the writer's thread.
            delete: deletes rows from the first on, as many as its time allows; returns a change for each.

        Raises:
            StorageError, StoreClosedError: as `submit`.
        """

        async def task() -> Sequence[D]:
            found = await self._worker.run(find)
            if not found:
                return found
            self._invalidation.before_commit(row.identity for row in found)
            done: Sequence[Change] = ()
            try:
                done = await self._worker.run(lambda db: delete(db, found))
            finally:
                self._invalidation.after_commit((row.identity, None) for row in found[: len(done)])
            self._publish(done)
            self._checkpoints.note(requests=len(done), value_bytes=0)
            self._succeeded()
            return found[: len(done)]

        return await self._queue_task(task)

    async def _queue_task(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a task between two batches. Tasks and batches alternate while both wait."""
        if self._closing or not self.alive:
            raise StoreClosedError("the store is closing")
        task = _MaintenanceTask(step, asyncio.get_running_loop().create_future())
        self._tasks.append(task)
        self._wakeup.set()
        result: T = await task.future
        return result

    async def close(self) -> None:
        """Refuse new requests, commit those that wait, stop. Raises the defect if the loop had died of one."""
        self._closing = True
        self._wakeup.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while True:
                if not self._queue and not self._tasks:
                    if self._closing:
                        return
                    await self._wait()
                if batch := self._take():
                    await self._commit(batch)
                elif self.fault is not None and not self._closing and not self._tasks:
                    await self._try_disk()
                if self._tasks:
                    await self._do(self._tasks.popleft())
                if self._checkpoints.due:
                    await self._checkpoint()
        finally:
            # Only a defect gets here with requests left; their callers must not wait for ever.
            waiting: list[_Request | _MaintenanceTask] = [*self._queue, *self._tasks]
            for each in waiting:
                if not each.future.done():
                    each.future.set_exception(InternalStoreError("the writer has stopped"))
            self._queue.clear()
            self._queued_bytes = self._queued_entries = 0
            self._tasks.clear()

    async def _wait(self) -> None:
        self._wakeup.clear()
        if self.fault is None:
            await self._wakeup.wait()
            return
        try:
            async with asyncio.timeout(self._config.probe_interval):
                await self._wakeup.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[_Request]:
        """The next batch: what waits, up to the bounds; requests whose callers have gone are left out."""
        batch: list[_Request] = []
        weight = entries = 0
        while self._queue:
            request = self._queue[0]
            fits = (
                weight + request.weight <= self._config.max_batch_bytes
                and entries + len(request.identities) <= self._config.max_batch
            )
            if batch and not fits:
                break
            self._queue.popleft()
            self._queued_bytes -= request.weight
            self._queued_entries -= len(request.identities)
            if not request.future.done():
                weight += request.weight
                entries += len(request.identities)
                batch.append(request)
        return batch

    async def _commit(self, batch: list[_Request]) -> None:
        operations, config = [request.operation for request in batch], self._config
        started = time.perf_counter()
        self._invalidation.before_commit(identity for request in batch for identity in request.identities)
        try:
            outcome = await self._worker.run(
                lambda db: commit_batch(
                    db, operations, self._now, full_text=config.full_text, keep=config.change_log_entries
                )
            )
        except BaseException:
            self._invalidation.after_commit(())
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(InternalStoreError("the writer has stopped"))
            raise
        self._invalidation.after_commit(outcome.states)
        self._publish(outcome.changes)
        for request, result in zip(batch, outcome.results, strict=True):
            if request.future.done():
                continue
            if isinstance(result, MemoryStoreError):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)
        if outcome.failure is not None:
            self._failed(outcome.failure)
            return
        self._observer.committed(requests=len(batch), seconds=time.perf_counter() - started)
        if outcome.changed:
            self._checkpoints.note(requests=len(outcome.states), value_bytes=outcome.written)
            self._succeeded()

    async def _do(self, task: _MaintenanceTask) -> None:
        if task.future.done():  # whoever wanted it has gone
            return
        try:
            result = await task.step()
        except Exception as error:  # noqa: BLE001 - it becomes the answer to whoever asked, who tells the observer
            reason = from_sqlite(error)
            if isinstance(reason, StorageError):
                self.fault = reason
            if not task.future.done():
                task.future.set_exception(reason)
        except BaseException:
            task.future.cancel()
            raise
        else:
            if not task.future.done():
                task.future.set_result(result)

    async def _checkpoint(self) -> None:
        try:
            await self._worker.run(self._checkpoints.run)
        except Exception as error:  # noqa: BLE001 - acknowledged writes are safe in the log; it is tried again
            reason = from_sqlite(error)
            self._observer.failed(code=reason.code, reason=f"checkpoint: {reason}")

    async def _try_disk(self) -> None:
        """See whether the disk takes writes again: while the store isn't ready, nobody else may send it one."""
        try:
            await self._worker.run(trial_write)
        except Exception as error:  # noqa: BLE001 - whatever it is, the fault stays
            self._failed(from_sqlite(error))
        else:
            self._succeeded()

    def _failed(self, failure: MemoryStoreError) -> None:
        if isinstance(failure, StorageError):
            self.fault = failure
        self._observer.failed(code=failure.code, reason=str(failure))

    def _succeeded(self) -> None:
        # A damaged file stays damaged although some writes succeed: only a restart clears that.
        if self.fault is not None and self.fault.transient:
            self.fault = None
            self._observer.recovered()
