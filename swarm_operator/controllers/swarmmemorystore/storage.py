"""The data volume: a claim of its own and not a claim template, so that growing it is a patch.

The claim has an owner only with deletionPolicy Delete. Otherwise it outlives the store, and its labels name the store.
With Backup a finalizer keeps a deleted store until its data is backed up: see deletion.
"""

from __future__ import annotations

from typing import Any

from swarm_operator.api.quantity import canonical_quantity, parse_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, finalizers, kinds, labels
from swarm_operator.controllers.common.child_events import ChildEvents
from swarm_operator.controllers.common.errors import ends_pass
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.runtime.errors import ApiError, ForbiddenError, InvalidError, NotFoundError
from swarm_operator.runtime.resource import Key, Object

FINALIZER = "swarm.claudeflow.io/final-backup"
"""Keeps a deleted store until the final backup of its data is verified."""

RESIZE_INTERVAL = 300.0
"""Seconds until a refused growth is tried again: a quota or a storage class may have changed."""


class Storage(Step[SwarmMemoryStore]):
    """Ensure the claim of the data volume. A volume that cannot grow does not keep the pod from changing.

    The data of a claim that was deleted, or will be when the pod ends, is lost. Then neither the claim nor the pod is
    created again, unless the store's onVolumeLoss is StartEmpty.
    """

    condition = "StorageReady"

    def __init__(self) -> None:
        self._events = ChildEvents(kinds.PERSISTENT_VOLUME_CLAIM, "persistentvolume-controller")

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        store = r.parsed
        if store.deletion_policy == "Backup":
            await finalizers.add(r, FINALIZER)
        live = await _live_claim(r)
        r.status["claimUID"] = store.status.claim_uid
        if live is None and store.status.claim_uid is not None:
            if store.spec.on_volume_loss == "Stop":
                r.status["storageReady"] = False
                return failed("VolumeLost", _lost(data_claim_name(store)), blocks=True)
            r.recorder.event(
                r.obj, "Warning", "VolumeLost", "the memory starts empty: its volume was lost", action="Create"
            )
        claim, refusal = await apply_claim(r, data_claim(store, live))
        if store.deletion_policy != "Backup":
            await finalizers.remove(r, FINALIZER)
        status = claim.get("status") or {}
        r.status["claimUID"] = claim["metadata"]["uid"]
        r.status["storageReady"] = status.get("phase") == "Bound"
        r.status["storageCapacity"] = (status.get("capacity") or {}).get("storage")
        if refusal is not None:
            message = f"the volume keeps its size; {refusal.message}"
            return failed("ResizeRefused", message, requeue_after=RESIZE_INTERVAL)
        outcome = claim_outcome(claim)
        if outcome.reason != "WaitingForVolume":
            return outcome
        event = await self._events.newest(r, claim, condition=self.condition)
        missing = class_outcome(claim, event) if event else None
        return missing or outcome


async def apply_claim(r: Reconciliation[SwarmMemoryStore], wanted: Object) -> tuple[Object, ApiError | None]:
    """Make the claim of the data volume as wanted. Return it, and why the API server refused to change it, or None.

    Raises:
        NameTakenError, ApiError: see children.ensure.
    """
    refusals: list[ApiError] = []

    def on_refusal(error: ApiError) -> None:
        if isinstance(error, ForbiddenError | InvalidError) and not ends_pass(error):
            refusals.append(error)
        else:
            r.record_error(error)

    claim = await children.ensure(
        r,
        kinds.PERSISTENT_VOLUME_CLAIM,
        wanted,
        controlled=r.parsed.deletion_policy == "Delete",
        adopted_by=labels.identity(r.parsed),
        on_refusal=on_refusal,
    )
    return claim, next(iter(refusals), None)


def data_claim_name(store: SwarmMemoryStore) -> str:
    """Return the name of the claim of the data volume."""
    return f"{store.metadata.name}-data"


def data_claim(store: SwarmMemoryStore, live: Object | None = None) -> Object:
    """Return the claim of the data volume. Its size is the larger of the store's and that of the live claim.

    The live claim's annotation about automatic growth stays, too. ReadWriteOnce limits the volume to one node; the
    service's own lock limits the database to one process.
    """
    size = canonical_quantity(store.spec.storage_size)
    requested = live["spec"]["resources"]["requests"]["storage"] if live else size
    if parse_quantity(requested) > parse_quantity(size):
        size = requested  # a claim can be grown by others, and never shrinks
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if store.spec.storage_class:
        spec["storageClassName"] = store.spec.storage_class
    metadata: dict[str, Any] = {"name": data_claim_name(store), "labels": labels.of_store(store)}
    annotations = (live["metadata"].get("annotations") or {}) if live else {}
    if labels.AUTOGROWN in annotations:
        metadata["annotations"] = {labels.AUTOGROWN: annotations[labels.AUTOGROWN]}
    return {"metadata": metadata, "spec": spec}


def claim_outcome(claim: Object) -> Outcome:
    """Return the outcome of a claim.

    Reasons: Bound, WaitingForVolume, VolumeTerminating, Resizing or ResizeInfeasible.
    """
    name, status = claim["metadata"]["name"], claim.get("status") or {}
    if claim["metadata"].get("deletionTimestamp"):
        message = f"PersistentVolumeClaim {name} is being deleted; the data will be lost when the pod ends: back up now"
        return failed("VolumeTerminating", message, blocks=True)
    if status.get("phase") != "Bound":
        return waiting("WaitingForVolume", f"PersistentVolumeClaim {name} has no volume yet")
    wanted = claim["spec"]["resources"]["requests"]["storage"]
    capacity = (status.get("capacity") or {}).get("storage", wanted)
    if parse_quantity(capacity) < parse_quantity(wanted):
        growth = f"PersistentVolumeClaim {name} has {capacity} of {wanted}{_resize_state(status)}"
        state = (status.get("allocatedResourceStatuses") or {}).get("storage", "")
        if state.endswith("Infeasible"):
            return failed("ResizeInfeasible", f"{growth} ({state}): the volume keeps its size")
        return waiting("Resizing", growth)
    return done("Bound", f"PersistentVolumeClaim {name} is bound")


def _resize_state(status: Object) -> str:
    """Return the message about the claim's growth and the time of its start; empty without a growth."""
    said = (
        f"; {c['type']} since {c.get('lastTransitionTime') or 'an unknown time'}: {c.get('message', '')}"
        for c in status.get("conditions") or ()
        if c["status"] == "True"
    )
    return "".join(said)


def class_outcome(claim: Object, event: Object) -> Outcome | None:
    """Return the outcome StorageClassMissing if the newest event about an unbound claim reports that; else None.

    A class that waits for the first consumer, or a provisioner that is at work, is no problem.
    """
    name, class_name = claim["metadata"]["name"], claim["spec"].get("storageClassName")
    note = event.get("note", "")
    if event["reason"] == "ProvisioningFailed" and class_name and f'"{class_name}" not found' in note:
        missing = (
            f"StorageClass {class_name} does not exist: create it, or name another in spec.storageClass of a new store"
        )
    elif event["reason"] == "FailedBinding" and not class_name:
        missing = (
            "spec.storageClass names no class, and the cluster has no default StorageClass: mark one as the default,"
            f" or create a PersistentVolume for PersistentVolumeClaim {name}"
        )
    else:
        return None
    return failed("StorageClassMissing", f"{missing}; PersistentVolumeClaim {name}: {note}")


async def _live_claim(r: Reconciliation[SwarmMemoryStore]) -> Object | None:
    """Return the claim, or None. The cache may lack it; only the server knows whether it was deleted."""
    namespace, name = r.obj["metadata"]["namespace"], data_claim_name(r.parsed)
    live = r.client.get(kinds.PERSISTENT_VOLUME_CLAIM, Key(namespace, name))
    if live is None and r.parsed.status.claim_uid is not None:
        try:
            return await r.client.server.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name)
        except NotFoundError:
            return None
    return live


def _lost(name: str) -> str:
    return (
        f"PersistentVolumeClaim {name} was deleted, and the data with it: make a claim of this name from a copy,"
        " or set onVolumeLoss to StartEmpty"
    )
