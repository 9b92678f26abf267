"""The backup that a new store is made from: where it lies."""

from __future__ import annotations

from dataclasses import dataclass

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination, RestoreSource
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, failed, waiting
from swarm_operator.controllers.swarmmemorystore.backups.destination import access, destination_of
from swarm_operator.controllers.swarmmemorystore.backups.objects import backups_by_store, newest_verified
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.resource import Key


@dataclass(frozen=True, slots=True)
class Source:
    """A backup to restore."""

    location: str
    """URL of its folder, as a pod sees it."""
    destination: BackupDestination
    """The volume or the object store in which it lies."""
    backup: str | None = None
    """Name of the SwarmMemoryBackup; None for a location."""


def find_source(store: SwarmMemoryStore, wanted: RestoreSource, cache: Cache) -> Source | Outcome:
    """Return the backup from which a store is made, or why there is none.

    A damaged backup is not replaced by an older one: the newest verified backup of a store is taken.

    Returns:
        Reasons of the outcome: BackupNotFound, BackupFailed, WaitingForBackup or DestinationMismatch.
    """
    if wanted.location is not None:
        return _at_location(store, wanted.location, wanted.destination)
    namespace = store.metadata.namespace
    if wanted.store_ref is not None:
        name = wanted.store_ref.name
        newest = newest_verified(backups_by_store(cache, Key(namespace, name)))
        if newest is None:
            return failed("BackupNotFound", f"SwarmMemoryStore {name} has no verified SwarmMemoryBackup")
        return _of_backup(newest)
    assert wanted.backup_ref is not None  # noqa: S101 - the CRD's rule
    name = wanted.backup_ref.name
    obj = cache.get(kinds.SWARM_MEMORY_BACKUP, Key(namespace, name))
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return failed("BackupNotFound", f"SwarmMemoryBackup {name} does not exist")
    return _of_backup(SwarmMemoryBackup.model_validate(obj))


def _of_backup(backup: SwarmMemoryBackup) -> Source | Outcome:
    name, status = backup.metadata.name, backup.status
    if status.phase == "Failed":
        why = next((c.message for c in status.conditions if c.type == "Ready"), "")
        return failed("BackupFailed", f"SwarmMemoryBackup {name} has failed: {why}")
    if status.phase != "Completed" or status.location is None or status.destination is None:
        return waiting("WaitingForBackup", f"SwarmMemoryBackup {name} is not verified yet")
    return Source(status.location, status.destination, name)


def _at_location(store: SwarmMemoryStore, location: str, destination: BackupDestination | None) -> Source | Outcome:
    if destination is None:
        destination = destination_of(store)
        url = access(destination).url.rstrip("/")
        if not location.startswith(f"{url}/"):
            message = f"spec.restoreFrom.location: is not below {url}, where this store keeps its backups"
            return failed("DestinationMismatch", f"{message}; spec.restoreFrom.destination says where it lies")
    return Source(location, destination)
