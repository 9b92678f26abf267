"""Copy of the database from before a change of its schema, for a downgrade to the earlier release.

While the copy exists, writes are refused, and the copy is deleted from the disk before the first write is accepted. An
earlier release that finds the copy beside a database with a newer schema puts the copy back, and no acknowledged write
is lost.

    keep      copy the closed database before its schema changes
    drop      delete the copy once the release is ready, or if the settings ask for no copy
    put back  rename the copy to mark the step, delete the log of the database, rename the copy over the database

A kill at any step leaves the database and its log unchanged, or a marked copy that the next process puts back.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import Final

from swarm_operator.memory.atomicfile import AtomicFile, sync_directory
from swarm_operator.memory.core.errors import CorruptDatabaseError, NewerSchemaError, UpgradingError, from_os
from swarm_operator.memory.core.observer import FormerOutcome
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.connection import translated
from swarm_operator.memory.sqlite.database.driver import sqlite3

UPGRADING: Final = UpgradingError("this release has changed the database's schema; writes wait until it is ready once")
"""Refusal of writes while the copy exists."""
_LOGS: Final = ("-wal", "-shm", "-journal")
_VERSION: Final = slice(60, 64)
"""Offset of user_version in the header, https://sqlite.org/fileformat2.html#the_database_header."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class FormerDatabase:
    """The copy of one database. All methods block, and require the process lock of the database.

    Args:
        database: the database file; the copy is in the same directory.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._copy = database.with_name(database.name + "-former")
        self._returning = database.with_name(database.name + "-returning")
        """Path of a copy that is marked to be put back."""

    @property
    def exists(self) -> bool:
        """Return whether the copy exists, so that writes must be refused."""
        return self._copy.exists()

    def prepare(self, *, keep: bool) -> list[FormerOutcome]:
        """Put back, keep or drop the copy before the database is opened. Return the action.

        Args:
            keep: whether to copy the database before a change of its schema, if the volume has room for copy and
                change.

        Raises:
            ForeignDatabaseError, NewerSchemaError, CorruptDatabaseError: neither the database nor a copy is usable.
            StorageError: the disk failed.
        """
        try:
            outcomes: list[FormerOutcome] = []
            if self._returning.exists():
                self._put_back()
                outcomes.append("put-back")
            if self.exists or (keep and _version_of(self._database) not in {0, schema.LATEST}):
                self._decide(outcomes, keep=keep)
        except OSError as error:
            raise from_os(error, f"the copy {self._copy.name}") from error
        return outcomes

    def drop(self) -> None:
        """Delete the copy, if it exists. After StorageError the copy may still exist."""
        try:
            self._copy.unlink(missing_ok=True)
            sync_directory(self._copy.parent)
        except OSError as error:
            raise from_os(error, f"the copy {self._copy.name}") from error

    def _decide(self, outcomes: list[FormerOutcome], *, keep: bool) -> None:
        try:
            version = self._settle()
        except (NewerSchemaError, CorruptDatabaseError):
            if not 0 < _version_of(self._copy) <= schema.LATEST:
                raise
            self._copy.rename(self._returning)
            sync_directory(self._returning.parent)
            self._put_back()
            outcomes.append("put-back")
            version = self._settle()
        # The copy was made before the first change. If the schema is unchanged, an old release without copies may have
        # accepted writes.
        if self.exists and not (keep and _version_of(self._copy) < version):
            self.drop()
            outcomes.append("dropped")
        if keep and not self.exists and 0 < version < schema.LATEST:
            outcomes.append("kept" if self._keep() else "no-room")

    def _settle(self) -> int:
        """Return the version of the database's schema. Closing the only connection checkpoints the log."""
        with translated(), contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as db:
            return schema.inspect(db, str(self._database))

    def _keep(self) -> bool:
        """Copy the database. Return False if the disk is too full, or if another program has the database open."""
        size = self._database.stat().st_size
        if shutil.disk_usage(self._copy.parent).free < 2 * size or any(log.exists() for log in self._logs()):
            return False
        file = AtomicFile.create(self._copy)
        try:
            shutil.copyfile(self._database, file.path)
            file.publish()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return False
        finally:
            file.discard()
        return True

    def _put_back(self) -> None:
        """Replace the database by the copy. Delete the database's log, which SQLite would apply to the copy."""
        for log in self._logs():
            log.unlink(missing_ok=True)
        sync_directory(self._database.parent)
        self._returning.rename(self._database)
        sync_directory(self._database.parent)

    def _logs(self) -> list[Path]:
        return [self._database.with_name(self._database.name + suffix) for suffix in _LOGS]


def _version_of(path: Path) -> int:
    """Return the schema version in a file's header; 0 if the file does not exist. The log may have a later version."""
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(_VERSION.stop)[_VERSION])
    except FileNotFoundError:
        return 0
