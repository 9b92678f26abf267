"""The backup that is restored: where it lies, or why it cannot be restored into the store."""

from __future__ import annotations

from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryRestore, SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.backups.destination import destination_in_use
from swarm_operator.controllers.swarmmemorystore.backups.objects import is_finished
from swarm_operator.runtime.resource import Key


class SourceError(Exception):
    """The backup cannot be restored into the store.

    Attributes:
        reason: in one CamelCase word.
        final: whether waiting does not help.
    """

    def __init__(self, reason: str, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final


def source_of(restore: SwarmMemoryRestore) -> str:
    """Return what the user calls the backup: its name or its location."""
    source = restore.spec.source
    return source.backup_ref.name if source.backup_ref is not None else source.location or ""


def locate(r: Reconciliation[SwarmMemoryRestore], store: SwarmMemoryStore) -> str:
    """Return the location of the backup. Raise SourceError.

    The memory service finds problems of the data itself, such as damage or a newer schema.
    """
    source = r.parsed.spec.source
    if source.backup_ref is None:
        return source.location or ""
    name = source.backup_ref.name
    obj = r.client.get(kinds.SWARM_MEMORY_BACKUP, Key(store.metadata.namespace, name))
    if obj is None:
        raise SourceError("BackupNotFound", f"SwarmMemoryBackup {name} does not exist", final=False)
    backup = SwarmMemoryBackup.model_validate(obj)
    status = backup.status
    if backup.metadata.deletion_timestamp:
        raise SourceError("BackupDeleting", f"SwarmMemoryBackup {name} is being deleted", final=True)
    if status.phase != "Completed" and is_finished(backup):
        why = next((c.message for c in status.conditions if c.type == "Ready"), "")
        raise SourceError("BackupFailed", f"SwarmMemoryBackup {name} has failed: {why}", final=True)
    if status.location is None or status.destination is None or status.verified_at is None:
        raise SourceError("BackupNotVerified", f"SwarmMemoryBackup {name} is not verified yet", final=False)
    if status.swarm_id != store.swarm_id:
        message = f"SwarmMemoryBackup {name} is one of swarm {status.swarm_id}; the store's is {store.swarm_id}"
        raise SourceError("BackupOfAnotherSwarm", message, final=True)
    if not _reaches(destination_in_use(store, r.client.cache), status.destination):
        message = f"SwarmMemoryBackup {name} lies in {_shown(status.destination)}, which the store's pod cannot reach"
        raise SourceError("DestinationMismatch", message, final=True)
    return status.location


def _reaches(own: BackupDestination | None, other: BackupDestination) -> bool:
    """Return whether a pod with one destination reaches another: that volume, or a bucket with the same access."""
    if own is None or own.object_store is None or other.object_store is None:
        return own == other
    return _access(own.object_store) == _access(other.object_store)


def _access(store: Any) -> dict[str, Any]:
    return {**store.model_dump(exclude={"url"}), "scheme": store.url.partition(":")[0]}


def _shown(destination: BackupDestination) -> str:
    if destination.object_store is not None:
        return destination.object_store.url
    return f"PersistentVolumeClaim {destination.claim_name}"
