"""Checkpoints: copy the write-ahead log (WAL) into the database file. Call only from the writer's thread.

SQLite before 3.51.3 can lose committed pages when two connections write or checkpoint at the same time. Therefore only
one connection does either. Readers are query-only and never checkpoint, and automatic checkpoints are off.

A PASSIVE checkpoint waits for no reader. The WAL restarts only after all its pages were copied, so old read snapshots
make the file grow. Above the size limit, a TRUNCATE checkpoint waits for readers, whose reads are short, and empties
the file. No TRUNCATE checkpoint runs during a backup.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def wal_path(database: Path) -> Path:
    """Return the path of the database's WAL file."""
    return database.with_name(database.name + "-wal")


def wal_size(database: Path) -> int:
    """Return the WAL size in bytes, 0 if absent. Uses stat(): open and close would release SQLite's POSIX locks."""
    with contextlib.suppress(FileNotFoundError):
        return wal_path(database).stat().st_size
    return 0


def truncate(db: sqlite3.Connection) -> bool:
    """Copy all pages into the database and truncate the WAL. Return False if a reader prevented this."""
    busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 0
