"""Garbage collection: deletes expired entries every so often, and gives the pages back that they leave.

Expired entries are never seen, whether collected or not: this is about room only. A run is many short steps through
the writer (see sweep), and between two of them the writer serves those who wait. A run that fails is told to the
observer and tried again an interval later; it never ends the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from sqlite3 import Connection

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.errors import MemoryStoreError, StoreClosedError
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.core.stats import GcRun, GcStats
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.gc import sweep
from swarm_operator.memory.sqlite.gc.sweep import Expired
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes
from swarm_operator.memory.sqlite.write.writer import CheckpointPolicy, Writer


class GarbageCollector:
    """Runs collections, one at a time.

    Args:
        writer: whose thread and turns the steps take.
        config: gc_interval and enable_vacuum.
        now: milliseconds since the Unix epoch.
        sleep: waits between runs; tests pass their own.
        observer: told about runs and failures.
        accesses: written with each run.
        checkpoints: counts pages that vacuum writes.
    """

    def __init__(
        self,
        writer: Writer,
        config: StoreConfig,
        *,
        now: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
        observer: Observer,
        accesses: AccessTimes,
        checkpoints: CheckpointPolicy,
    ) -> None:
        self.stats = GcStats()
        self._accesses = accesses
        self._checkpoints = checkpoints
        self._writer = writer
        self._config = config
        self._now = now
        self._sleep = sleep
        self._observer = observer
        self._running: asyncio.Task[GcRun] | None = None
        self._next: asyncio.Task[GcRun] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Collect every gc_interval from now on."""
        self._loop = asyncio.create_task(self._run_for_ever(), name="memory-collector")

    async def collect(self) -> GcRun:
        """Collect everything that has expired by now. It goes on when the caller is cancelled.

        Callers that come while a run is under way share the next one: that run may have passed what they mean.

        Raises:
            StorageError: the disk or the file failed; what was collected before stays collected.
            StoreClosedError: the store is closing.
        """
        if self._closed:
            raise StoreClosedError("the store is closing")
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="memory-collection")
            self._next.add_done_callback(_look)
        task = self._next
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # by close, and not the caller
                raise StoreClosedError("the store is closing") from None
            raise

    async def close(self) -> None:
        """Stop after the step that is under way."""
        self._closed = True
        for task in (self._loop, self._next, self._running):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, MemoryStoreError):
                    await task

    async def _run_for_ever(self) -> None:
        while True:
            await self._sleep(self._config.gc_interval)
            with contextlib.suppress(MemoryStoreError):  # told to the observer; the next run tries again
                await self.collect()

    async def _after(self, former: asyncio.Task[GcRun] | None) -> GcRun:
        if former is not None:
            await asyncio.wait([former])
        self._running, self._next = self._next, None
        try:
            collection = await self._run()
        except Exception as error:
            reason = from_sqlite(error)
            self.stats.failures += 1
            self.stats.last_error = f"{reason.code}: {reason}"
            if not isinstance(reason, StoreClosedError):
                self._observer.failed(code=reason.code, reason=f"garbage collection: {reason}")
            if reason is error:
                raise
            raise reason from error
        finally:
            self._running = None
        self.stats.runs += 1
        self.stats.last, self.stats.last_error = collection, None
        self._observer.collected(seconds=collection.seconds)
        return collection

    async def _run(self) -> GcRun:
        started, moment = time.perf_counter(), self._now()
        entries = value_bytes = given_back = 0
        while rows := await self._writer.run_deletion(*self._deletion(moment)):
            entries += len(rows)
            value_bytes += sum(row.size for row in rows)
            self.stats.entries += len(rows)
            self._observer.expired(entries=len(rows))
        oldest = moment - int(self._config.change_log_seconds * 1000)
        while await self._writer.run_exclusive(lambda db: sweep.trim(db, oldest)):
            pass
        if self._config.enable_vacuum:
            self.stats.auto_vacuum = await self._writer.run_exclusive(sweep.auto_vacuum)
            if self.stats.auto_vacuum == "incremental":
                given_back = await self._vacuum()
        await self._accesses.flush(self._writer.run_exclusive)
        return GcRun(moment, entries, value_bytes, given_back, time.perf_counter() - started)

    def _deletion(
        self, moment: int
    ) -> tuple[Callable[[Connection], list[Expired]], Callable[[Connection, Sequence[Expired]], list[Change]]]:
        """Return the functions that find and delete rows that have expired by a moment."""
        config = self._config

        def delete(db: Connection, rows: Sequence[Expired]) -> list[Change]:
            return sweep.delete(db, rows, full_text=config.full_text, now=self._now(), keep=config.change_log_entries)

        return (lambda db: sweep.find(db, moment)), delete

    async def _vacuum(self) -> int:
        total = 0
        while True:
            given_back, left = await self._writer.run_exclusive(sweep.vacuum)
            self._checkpoints.note(requests=0, value_bytes=given_back)
            if given_back and not left:
                self._checkpoints.hasten()
            total += given_back
            self.stats.given_back_bytes += given_back
            if not left or not given_back:
                return total


def _look(task: asyncio.Task[GcRun]) -> None:
    """Take note of the task's error: when every caller has gone, nobody else does, and asyncio would complain."""
    if not task.cancelled():
        task.exception()
