"""When the write-ahead log moves into the database. Only the writer's thread calls this.

SQLite before 3.51.3 can lose committed pages when two connections write or checkpoint at the same time. With one
connection that does either, it can't: readers are query-only and never checkpoint, and automatic checkpoints are off.

PASSIVE waits for nobody and moves what no reader still needs. The log starts over at its beginning with the first
write after everything was moved, so under readers that keep an old snapshot it may only grow; above the limit TRUNCATE
waits for them (their reads are short by design) and cuts the file, but not while a backup is copied.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def wal_path(database: Path) -> Path:
    """Where SQLite keeps the log of that database."""
    return database.with_name(database.name + "-wal")


def wal_size(database: Path) -> int:
    """Bytes of the log file; 0 when there is none. Only stat: opening and closing it would drop SQLite's locks."""
    with contextlib.suppress(FileNotFoundError):
        return wal_path(database).stat().st_size
    return 0


def truncate(db: sqlite3.Connection) -> bool:
    """Move everything and cut the log to nothing. False when a reader was in the way."""
    busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 0
