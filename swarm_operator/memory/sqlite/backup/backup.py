"""Online backups: consistent, verified and published atomically.

With a WAL, a separate connection holds a snapshot while it copies, so writes continue. The WAL grows during the copy,
because it cannot restart before the snapshot ends. With a rollback journal, reads and writes share one connection, so
writes wait until the pages are copied.

The backup is a single file with a rollback journal. It has no companion files and is readable on read-only media. To
restore a backup, replace the database file with it while no process has the database open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DiskFullError,
    InvalidInputError,
    MemoryStoreError,
    ReadOnlyError,
    StorageIOError,
    StoreClosedError,
    from_os,
)
from swarm_operator.memory.core.threads import run_stoppable, run_to_completion
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connect import open_reader
from swarm_operator.memory.sqlite.database.connection import Worker, snapshot
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.write.writer import CheckpointPolicy

T = TypeVar("T")

_PAGES_AT_ONCE: Final = 1024
"""Pages per copy step (4 MiB). Cancellation is checked between steps."""
INSTRUCTIONS: Final = 10_000
"""SQLite VM instructions between cancellation checks: well under 1 ms."""
CHUNK: Final = 1024 * 1024
"""Bytes per read of a file."""
_BY_TEXT: Final = {
    "database or disk is full": DiskFullError,
    "disk I/O error": StorageIOError,
    "attempt to write a readonly database": ReadOnlyError,
    "unable to open database file": StorageIOError,
    "database disk image is malformed": CorruptDatabaseError,
}
"""Errors by SQLite's message texts, for exceptions without a result code."""


class StoppedError(Exception):
    """Raised in the working thread when the backup or the replacement has been cancelled."""


class Backups:
    """Creates the backups of one store."""

    def __init__(self, path: Path, config: StoreConfig, *, writer: Worker, checkpoints: CheckpointPolicy) -> None:
        self._path = path
        self._config = config
        self._writer = writer
        self._checkpoints = checkpoints
        self._closed = False
        self._allowed = asyncio.Event()
        """Set unless the database is being replaced."""
        self._allowed.set()
        self._running: dict[threading.Event, asyncio.Event] = {}
        """For each running backup: the event that cancels it, and the event that is set when it has ended."""

    async def write(self, target: Path) -> Backup:
        """Write a backup to `target`, see SqliteStore.backup."""
        async with self._make_copy(target) as (file, stop):

            def publish() -> int:
                size = file.path.stat().st_size
                file.publish()
                return size

            return Backup(target, await run_stoppable(publish, stop))

    @contextlib.asynccontextmanager
    async def snapshot(self, directory: Path | None = None) -> AsyncIterator[Snapshot]:
        """Create an unnamed backup for reading, see SqliteStore.snapshot."""
        async with contextlib.AsyncExitStack() as stack:
            target = (directory or self._path.parent) / f"{self._path.name}-snapshot"
            async with self._make_copy(target) as (file, stop):
                opened = stack.enter_context(file.path.open("rb"))
                found = await run_stoppable(lambda: digest(opened, stop), stop)
                size = opened.tell()
            opened.seek(0)
            yield Snapshot(opened, size, found)

    async def close(self) -> None:
        """Cancel running backups and wait until their files are removed."""
        self._closed = True
        for stop, ended in list(self._running.items()):
            stop.set()
            await ended.wait()

    @contextlib.asynccontextmanager
    async def _make_copy(self, target: Path) -> AsyncIterator[tuple[AtomicFile, threading.Event]]:
        """Yield a complete, verified copy under its hidden name. Remove that name on exit."""
        await self._allowed.wait()
        if self._closed:
            raise StoreClosedError("the store is closed")
        stop, ended = threading.Event(), asyncio.Event()
        self._running[stop] = ended
        try:
            await asyncio.to_thread(remove_stale, target.parent)
            file = AtomicFile.create(target)
            try:
                await self.read(lambda db: _copy_pages(db, file.path, stop), stop)
                await run_stoppable(lambda: _finish(file.path, stop), stop)
                yield file, stop
            finally:
                await asyncio.to_thread(file.discard)
        except StoppedError:
            raise StoreClosedError("the store is closed") from None
        except FileExistsError:
            raise InvalidInputError("path", f"a name that is not taken; there is a {target} already") from None
        except OSError as error:
            raise from_os(error, f"the backup {target}") from error
        finally:
            del self._running[stop]
            ended.set()

    async def read(self, function: Callable[[sqlite3.Connection], T], stop: threading.Event) -> T:
        """Run a long read concurrently with the writer. With a rollback journal, writes wait for the end of the read.

        Args:
            function: the read.
            stop: set when the caller is cancelled.
        """
        source = await open_reader(self._path, self._config) if self._config.enable_wal else self._writer
        self._checkpoints.snapshots += 1
        try:
            return await run_to_completion(source.run(function), stop)
        finally:
            self._checkpoints.snapshots -= 1
            if source is not self._writer:
                await source.close()

    @contextlib.asynccontextmanager
    async def excluded(self) -> AsyncIterator[None]:
        """Wait for running backups, and block new ones until the context ends."""
        self._allowed.clear()
        try:
            for ended in list(self._running.values()):
                await ended.wait()
            yield
        finally:
            self._allowed.set()


def _copy_pages(db: sqlite3.Connection, path: Path, stop: threading.Event) -> None:
    def look(*_: int) -> None:
        if stop.is_set():
            raise StoppedError

    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
            # An incomplete copy is never used, and the complete file is synced once.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # The transaction keeps the source in one snapshot. Otherwise each commit between two steps would restart
            # the copy, https://sqlite.org/c3ref/backup_finish.html.
            with snapshot(db):
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                look()
                db.backup(copy, pages=_PAGES_AT_ONCE, progress=look)
    except sqlite3.Error as error:
        raise _backup_error(error) from error


def _finish(path: Path, stop: threading.Event) -> None:
    """Convert the copy to a single file and verify it."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.set_progress_handler(stop.is_set, INSTRUCTIONS)
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if stop.is_set():
            raise StoppedError from None
        raise _backup_error(error) from error
    if stop.is_set():
        raise StoppedError
    if found != "ok":
        raise CorruptDatabaseError(f"the backup is damaged, and so may the database be: {found}")


def _backup_error(error: sqlite3.Error) -> MemoryStoreError:
    """Return the store error for a failed backup."""
    # `Connection.backup` raises errors without a result code.
    if not hasattr(error, "sqlite_errorcode") and (kind := _BY_TEXT.get(str(error))) is not None:
        return kind(f"the backup: {error}")
    reason = from_sqlite(error)
    return type(reason)(f"the backup: {reason}")


def digest(file: BinaryIO, stop: threading.Event) -> bytes:
    """Return the SHA-256 digest of a file. Raise StoppedError."""
    found = hashlib.sha256()
    while chunk := file.read(CHUNK):
        if stop.is_set():
            raise StoppedError
        found.update(chunk)
    return found.digest()
