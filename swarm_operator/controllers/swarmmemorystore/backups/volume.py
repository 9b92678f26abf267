"""The volume for backups. Its claim has no owner: backups outlive their store."""

from __future__ import annotations

from typing import Any

from swarm_operator.api.quantity import canonical_quantity, parse_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination, BackupVolume
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.errors import ends_pass
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.backups.destination import (
    asks_for_backups,
    claim_name,
    destination_of,
)
from swarm_operator.controllers.swarmmemorystore.storage import RESIZE_INTERVAL
from swarm_operator.runtime.errors import ApiError, ForbiddenError, InvalidError
from swarm_operator.runtime.resource import Key, Object

_CONDITION = "BackupStorageReady"


class BackupsVolume(Step[SwarmMemoryStore]):
    """Ensure the claim of the backups volume, if backups are asked for and kept on a volume.

    A volume that was made once stays mounted when no backups are asked for any more: backups lie on it. The pod does
    not need this step: without the volume it serves, and makes no backups.
    """

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        store = r.parsed
        live = r.client.get(kinds.PERSISTENT_VOLUME_CLAIM, Key(store.metadata.namespace, claim_name(store)))
        if asks_for_backups(store):
            if destination_of(store).object_store is not None:
                outcome = done("ObjectStore", "backups are kept in an object store")
                r.set_condition(_CONDITION, outcome)
                return outcome
        elif live is None or live["metadata"].get("deletionTimestamp"):
            r.conditions.remove(_CONDITION)
            return done()
        refusals: list[ApiError] = []

        def on_refusal(error: ApiError) -> None:
            if isinstance(error, ForbiddenError | InvalidError) and not ends_pass(error):
                refusals.append(error)
            else:
                r.record_error(error)

        claim = await children.ensure(
            r,
            kinds.PERSISTENT_VOLUME_CLAIM,
            backups_claim(store, live),
            controlled=False,
            adopted_by=labels.identity(store),
            on_refusal=on_refusal,
        )
        outcome = _outcome(claim, refusals)
        r.set_condition(_CONDITION, outcome)
        return outcome


def mounted_destination(r: Reconciliation[SwarmMemoryStore]) -> BackupDestination | None:
    """Return where the pod keeps backups: the object store, or the volume if this pass has its claim; or None."""
    store = r.parsed
    if asks_for_backups(store) and destination_of(store).object_store is not None:
        return destination_of(store)
    if (kinds.PERSISTENT_VOLUME_CLAIM, claim_name(store)) in r.children:
        return BackupDestination(claim_name=claim_name(store))
    return None


def backups_claim(store: SwarmMemoryStore, live: Object | None = None) -> Object:
    """Return the claim of the backups volume. Its size is the larger of the wanted one and that of the live claim."""
    volume = (store.spec.backup and store.spec.backup.volume) or BackupVolume()
    size = canonical_quantity(volume.size or store.spec.storage_size)
    requested = live["spec"]["resources"]["requests"]["storage"] if live else size
    if parse_quantity(requested) > parse_quantity(size):
        size = requested
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class := volume.storage_class_name or store.spec.storage_class:
        spec["storageClassName"] = storage_class
    return {"metadata": {"name": claim_name(store), "labels": labels.of_store(store)}, "spec": spec}


def _outcome(claim: Object, refusals: list[ApiError]) -> Outcome:
    name, status = claim["metadata"]["name"], claim.get("status") or {}
    if refusals:
        message = f"PersistentVolumeClaim {name} stays as it is; {refusals[0].message}"
        return failed("VolumeRefused", message, requeue_after=RESIZE_INTERVAL)
    if claim["metadata"].get("deletionTimestamp"):
        return failed("VolumeTerminating", f"PersistentVolumeClaim {name} is being deleted, and the backups with it")
    if status.get("phase") != "Bound":
        return waiting("WaitingForVolume", f"PersistentVolumeClaim {name} has no volume yet")
    return done("Bound", f"PersistentVolumeClaim {name} is bound")
