"""Opens database files that are not the store's own: copies of backups, for reading, and the former data."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from swarm_operator.memory.core.backup import BackupSource
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.sqlite.backup.closed import ClosedDatabase
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.store import SqliteStore

_CONFIG: Final = StoreConfig(enable_wal=False, full_text=False, enable_vacuum=False, gc_interval=1e10)
"""A copy is read once, without the full-text index and garbage collection."""


@contextlib.asynccontextmanager
async def open_copy(copy: Path, *, like: Store) -> AsyncIterator[SqliteStore]:
    """Open a verified copy of a backup. This changes the copy: an older schema is migrated.

    Args:
        copy: the file.
        like: the store whose clock determines which entries have expired.

    Raises:
        ForeignDatabaseError, NewerSchemaError: the file can't be used.
        StorageError: the disk or the file failed.
    """
    async with SqliteStore.open(copy, _CONFIG, clock=lambda: like.now() / 1000) as store:
        yield store


def source_of(former: Path, *, like: Store) -> BackupSource:
    """Return the former data of a store as the source of a backup.

    Args:
        former: the file, see Store.replace.
        like: the store.
    """
    return ClosedDatabase(former, like.swarm_id)
