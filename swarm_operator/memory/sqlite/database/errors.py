"""Translates SQLite errors into store errors."""

from __future__ import annotations

from swarm_operator.memory.core.errors import (
    BusyError,
    CorruptDatabaseError,
    DiskFullError,
    InternalStoreError,
    MemoryStoreError,
    ReadOnlyError,
    StorageIOError,
)
from swarm_operator.memory.sqlite.database.driver import sqlite3

_BY_PRIMARY_CODE: dict[int, type[MemoryStoreError]] = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_READONLY: ReadOnlyError,
    sqlite3.SQLITE_PERM: ReadOnlyError,
    sqlite3.SQLITE_IOERR: StorageIOError,
    sqlite3.SQLITE_CANTOPEN: StorageIOError,
    sqlite3.SQLITE_NOMEM: StorageIOError,
    sqlite3.SQLITE_BUSY: BusyError,
    sqlite3.SQLITE_LOCKED: BusyError,
    sqlite3.SQLITE_PROTOCOL: BusyError,
    sqlite3.SQLITE_CORRUPT: CorruptDatabaseError,
    sqlite3.SQLITE_NOTADB: CorruptDatabaseError,
}

_NOT_TEXT = "Could not decode to UTF-8 column "
"""Begins the OperationalError of CPython's `sqlite3` for such a text. The error has no result code."""


def from_sqlite(error: Exception) -> MemoryStoreError:
    """Return the store error for an exception of a connection. Return store errors unchanged."""
    if isinstance(error, MemoryStoreError):
        return error
    if str(error).startswith(_NOT_TEXT):
        # Every text was UTF-8 when it was written. The bytes themselves stay out of logs: they may be anybody's.
        column = str(error).removeprefix(_NOT_TEXT).partition(" with text ")[0]
        return CorruptDatabaseError(f"column {column} holds bytes that are not UTF-8")
    # The low byte of an extended result code (SQLITE_IOERR_WRITE, ...) is the primary code.
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = _BY_PRIMARY_CODE.get(primary, InternalStoreError)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return kind(f"{error} ({name})")
