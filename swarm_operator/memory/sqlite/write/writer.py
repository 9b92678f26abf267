"""Writer with group commit: the only component that writes to the database.

Requests wait in a bounded queue. New requests queue while a batch is being committed, so batches grow with the load and
a single request is committed without delay. A batch is one transaction in one call on the writer's thread (see
write.apply), with a savepoint per request: a failed request is rolled back alone. Results are delivered after COMMIT
returns. With synchronous=FULL the WAL is synced by then, so acknowledged writes are on disk.

The thread's result of a batch sends the next batch in the same turn of the event loop. The loop of the writer's task
runs what comes between batches: maintenance, steps of the index, checkpoints. A task goes on two turns later than the
result, and with many clients a turn takes milliseconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from swarm_operator.memory.core.callbacks import Receiver
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.core.errors import (
    DeletingError,
    DiskFullError,
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
from swarm_operator.memory.sqlite.database.reserve import Reserve
from swarm_operator.memory.sqlite.write.apply import Operation, Outcome, apply_alone, commit_batch, trial_write
from swarm_operator.memory.sqlite.write.batch import only_deletes
from swarm_operator.memory.sqlite.write.exclusive import ExclusiveSteps, MaintenanceTask
from swarm_operator.memory.sqlite.write.hooks import CacheInvalidation, Follower
from swarm_operator.memory.sqlite.write.run import SHORTEST, apply_in_runs

DELETING: Final = DeletingError("the memory is being deleted: it takes no writes any more")
"""Refusal of writes from the final backup on."""


class Deletable(Protocol):
    """A row that maintenance may delete."""

    @property
    def identity(self) -> Identity:
        """Return the identity of the row's entry."""


D = TypeVar("D", bound=Deletable)


_PAGE_BYTES = 4096
_FULL = "the disk is full; entries can be read and deleted"


class CheckpointPolicy:
    """Counts written bytes and decides when a checkpoint is due."""

    def __init__(self, database: Path, config: StoreConfig) -> None:
        self._database = database
        self._config = config
        self._written = 0
        self.reserve = Reserve(database, config.reserve_bytes)
        """While it is given up, every commit is followed by a checkpoint that truncates the log."""
        self.busy = 0
        """Number of checkpoints that readers prevented from completing."""
        self.snapshots = 0
        """Number of running backups. Each holds a snapshot while copying, so the writer must not wait for backups."""

    def note(self, *, requests: int, value_bytes: int) -> None:
        """Record a commit. Its bytes in the WAL are estimated: bytes of values plus one page per row."""
        self._written += value_bytes + (requests + 2) * _PAGE_BYTES

    def note_bytes(self, written: int) -> None:
        """Record about so many bytes in the WAL."""
        self._written += written

    def hasten(self) -> None:
        """Make a checkpoint due now: only a checkpoint truncates released pages from the database file."""
        self._written = max(self._written, self._config.checkpoint_bytes)

    @property
    def due(self) -> bool:
        """Return whether the writer should call `run` before its next batch."""
        most = 1 if self.reserve.given_up else self._config.checkpoint_bytes
        return self._config.enable_wal and self._written >= most

    def run(self, db: sqlite3.Connection) -> None:
        """Run a checkpoint on the writer's thread. May raise sqlite3.Error; committed data stays in the WAL."""
        self._written = 0
        most = 0 if self.reserve.given_up else self._config.wal_limit_bytes
        if wal_size(self._database) > most and not self.snapshots:
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
    receiver: Receiver


class _Commit:
    """Receiver of the outcome of a batch."""

    __slots__ = ("_receivers", "_started", "_writer")

    def __init__(self, writer: Writer, receivers: Sequence[Receiver]) -> None:
        self._writer = writer
        self._receivers = receivers
        self._started = time.perf_counter()

    def done(self) -> bool:
        return False

    def set_result(self, outcome: Outcome, /) -> None:
        self._writer.committed(self._receivers, outcome, time.perf_counter() - self._started)

    def set_exception(self, error: BaseException, /) -> None:
        self._writer.stopped(self._receivers, error)


class Writer(ExclusiveSteps):
    """Queues operations, commits them in batches and returns their results.

    Attributes:
        fault: the disk or file error of the last write; None while writes succeed.
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
        follower: Follower,
        observer: Observer,
        refusal: MemoryStoreError | None = None,
    ) -> None:
        super().__init__(worker, refusal)
        self.fault: StorageError | None = None
        self._reserve = checkpoints.reserve
        self._config = config
        self._now = now
        self._checkpoints = checkpoints
        self._invalidation = invalidation
        self._publish = publish
        self._follower = follower
        self._observer = observer
        self._queue: deque[_Request] = deque()
        self._queued_bytes = 0
        self._queued_entries = 0
        self._task: asyncio.Task[None] | None = None
        self._committing: asyncio.Future[None]
        """Done when no batch is being committed: the loop goes on."""

    @property
    def alive(self) -> bool:
        """Return whether the loop and its thread are running."""
        return self._task is not None and not self._task.done() and self._worker.alive

    @property
    def _idle(self) -> bool:
        return not self._queue and super()._idle

    def start(self) -> asyncio.Task[None]:
        """Start the loop. Return its task, which ends after `close` or with the exception that stopped the loop."""
        self._accepting = True
        self._follower.start(self._wakeup.set)
        self._task = asyncio.create_task(self._run(), name="memory-writer")
        return self._task

    async def submit(self, operation: Operation) -> Any:
        """Queue the operation and wait until it is on disk. Cancellation does not roll back a started operation.

        Raises:
            OverloadedError, StoreClosedError, DiskFullError: see `enqueue`.
            StorageError: the whole batch failed; nothing was written, except as described in StorageError.
            MemoryStoreError: raised by the operation, or given to `pause`; nothing was written.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.enqueue(operation, future)
        return await future

    def enqueue(self, operation: Operation, receiver: Receiver) -> None:
        """Queue the operation. The receiver gets its result once it is on disk.

        Raises:
            OverloadedError: the queue is full; nothing was written.
            StoreClosedError: the store is closing; nothing was written.
            DiskFullError: the disk is full, and the operation may add to it.
            MemoryStoreError: given to `pause`; nothing was written.
        """
        if not self._accepting or self._worker.closed or self._refusal is not None:
            self._refuse()
        if self._reserve.given_up and not only_deletes(operation):
            raise DiskFullError(_FULL)
        weight, identities = operation.weight, operation.identities
        entries = len(identities)
        queue = self._queue
        if queue and self._queued_entries + entries > self._config.max_queue:
            raise OverloadedError(f"{self._queued_entries} writes are waiting")
        if queue and self._queued_bytes + weight > self._config.max_queue_bytes:
            raise OverloadedError(f"{self._queued_bytes} bytes of values are waiting to be written")
        if not queue:
            self._wakeup.set()
        queue.append(_Request(operation, identities, weight, receiver))
        self._queued_bytes += weight
        self._queued_entries += entries

    async def run_deletion(
        self,
        find: Callable[[sqlite3.Connection], Sequence[D]],
        delete: Callable[[sqlite3.Connection, Sequence[D]], Sequence[Change]],
    ) -> Sequence[D]:
        """Find and delete rows while no batch is being committed. Return the deleted rows.

        Args:
            find: returns rows to delete; runs on the writer's thread.
            delete: deletes rows from the start of the list until its time limit; returns one change per deleted row.

        Raises:
            StorageError, StoreClosedError: see `submit`.
        """

        async def task() -> Sequence[D]:
            found = await self._worker.run(find)
            if not found:
                return found
            self._invalidation.before_commit([row.identity for row in found])
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

    def forget_fault(self) -> None:
        """Forget the fault of a database that was replaced. A disk that is full stays so until there is room."""
        self.fault = DiskFullError(_FULL) if self._reserve.given_up else None

    async def close(self) -> None:
        """Reject new requests, commit queued requests and stop. Raise the exception that stopped the loop, if any."""
        self._accepting = False
        self._follower.stop()
        self._wakeup.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            await self._worker.run(lambda _: self._reserve.hold())
            while True:
                if not self._queue and not self._tasks and not self._follower.due:
                    if not self._accepting:
                        return
                    await self._wait()
                if self._queue:
                    await self._commit_batches()
                elif self.fault is not None and self._accepting and not self._tasks:
                    await self._try_disk()
                if self._tasks:
                    await self._do(self._tasks.popleft())
                if self._follower.due:
                    await self._follower.catch_up()
                if self._checkpoints.due:
                    await self._checkpoint()
        finally:
            self._accepting = False
            # Requests remain only after an unexpected exception. Their callers must not wait forever.
            waiting: list[Receiver] = [request.receiver for request in self._queue]
            waiting += [task.future for task in self._tasks]
            _deliver(waiting, [InternalStoreError("the writer has stopped") for _ in waiting])
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
        """Return the next batch from the queue, up to the limits. Cancelled requests are dropped.

        So are those that would take up what a reserve left for deletes: they were queued before the disk was full.
        """
        batch: list[_Request] = []
        queue, most_bytes, most_entries = self._queue, self._config.max_batch_bytes, self._config.max_batch
        weight = entries = 0
        while queue:
            request = queue[0]
            count = len(request.identities)
            if batch and (weight + request.weight > most_bytes or entries + count > most_entries):
                break
            queue.popleft()
            self._queued_bytes -= request.weight
            self._queued_entries -= count
            if request.receiver.done():
                continue
            if self._reserve.given_up and not only_deletes(request.operation):
                request.receiver.set_exception(DiskFullError(_FULL))
                continue
            weight += request.weight
            entries += count
            batch.append(request)
        return batch

    async def _commit_batches(self) -> None:
        """Commit batches until no request waits, or something else is due."""
        self._committing = asyncio.get_running_loop().create_future()
        self._send()
        await self._committing

    def _send(self) -> None:
        """Send the next batch to the writer's thread, if a request waits."""
        batch = self._take()
        if not batch:
            self._stop_committing()
            return
        operations, keep = [request.operation for request in batch], self._config.change_log_entries
        apply = apply_alone if len(operations) < SHORTEST else apply_in_runs
        self._invalidation.before_commit([identity for request in batch for identity in request.identities])
        commit = _Commit(self, [request.receiver for request in batch])
        try:
            self._worker.start(lambda db: commit_batch(db, operations, self._now, keep=keep, apply=apply), commit)
        except StoreClosedError as error:
            commit.set_exception(error)

    def committed(self, receivers: Sequence[Receiver], outcome: Outcome, seconds: float) -> None:
        """Send the next batch, unless something else is due, and give the receivers their results.

        Receivers render responses. They are called while the writer's thread works on what is next, not before.
        """
        self._invalidation.after_commit(outcome.states)
        self._publish(outcome.changes)
        if outcome.failure is not None:
            self._failed(outcome.failure)
        else:
            self._observer.committed(requests=len(receivers), seconds=seconds)
            if outcome.changed:
                self._checkpoints.note(requests=len(outcome.states), value_bytes=outcome.written)
                self._succeeded()
        if self._tasks or self._follower.due or self._checkpoints.due:
            self._stop_committing()
            asyncio.get_running_loop().call_soon(_deliver, receivers, outcome.results)
        else:
            self._send()
            _deliver(receivers, outcome.results)

    def stopped(self, receivers: Sequence[Receiver], error: BaseException) -> None:
        """Give the receivers an error, and stop the loop with the exception of the thread."""
        self._invalidation.after_commit(())
        _deliver(receivers, [InternalStoreError("the writer has stopped") for _ in receivers])
        self._stop_committing(error)

    def _stop_committing(self, error: BaseException | None = None) -> None:
        if self._committing.done():  # the loop was cancelled
            return
        if error is None:
            self._committing.set_result(None)
        else:
            self._committing.set_exception(error)

    async def _do(self, task: MaintenanceTask) -> None:
        if task.future.done():  # the caller was cancelled
            return
        try:
            result = await task.step()
        except Exception as error:  # noqa: BLE001 - the caller gets the error and reports it to the observer
            reason = from_sqlite(error)
            self._note(reason)
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
        except Exception as error:  # noqa: BLE001 - acknowledged writes are in the WAL; the checkpoint is retried
            reason = from_sqlite(error)
            self._observer.failed(code=reason.code, reason=f"checkpoint: {reason}")

    async def _try_disk(self) -> None:
        """Run a trial write: while the store is not ready, no client may send a write that would clear the fault."""
        try:
            if self._reserve.given_up and not await self._worker.run(lambda _: self._reserve.hold()):
                return
            await self._worker.run(trial_write)
        except Exception as error:  # noqa: BLE001 - the fault stays after any error
            self._failed(from_sqlite(error))
        else:
            self._succeeded()

    def _failed(self, failure: MemoryStoreError) -> None:
        self._note(failure)
        self._observer.failed(code=failure.code, reason=str(failure))

    def _note(self, failure: MemoryStoreError) -> None:
        if isinstance(failure, StorageError):
            self.fault = failure
        if isinstance(failure, DiskFullError) and self._reserve.give_up():
            self._checkpoints.hasten()

    def _succeeded(self) -> None:
        # Successful writes do not repair a damaged file: only a restart clears a permanent fault.
        if self.fault is not None and self.fault.transient and not self._reserve.given_up:
            self.fault = None
            self._observer.recovered()


def _deliver(receivers: Sequence[Receiver], results: Sequence[Any]) -> None:
    """Give each receiver its result or its error."""
    for receiver, result in zip(receivers, results, strict=True):
        if receiver.done():
            continue
        if isinstance(result, MemoryStoreError):
            receiver.set_exception(result)
        else:
            receiver.set_result(result)
