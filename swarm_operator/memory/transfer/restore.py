"""Restore of a backup's entries into a live store.

A restore works like an import: equal entries are unchanged, different entries are overwritten, and entries that the
backup lacks are kept. Clients can read and write during a restore, versions increase, watches receive the changes, and
an interrupted restore can be repeated. To discard all later changes instead, replace the database file with the backup
while no process has the database open.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from swarm_operator.memory.atomicfile import AtomicFile
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError, from_os
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.store import SqliteStore
from swarm_operator.memory.transfer.ndjson import Existing, Importer, export_lines

_CONFIG: Final = StoreConfig(enable_wal=False, full_text=False, enable_vacuum=False, gc_interval=1e10)
"""The copy is read once: it needs neither the full-text index nor garbage collection."""


async def restore(store: Store, backup: Path, directory: Path, *, existing: Existing = Existing.OVERWRITE) -> Importer:
    """Write a backup's live entries. The backup is verified first and is not changed.

    Args:
        store: the store to write to.
        backup: a file made by `SqliteStore.backup`, of this schema version or an older version.
        directory: directory of a temporary copy of the backup.
        existing: how stored entries that differ are treated.

    Returns:
        The importer, which holds the outcomes of the entries.

    Raises:
        InvalidInputError: the file does not exist, is not a backup, or is corrupt; nothing was written.
        StorageError, OverloadedError, StoreClosedError: a write failed; earlier batches stay written.
    """
    try:
        report = await asyncio.to_thread(check, backup)
    except MemoryStoreError as error:
        raise InvalidInputError("backup", f"a backup that can be read ({error})") from error
    if not report.ok:
        raise InvalidInputError("backup", f"a backup that is whole (damaged: {report.findings[0].what})")
    try:
        copy = await asyncio.to_thread(AtomicFile.create, directory / "restore")
        try:
            # Opening a store migrates an older schema: only the copy may be changed.
            await asyncio.to_thread(shutil.copyfile, backup, copy.path)
            async with SqliteStore.open(copy.path, _CONFIG, clock=lambda: store.now() / 1000) as source:
                importer = Importer(store, existing)
                async for line in export_lines(source, namespaces=[]):
                    await importer.add(line)
                await importer.finish()
        finally:
            await asyncio.to_thread(copy.discard)
    except OSError as error:
        raise from_os(error, f"a copy of the backup {backup.name}") from error
    return importer
