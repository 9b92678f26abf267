"""Copies of the database while it is in use: consistent, checked, and there whole or not at all.

A copy is that of one moment. With a write-ahead log a connection of its own holds that moment's snapshot while it
copies, so writers go on; the log grows meanwhile, as it can't start over before the snapshot is given up. With a
rollback journal there is one connection for everything, and writes wait until the pages are copied.

The copy is a single file with a rollback journal: nothing lies beside it, and it can be read where nothing can be
written. To restore one, put it in the database's place while no process has it open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
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
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connect import open_reader
from swarm_operator.memory.sqlite.database.connection import Worker, snapshot
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.write.writer import CheckpointPolicy

T = TypeVar("T")

_PAGES_AT_ONCE: Final = 1024
"""4 MiB: between two such steps it is seen that nobody wants the copy any more."""
_INSTRUCTIONS: Final = 10_000
"""SQLite's own, between two such looks while the copy is checked: well under a millisecond."""
_CHUNK: Final = 1024 * 1024
_BY_TEXT: Final = {
    "database or disk is full": DiskFullError,
    "disk I/O error": StorageIOError,
    "attempt to write a readonly database": ReadOnlyError,
    "unable to open database file": StorageIOError,
    "database disk image is malformed": CorruptDatabaseError,
}
"""SQLite's texts for its result codes."""


class _StoppedError(Exception):
    """Nobody wants the copy any more."""


class Backups:
    """Makes the copies of one store."""

    def __init__(self, path: Path, config: StoreConfig, *, writer: Worker, checkpoints: CheckpointPolicy) -> None:
        self._path = path
        self._config = config
        self._writer = writer
        self._checkpoints = checkpoints
        self._closed = False
        self._running: dict[threading.Event, asyncio.Event] = {}
        """For each copy in the making: what stops it, and what is set when it has ended."""

    async def write(self, target: Path) -> Backup:
        """Make a copy there, see SqliteStore.backup."""
        async with self._making(target) as (file, stop):

            def publish() -> int:
                size = file.path.stat().st_size
                file.publish()
                return size

            return Backup(target, await _on_thread(publish, stop))

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Make a copy for reading, see SqliteStore.snapshot."""
        async with contextlib.AsyncExitStack() as stack:
            async with self._making(self._path.with_name(f"{self._path.name}-snapshot")) as (file, stop):
                opened = stack.enter_context(file.path.open("rb"))
                digest = await _on_thread(lambda: _digest(opened, stop), stop)
                size = opened.tell()
            opened.seek(0)
            yield Snapshot(opened, size, digest)

    async def close(self) -> None:
        """Stop what is being copied, and wait until nothing of it is left."""
        self._closed = True
        for stop, ended in list(self._running.items()):
            stop.set()
            await ended.wait()

    @contextlib.asynccontextmanager
    async def _making(self, target: Path) -> AsyncIterator[tuple[AtomicFile, threading.Event]]:
        """A whole and checked copy under its hidden name, which is gone afterwards."""
        if self._closed:
            raise StoreClosedError("the store is closed")
        stop, ended = threading.Event(), asyncio.Event()
        self._running[stop] = ended
        try:
            await asyncio.to_thread(remove_stale, target.parent)
            file = AtomicFile.create(target)
            try:
                await self._copy(file.path, stop)
                await _on_thread(lambda: _finish(file.path, stop), stop)
                yield file, stop
            finally:
                await asyncio.to_thread(file.discard)
        except _StoppedError:
            raise StoreClosedError("the store is closed") from None
        except FileExistsError:
            raise InvalidInputError("path", f"a name that is not taken; there is a {target} already") from None
        except OSError as error:
            raise from_os(error, f"the backup {target}") from error
        finally:
            del self._running[stop]
            ended.set()

    async def _copy(self, path: Path, stop: threading.Event) -> None:
        source = await open_reader(self._path, self._config) if self._config.enable_wal else self._writer
        self._checkpoints.snapshots += 1
        try:
            await _to_its_end(source.run(lambda db: _copy_pages(db, path, stop)), stop)
        finally:
            self._checkpoints.snapshots -= 1
            if source is not self._writer:
                await source.close()


def _copy_pages(db: sqlite3.Connection, path: Path, stop: threading.Event) -> None:
    def look(*_: int) -> None:
        if stop.is_set():
            raise _StoppedError

    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
            # Nothing of it counts before it is whole, and then it is synced as a whole.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # While the source is in a transaction it stays in its snapshot. Without one, each commit that comes
            # between two steps would make the copy start anew.
            with snapshot(db):
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                look()
                db.backup(copy, pages=_PAGES_AT_ONCE, progress=look)
    except sqlite3.Error as error:
        raise _named(error) from error


def _finish(path: Path, stop: threading.Event) -> None:
    """Make a single file of the copy, and check it."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.set_progress_handler(stop.is_set, _INSTRUCTIONS)
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if stop.is_set():
            raise _StoppedError from None
        raise _named(error) from error
    if stop.is_set():
        raise _StoppedError
    if found != "ok":
        raise CorruptDatabaseError(f"the backup is damaged, and so may the database be: {found}")


def _named(error: sqlite3.Error) -> MemoryStoreError:
    """The store's error, which says that it is the backup that failed."""
    # `Connection.backup` raises errors without their code.
    if not hasattr(error, "sqlite_errorcode") and (kind := _BY_TEXT.get(str(error))) is not None:
        return kind(f"the backup: {error}")
    reason = from_sqlite(error)
    return type(reason)(f"the backup: {reason}")


def _digest(file: BinaryIO, stop: threading.Event) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        if stop.is_set():
            raise _StoppedError
        digest.update(chunk)
    return digest.digest()


async def _on_thread(function: Callable[[], T], stop: threading.Event) -> T:
    return await _to_its_end(asyncio.to_thread(function), stop)


async def _to_its_end(work: Coroutine[None, None, T], stop: threading.Event) -> T:
    """Wait for what runs on a thread. When the caller is cancelled it is stopped, and waited for none the less."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it is looked at: nobody else will
        raise
