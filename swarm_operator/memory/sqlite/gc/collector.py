"""Garbage collector: periodically deletes expired entries and returns empty pages to the file system.

Readers never see expired entries, so garbage collection only frees space. A run consists of short steps on the writer's
thread (see gc.sweep). The writer handles queued requests between steps. A failed run is reported to the observer and
retried after the next interval; a failure never stops the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from sqlite3 import Connection

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.errors import (
    DeletingError,
    MemoryStoreError,
    RestoringError,
    StoreClosedError,
    UpgradingError,
)
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.core.stats import GcRun, GcStats
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.gc import sweep
from swarm_operator.memory.sqlite.gc.sweep import Expired
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes
from swarm_operator.memory.sqlite.write.writer import CheckpointPolicy, Writer


class GarbageCollector:
    """Runs garbage collections, one at a time.

    Args:
        writer: runs the steps between batches.
        config: settings, e.g. gc_interval and enable_vacuum.
        now: returns the time in milliseconds since the Unix epoch.
        sleep: waits between runs; replaced in tests.
        observer: receives runs and failures.
        accesses: access times, written in each run.
        checkpoints: counts the pages written by vacuum.
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
        """Start periodic runs, every gc_interval seconds."""
        self._loop = asyncio.create_task(self._run_for_ever(), name="memory-collector")

    def configure(self, config: StoreConfig) -> None:
        """Use other settings from now on. A new interval begins now; a current run is not affected."""
        waits_anew = config.gc_interval != self._config.gc_interval
        self._config = config
        if waits_anew and self._loop is not None:
            self._loop.cancel()
            self.start()

    async def collect(self) -> GcRun:
        """Delete all entries that have expired by now. The run continues if the caller is cancelled.

        Calls during a run share the next run, because the current run may miss recently expired entries.

        Raises:
            StorageError: the disk or the file failed; earlier deletions remain.
            StoreClosedError: the store is closing.
        """
        if self._closed:
            raise StoreClosedError("the store is closing")
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running), name="memory-collection")
            self._next.add_done_callback(_retrieve_exception)
        task = self._next
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # close() cancelled the task, not the caller
                raise StoreClosedError("the store is closing") from None
            raise

    async def close(self) -> None:
        """Stop after the current step."""
        self._closed = True
        for task in (self._loop, self._next, self._running):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, MemoryStoreError):
                    await task

    async def _run_for_ever(self) -> None:
        while True:
            await self._sleep(self._config.gc_interval)
            with contextlib.suppress(MemoryStoreError):  # reported to the observer; the next run retries
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
            if not isinstance(reason, StoreClosedError | RestoringError | DeletingError | UpgradingError):
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
        """Return functions that find and delete rows expired at `moment`."""
        config = self._config

        def delete(db: Connection, rows: Sequence[Expired]) -> list[Change]:
            return sweep.delete(db, rows, now=self._now(), keep=config.change_log_entries)

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


def _retrieve_exception(task: asyncio.Task[GcRun]) -> None:
    """Mark the task's exception as retrieved: asyncio would log it if all callers were cancelled."""
    if not task.cancelled():
        task.exception()
