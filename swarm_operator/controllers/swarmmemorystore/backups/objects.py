"""The SwarmMemoryBackups of a store: those that are made for it, and those that there are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import Key, Object

SCHEDULED = "Scheduled"
REQUESTED = "Requested"
FINAL = "Final"
"""Reason of the backup that is made of a store that is being deleted."""

_FINISHED = frozenset({"Completed", "Failed"})


STORE_INDEX = "store"
"""Index of SwarmMemoryBackups by namespace and name of their store."""


def by_store(backup: Object) -> tuple[str, ...]:
    """Return what a backup has in the STORE_INDEX."""
    return tuple(map(str, store_of(backup)))


def backups_of(store: SwarmMemoryStore, cache: Cache) -> list[SwarmMemoryBackup]:
    """Return the backups of a store by name, also those that users made; not those that are being deleted."""
    found = backups_by_store(cache, Key(store.metadata.namespace, store.metadata.name))
    # A store of the same name may have been another swarm's.
    return [backup for backup in found if backup.status.swarm_id in {None, store.swarm_id}]


def backups_by_store(cache: Cache, store: Key) -> list[SwarmMemoryBackup]:
    """Return the backups of all stores that have or had a name, by name; not those that are being deleted."""
    found = cache.by_index(kinds.SWARM_MEMORY_BACKUP, store.namespace, STORE_INDEX, str(store))
    backups = [SwarmMemoryBackup.model_validate(obj) for obj in found if not obj["metadata"].get("deletionTimestamp")]
    return sorted(backups, key=lambda backup: backup.metadata.name)


def store_of(backup: Object) -> tuple[Key, ...]:
    """Return the key of a backup's store."""
    return (Key(backup["metadata"]["namespace"], backup["spec"]["storeRef"]["name"]),)


def new_backup(store: SwarmMemoryStore, reason: str, name: str) -> Object:
    """Return a backup of a store. It has no owner: it outlives the store."""
    return {
        "apiVersion": kinds.SWARM_MEMORY_BACKUP.api_version,
        "kind": kinds.SWARM_MEMORY_BACKUP.kind,
        "metadata": {
            "name": name,
            "namespace": store.metadata.namespace,
            "labels": {**labels.identity(store), labels.BACKUP_REASON: reason},
        },
        "spec": {"storeRef": {"name": store.metadata.name}},
    }


async def create(r: Reconciliation[SwarmMemoryStore], reason: str, name: str) -> None:
    """Create a backup of the pass's store, with an event, unless there is one of that name.

    Raises:
        ApiError: the server refused.
    """
    wanted = new_backup(r.parsed, reason, name)
    try:
        await r.client.create(kinds.SWARM_MEMORY_BACKUP, wanted, field_manager=labels.FIELD_MANAGER)
    except ConflictError:
        return  # made before, and the cache is behind; or deleted since
    note = f"created SwarmMemoryBackup {name} ({reason})"
    r.recorder.event(r.obj, "Normal", "BackupCreated", note, action="Create")


def scheduled_name(store: SwarmMemoryStore, due: datetime) -> str:
    """Return the name of the backup that is due at a time: an operator that dies and asks again makes it once."""
    return f"{store.metadata.name}-{_stamp(due)}"


def requested_name(store: SwarmMemoryStore, now: datetime) -> str:
    """Return the name of a backup that is requested at a time."""
    return f"{store.metadata.name}-requested-{_stamp(now)}"


def final_name(store: SwarmMemoryStore) -> str:
    """Return the name of the final backup of a store: another one for a later store of the same name."""
    return f"{store.metadata.name}-final-{hashlib.sha256(store.metadata.uid.encode()).hexdigest()[:10]}"


def is_requested_name(store: SwarmMemoryStore, text: str) -> bool:
    """Return whether a text is a name that `requested_name` returns."""
    return re.fullmatch(rf"{re.escape(store.metadata.name)}-requested-\d{{14}}", text) is not None


def is_scheduled(backup: SwarmMemoryBackup) -> bool:
    """Return whether a schedule made this backup."""
    return backup.metadata.labels.get(labels.BACKUP_REASON) == SCHEDULED


def is_finished(backup: SwarmMemoryBackup) -> bool:
    """Return whether this backup has succeeded or failed."""
    return backup.status.phase in _FINISHED


def finished_at(backup: SwarmMemoryBackup) -> str:
    """Return when a finished backup succeeded or failed."""
    return next((c.last_transition_time for c in backup.status.conditions if c.type == "Ready"), "")


def newest_verified(backups: Sequence[SwarmMemoryBackup]) -> SwarmMemoryBackup | None:
    """Return the backup with the newest data of those that were verified, or None."""
    verified = [backup for backup in backups if backup.status.phase == "Completed" and backup.status.verified_at]
    return max(verified, key=_data_order, default=None)


def expired(backups: Sequence[SwarmMemoryBackup], retention: int) -> list[SwarmMemoryBackup]:
    """Return the scheduled backups that are beyond the retention: the older verified and the older failed ones.

    The newest verified backup of all is never among them. Requested backups stay until a user deletes them.
    """
    scheduled = [backup for backup in backups if is_scheduled(backup)]
    last = newest_verified(backups)
    old: list[SwarmMemoryBackup] = []
    for phase in ("Completed", "Failed"):
        of_phase = sorted((b for b in scheduled if b.status.phase == phase), key=_data_order, reverse=True)
        old += [backup for backup in of_phase[retention:] if backup is not last]
    return old


def _data_order(backup: SwarmMemoryBackup) -> tuple[str, str]:
    return backup.status.started_at or finished_at(backup), backup.metadata.name


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
