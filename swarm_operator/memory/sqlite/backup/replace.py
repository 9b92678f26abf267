"""Replaces the database file of a store in use: readers wait for some milliseconds and see no error.

    prepare    on a copy beside the database, while others read and write: migrate, raise versions, check the pages
    pause      writes are refused, and those that were accepted are committed
    exchange   close all connections, give the database a second name, rename the copy over it, open all connections

Crashes: a kill at any step leaves the complete old file or the complete new file, and never a new file beside a log of
the old one. The log is empty before the last connection closes and deletes it. The deletion is synced before the
rename, and the rename is atomic. If a step fails, the old file is put back by its second name. On success the caller
owns that name: the old file is complete without a log, so the caller can back it up while the store uses the new file.

Versions: the versions of the copy are raised above all versions of the store, and the position of its change log above
the store's position. One change of the log is kept. So no known version matches an entry of the copy, and no known
position can be resumed. Both are raised by a margin before writes are refused, because raising them rewrites every row.
Each change raises the highest version by one at most, so the number of changes since then shows whether the margin was
sufficient. If the versions of a damaged database can't be read, a number is assumed that no store can have reached
since 1970.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarm_operator.memory.atomicfile import sync_directory
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    RestoringError,
    StorageIOError,
    StoreClosedError,
    from_os,
)
from swarm_operator.memory.core.threads import run_stoppable, run_to_completion
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.backup.backup import INSTRUCTIONS, Backups, StoppedError
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint, schema
from swarm_operator.memory.sqlite.database.connect import open_reader, open_writer, set_journal
from swarm_operator.memory.sqlite.database.connection import Worker, write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.read.pool import Readers
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.vectors import table as vectors
from swarm_operator.memory.sqlite.write.writer import Writer

MARGIN: Final = 1_000_000
"""Maximum number of changes during the preparation of a copy. After more changes, the versions of the copy are raised
again while writes are refused."""
_A_MILLISECOND: Final = 1000
"""Upper bound of the changes per millisecond. Multiplied by the time since 1970, it bounds the versions of a damaged
store."""
_SIDECARS: Final = ("-wal", "-shm", "-journal")
_HIGHEST = """
    SELECT max((SELECT coalesce(max(version), 0) FROM entries), (SELECT highest FROM deleted_versions WHERE id = 1))
"""
_LOWEST = "SELECT coalesce(min(version), 1) FROM entries"
_RAISE = "UPDATE entries SET version = version + ?"
_RAISE_DELETED = "UPDATE deleted_versions SET highest = ? WHERE id = 1"
# The table's last change holds the position. The newest entry's change is used, so that a watch gets a true one.
_LAST_CHANGE = """
    INSERT INTO changes (seq, namespace, key, op, version, at, updated_by)
    SELECT ?, namespace, key, ?, version, updated_at, updated_by FROM entries ORDER BY updated_at DESC LIMIT 1
"""
_NO_CHANGE = "INSERT INTO changes (seq, namespace, key, op, version, at) VALUES (?, 'swarm:memory', 'empty', ?, 1, ?)"


@dataclass(frozen=True, slots=True)
class Given:
    """Highest version and position of a database.

    Attributes:
        version: highest version of an entry, including deleted entries.
        position: position of the last change.
    """

    version: int
    position: int


class Replacer:
    """Replaces the database of one store.

    Args:
        path: the database file.
        config: the settings.
        writer: the writer, which refuses writes during the exchange.
        worker: the writer's connection.
        readers: the reading connections.
        backups: the backups, which wait during the exchange.
        forget: drops cached data of the old file; receives the position of the new file's last change.
    """

    def __init__(
        self,
        path: Path,
        config: StoreConfig,
        *,
        writer: Writer,
        worker: Worker,
        readers: Readers,
        backups: Backups,
        forget: Callable[[int], None],
    ) -> None:
        self._path = path
        self._config = config
        self._writer = writer
        self._worker = worker
        self._readers = readers
        self._backups = backups
        self._forget = forget
        self._lock = asyncio.Lock()
        self._stop = threading.Event()

    async def replace(self, file: Path, former: Path, before: Callable[[int], Awaitable[None]], now: int) -> None:
        """Replace the database by a file, see SqliteStore.replace."""
        async with self._lock:
            if self._stop.is_set():
                raise StoreClosedError("the store is closed")
            try:
                await self._replace(file, former, before, now)
            except StoppedError:
                raise StoreClosedError("the store is closed") from None
            except sqlite3.Error as error:
                raise from_sqlite(error) from error
            except OSError as error:
                raise from_os(error, f"the database {self._path.name}") from error

    async def close(self) -> None:
        """Stop a running replacement, or wait for its end if the files are being exchanged."""
        self._stop.set()
        async with self._lock:
            pass

    async def _replace(self, file: Path, former: Path, before: Callable[[int], Awaitable[None]], now: int) -> None:
        stop = threading.Event()
        known = await self._given(now, stop)
        position = await run_stoppable(lambda: self._prepare(file, known, now, stop), stop)
        # A backup may take minutes: wait for it while writes continue.
        async with self._backups.excluded():
            refusal = RestoringError("a restore is being completed; writes wait for its end")
            try:
                await self._writer.pause(refusal)
                if await self._newest(now) - known.position > MARGIN:
                    known = await self._given(now, stop)
                    position = await run_stoppable(lambda: self._prepare(file, known, now, stop), stop)
                await before(position)
                await run_to_completion(self._exchange(file, former, position), stop)
            finally:
                self._writer.resume(refusal)

    async def _given(self, now: int, stop: threading.Event) -> Given:
        """Return the highest version and position of the database, or upper bounds if it is damaged."""
        try:
            return await self._backups.read(given, stop)
        except (sqlite3.Error, CorruptDatabaseError) as error:
            _check_damage(error)
            return Given(now * _A_MILLISECOND, now * _A_MILLISECOND)

    async def _newest(self, now: int) -> int:
        """Return the position of the last change, or an upper bound if the database is damaged."""
        try:
            return await self._worker.run(lambda db: changes.bounds(db)[1])
        except sqlite3.Error as error:
            _check_damage(error)
            return now * _A_MILLISECOND

    def _prepare(self, file: Path, known: Given, now: int, stop: threading.Event) -> int:
        """Prepare the copy for opening. Return the position of its last change."""

        def stopped() -> bool:
            return stop.is_set() or self._stop.is_set()

        try:
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
                position = prepare(db, file, self._config, known, now, stopped)
        except sqlite3.Error:
            if stopped():
                raise StoppedError from None
            raise
        if stopped():
            raise StoppedError
        _check_alone(file)
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return position

    async def _exchange(self, file: Path, former: Path, position: int) -> None:
        """Close the connections, exchange the files and open the connections. After an error the old file is open."""
        workers = (*self._readers.own_workers, self._worker)
        try:
            if self._config.enable_wal:
                await self._worker.run(checkpoint.truncate)
            for worker in workers:
                await worker.suspend()
            await asyncio.to_thread(set_aside, self._path, former)
            try:
                await asyncio.to_thread(put_in_place, file, self._path)
                opened = await self._open()
            except BaseException:
                await asyncio.to_thread(put_back, former, self._path)
                raise
        except BaseException:
            await self._reopen(workers)
            raise
        self._forget(position)
        for worker, fresh in zip(workers, opened, strict=True):
            worker.resume(fresh)

    async def _reopen(self, workers: tuple[Worker, ...]) -> None:
        """Continue with the existing file. If it can't be opened, the store is no longer alive."""
        opened: list[Worker] | None = None
        try:
            opened = await self._open()
        finally:
            for number, worker in enumerate(workers):
                worker.resume(None if opened is None else opened[number])

    async def _open(self) -> list[Worker]:
        """Return new connections: the readers' own, and the writer's."""
        async with contextlib.AsyncExitStack() as stack:
            writer = await open_writer(self._path, self._config)
            stack.push_async_callback(writer.close)
            opened: list[Worker] = []
            for _ in self._readers.own_workers:
                opened.append(await open_reader(self._path, self._config))
                stack.push_async_callback(opened[-1].close)
            stack.pop_all()
        return [*opened, writer]


def given(db: sqlite3.Connection) -> Given:
    """Return the highest version and the position of the last change. Reads every row, but no long value."""
    return Given(db.execute(_HIGHEST).fetchone()[0], changes.bounds(db)[1])


def prepare(
    db: sqlite3.Connection, file: Path, config: StoreConfig, known: Given, now: int, stopped: Callable[[], bool]
) -> int:
    """Migrate a copy, raise its versions above those of another database, and check it. Return its new position.

    Args:
        db: the only connection of the copy.
        file: path of the copy, for errors.
        config: settings of the store.
        known: highest version and position of the other database.
        now: the time in milliseconds since the Unix epoch.
        stopped: ends the work with an sqlite3.Error when it returns True.

    Raises:
        ForeignDatabaseError, NewerSchemaError, CorruptDatabaseError: the copy can't be used.
        sqlite3.Error: the disk failed, or the work was stopped.
    """
    version = schema.inspect(db, str(file))
    if version == 0:
        raise CorruptDatabaseError(f"{file.name}: an empty database; a backup has at least its tables")
    db.set_progress_handler(stopped, INSTRUCTIONS)
    # An incomplete copy is deleted, so it needs no journal and is synced once.
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    schema.migrate(db, version)
    words.prepare(db, full_text=config.full_text, language=config.search_language)
    words.catch_up(db)  # the changes, which are deleted next, determine which rows the index lacks
    own = given(db)
    # All that was given out. The copy's lowest version comes next: a sum of both would double with each restore.
    base = max(own.version, known.version) + MARGIN
    lowest = db.execute(_LOWEST).fetchone()[0]
    # The oldest position to resume from is one below the last change.
    position = max(own.position, known.position) + MARGIN + 2
    with write_transaction(db):
        db.execute(_RAISE, (base + 1 - lowest,))
        db.execute(_RAISE_DELETED, (base,))
        vectors.move(db, position)
        db.execute("DELETE FROM changes")
        if not db.execute(_LAST_CHANGE, (position, Op.PUT)).rowcount:
            db.execute(_NO_CHANGE, (position, Op.DELETE, now))
        words.move(db, position)
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise CorruptDatabaseError(f"the copy of the backup is damaged: {found}")
    set_journal(db, file, config)
    return position


def set_aside(path: Path, former: Path) -> None:
    """Create a second name (hard link) for the closed database.

    Raises:
        StorageIOError: a log exists beside the file, so another program has the file open.
        OSError: the disk failed, has no hard links, or a file of that name exists.
    """
    _check_alone(path)
    os.link(path, former)
    sync_directory(former.parent)
    # Sync the new name and the deletion of the log: after a power cut no old log may be beside the new file.
    sync_directory(path.parent)


def put_in_place(file: Path, path: Path) -> None:
    """Rename a prepared file over the database. Raise StorageIOError or OSError; `put_back` undoes what was done."""
    _check_alone(file)
    file.rename(path)
    sync_directory(path.parent)


def put_back(former: Path, path: Path) -> None:
    """Undo `put_in_place`, wholly or in part. The new file has no acknowledged commit, so delete its log."""
    for suffix in _SIDECARS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_directory(path.parent)
    former.rename(path)
    sync_directory(path.parent)


def _check_damage(error: Exception) -> None:
    """Raise the error unless it reports a damaged database."""
    if not isinstance(from_sqlite(error), CorruptDatabaseError):
        raise error


def _check_alone(path: Path) -> None:
    for suffix in _SIDECARS:
        left = path.with_name(path.name + suffix)
        if left.exists():
            raise StorageIOError(f"{left.name}: still there after closing; no other program may use the database")
