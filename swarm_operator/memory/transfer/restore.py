"""A backup's entries back into a store that is in use.

They are written as an import writes them: what is there already and the same is left alone, what differs is
overwritten, what the backup doesn't have stays. So others go on reading and writing meanwhile, versions go on growing,
watches are told, and what was broken off can be begun anew. To go back to a backup with nothing of what came after it,
put the file in the database's place while no process has it open.
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
"""The copy is read once: it needs no index of words, and nothing is collected."""


async def restore(store: Store, backup: Path, directory: Path, *, existing: Existing = Existing.OVERWRITE) -> Importer:
    """Write a backup's live entries. The backup is checked first, and stays as it is.

    Args:
        store: where to.
        backup: a file that `SqliteStore.backup` made, of this schema version or an older one.
        directory: where a copy of the backup is made.
        existing: what becomes of entries that are there with another value.

    Returns:
        The importer, which says what became of the entries.

    Raises:
        InvalidInputError: there is no such file, it is no backup, or it is damaged; nothing was written.
        StorageError, OverloadedError, StoreClosedError: as for `put`; what was written by then stays.
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
            # A store brings an older schema forward, which is done to a copy.
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
