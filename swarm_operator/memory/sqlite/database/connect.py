"""Opens the database file: verifies it, applies the durability settings and runs migrations."""

from __future__ import annotations

from pathlib import Path

from swarm_operator.memory.atomicfile import sync_directory
from swarm_operator.memory.core.errors import StorageError, StoreClosedError
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint, schema
from swarm_operator.memory.sqlite.database.connection import Worker
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite


async def open_writer(path: Path, config: StoreConfig) -> Worker:
    """Return the writing connection. The file is verified, configured and migrated.

    Raises:
        ForeignDatabaseError, NewerSchemaError: the file is not usable; it was not changed.
        StorageError: the disk or the file failed.
    """
    worker = await Worker.open(path)
    try:
        await worker.run(lambda db: _prepare(db, path, config))
    except BaseException:
        await worker.close()
        raise
    return worker


async def open_reader(path: Path, config: StoreConfig) -> Worker:
    """Return a read-only connection that never checkpoints. The writer must be open: it recovers the WAL."""
    worker = await Worker.open(path)

    def prepare(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA query_only = ON")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA busy_timeout = {config.busy_timeout_ms}")
        _common(db)

    try:
        await worker.run(prepare)
    except BaseException as error:
        await worker.close()
        if isinstance(error, sqlite3.Error):
            raise from_sqlite(error) from error
        raise
    return worker


async def close_writer(worker: Worker, config: StoreConfig) -> bool:
    """Checkpoint and close the connection. Return False if the checkpoint failed. Close all readers first.

    A failed checkpoint loses no data: SQLite recovers the WAL at the next start.
    """

    def finish(db: sqlite3.Connection) -> bool:
        try:
            return not config.enable_wal or checkpoint.truncate(db)
        except sqlite3.Error:
            return False

    try:
        return await worker.run(finish)
    except StoreClosedError:  # the connection was lost, see backup.replace
        return False
    finally:
        await worker.close()


def _prepare(db: sqlite3.Connection, path: Path, config: StoreConfig) -> None:
    try:
        db.execute(f"PRAGMA busy_timeout = {config.busy_timeout_ms}")
        version = schema.inspect(db, str(path))
        if version == 0:
            # Takes effect only before the first page is written. Lets garbage collection release pages.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        set_journal(db, path, config)
        _common(db)
        schema.migrate(db, version)
        if version == 0:
            sync_directory(path.parent)
    except sqlite3.Error as error:
        raise from_sqlite(error) from error


def set_journal(db: sqlite3.Connection, path: Path, config: StoreConfig) -> None:
    """Set the journal mode and the durability of commits. Raise StorageError or sqlite3.Error."""
    wanted = "wal" if config.enable_wal else "delete"
    mode = db.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    if mode != wanted:
        # SQLite returns the current mode if the change failed. A WAL needs a file system with shared memory.
        raise StorageError(f"{path}: journal mode {wanted!r} is not possible here, SQLite stays in {mode!r}")
    # FULL syncs the WAL at each commit. With a rollback journal, deleting the journal is the commit, and only EXTRA
    # syncs the directory too. With FULL, a power failure could restore the journal and undo an acknowledged write.
    # https://sqlite.org/pragma.html#pragma_synchronous
    db.execute(f"PRAGMA synchronous = {'FULL' if config.enable_wal else 'EXTRA'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {config.wal_limit_bytes}")


def _common(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA mmap_size = 0")  # with mmap an I/O error raises SIGBUS, not an exception
    db.execute("PRAGMA cache_size = -8192")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA secure_delete = FAST")  # the default depends on the build; FAST needs no extra writes
