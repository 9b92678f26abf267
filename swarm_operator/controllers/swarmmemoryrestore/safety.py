"""Safety backups: SwarmMemoryBackups of the copies that the memory service makes before a full restore.

The service makes the copy itself, while writes wait. So the copy has every acknowledged write, which a backup before
the restore could not guarantee. The object finds the copy complete and takes over its facts.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore, SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.backups.objects import new_backup
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import Key

PRE_RESTORE = "PreRestore"
"""Reason of a backup that is made before everything is replaced."""


async def ensure_objects(r: Reconciliation[SwarmMemoryRestore], store: SwarmMemoryStore, names: Iterable[str]) -> None:
    """Create the SwarmMemoryBackups of safety backups that have none. Raise ApiError."""
    for name in names:
        if r.client.get(kinds.SWARM_MEMORY_BACKUP, Key(store.metadata.namespace, name)) is not None:
            continue
        wanted = new_backup(store, PRE_RESTORE, name)
        try:
            await r.client.create(kinds.SWARM_MEMORY_BACKUP, wanted, field_manager=labels.FIELD_MANAGER)
        except ConflictError:
            continue  # made before, and the cache is behind
        note = f"created SwarmMemoryBackup {name} ({PRE_RESTORE})"
        r.recorder.event(r.obj, "Normal", "BackupCreated", note, action="Create")
