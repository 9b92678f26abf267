"""A database file that no process has open, as the source of a backup. See backup for a store in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from swarm_operator.memory.atomicfile import AtomicFile, sync_directory
from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.errors import StoreClosedError, from_os
from swarm_operator.memory.core.threads import run_stoppable
from swarm_operator.memory.sqlite.backup.backup import CHUNK, StoppedError, digest
from swarm_operator.memory.sqlite.database.connection import translated
from swarm_operator.memory.sqlite.database.driver import sqlite3


class ClosedDatabase:
    """A closed database file, which may become the backup itself. Its log must be empty or missing.

    Attributes:
        swarm_id: ID of the data's swarm.
    """

    def __init__(self, path: Path, swarm_id: str) -> None:
        self._path = path
        self.swarm_id = swarm_id

    async def backup(self, path: Path) -> Backup:
        """Create a hard link to the file, or copy the file to another file system.

        Raises:
            CorruptDatabaseError: the file is damaged.
            StorageError, StoreClosedError: the target was not created.
        """
        stop = threading.Event()
        try:
            size = await run_stoppable(lambda: self._write(path, stop), stop)
        except StoppedError:
            raise StoreClosedError("the backup was cancelled") from None
        except OSError as error:
            raise from_os(error, f"the backup {path}") from error
        return Backup(path, size)

    @contextlib.asynccontextmanager
    async def snapshot(self, directory: Path | None = None) -> AsyncIterator[Snapshot]:
        """Open the file itself, without a copy."""
        del directory
        stop = threading.Event()
        try:
            await asyncio.to_thread(_settle, self._path)
            with self._path.open("rb") as opened:
                found = await run_stoppable(lambda: digest(opened, stop), stop)
                size = opened.tell()
                opened.seek(0)
                yield Snapshot(opened, size, found)
        except StoppedError:
            raise StoreClosedError("the backup was cancelled") from None
        except OSError as error:
            raise from_os(error, f"the file {self._path}") from error

    async def stop_writes(self, backup: str) -> None:
        """Do nothing: there are no writes."""

    async def resume_writes(self, backup: str) -> None:
        """Do nothing: there are no writes."""

    def _write(self, target: Path, stop: threading.Event) -> int:
        _settle(self._path)
        try:
            os.link(self._path, target)
        except OSError:
            _copy(self._path, target, stop)
        else:
            target.chmod(0o600)  # as private as a copy
            sync_directory(target.parent)
        return target.stat().st_size


def _settle(path: Path) -> None:
    """Convert the file to a rollback journal, as in backups, so that it is readable on read-only media."""
    with translated(), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")


def _copy(path: Path, target: Path, stop: threading.Event) -> None:
    file = AtomicFile.create(target)
    try:
        with path.open("rb") as source, file.path.open("wb") as copy:
            while chunk := source.read(CHUNK):
                if stop.is_set():
                    raise StoppedError
                copy.write(chunk)
        file.publish()
    finally:
        file.discard()
