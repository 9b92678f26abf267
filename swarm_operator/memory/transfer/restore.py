"""Merge of a backup file's entries into a live store, for MCP's memory_restore. See restores for all other restores.

A merge works like an import: equal entries are unchanged, different entries are overwritten, and entries that the
backup lacks are kept. Clients can read and write during a merge, versions increase, watches receive the changes, and
an interrupted merge can be repeated.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from swarm_operator.memory.atomicfile import AtomicFile
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError, from_os
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.transfer.export import export_lines
from swarm_operator.memory.transfer.importer import Existing, Importer
from swarm_operator.memory.transfer.restores.copies import open_copy


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
            async with open_copy(copy.path, like=store) as source:
                importer = Importer(store, existing)
                async for line in export_lines(source, namespaces=[]):
                    await importer.add(line)
                await importer.finish()
        finally:
            await asyncio.to_thread(copy.discard)
    except OSError as error:
        raise from_os(error, f"a copy of the backup {backup.name}") from error
    return importer
