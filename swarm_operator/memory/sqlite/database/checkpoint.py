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

from swarm_operator.memory.sqlite.config import StoreConfig

_PAGE_BYTES = 4096


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


class CheckpointPolicy:
    """Counts what is written and says when a checkpoint is due."""

    def __init__(self, database: Path, config: StoreConfig) -> None:
        self._database = database
        self._config = config
        self._written = 0
        self.busy = 0
        """Checkpoints that a reader kept from finishing."""
        self.snapshots = 0
        """Backups that hold a snapshot now: for as long as they copy, so the writer must not wait for them."""

    def note(self, *, requests: int, value_bytes: int) -> None:
        """Take note of a commit. Bytes in the log are estimated: its values, and a page for each row it touched."""
        self._written += value_bytes + (requests + 2) * _PAGE_BYTES

    def hasten(self) -> None:
        """Make a checkpoint due: only it cuts off the pages that the database has given up."""
        self._written = max(self._written, self._config.checkpoint_bytes)

    @property
    def due(self) -> bool:
        """Whether the writer should call `run` before its next batch."""
        return self._config.enable_wal and self._written >= self._config.checkpoint_bytes

    def run(self, db: sqlite3.Connection) -> None:
        """Checkpoint, on the writer's thread. May raise sqlite3.Error: what was committed stays safe in the log."""
        self._written = 0
        if wal_size(self._database) > self._config.wal_limit_bytes and not self.snapshots:
            finished = truncate(db)
        else:
            busy, in_log, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finished = busy == 0 and in_log == moved
        self.busy += not finished
