"""Deletion of a store whose data is backed up first: a verified final backup, then the data volume, then the object.

The final backup is a SwarmMemoryBackup, which has no owner and stays. The store's pod makes the backup while it serves
reads and refuses writes. If there is no pod, a Job makes it: see controllers/swarmmemorybackup. This step asks for the
backup, stops a pod that cannot make it, and decides what becomes of the volume. It keeps no state in memory or in the
status, so a restarted operator continues where the former one stopped.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import children, finalizers, kinds, labels
from swarm_operator.controllers.common.conditions import WAITING_REASONS
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.backups import objects
from swarm_operator.controllers.swarmmemorystore.backups.destination import destination_of, is_used_by
from swarm_operator.controllers.swarmmemorystore.backups.volume import BackupsVolume
from swarm_operator.controllers.swarmmemorystore.storage import FINALIZER, data_claim, data_claim_name
from swarm_operator.controllers.swarmmemorystore.workload.serving import is_stopped, running_workload, serves
from swarm_operator.runtime.errors import ForbiddenError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, controller_of, key_of

NO_DATA: Final = "NoDatabase"
"""Reason of a final backup that failed because the data volume holds no database."""

SERVICE_GRACE: Final = 120.0
"""Seconds after the deletion for which a service that does not answer is asked, before its pod is stopped."""

_UNANSWERED = frozenset({"NoAnswer", "NoDestination", "StoreNotReady"})
"""Reasons of a backup whose service cannot make it, although the pod is ready."""
_CHECK_INTERVAL = 5.0
"""Seconds between two looks at what the deletion waits for."""


class FinalBackup(Step[SwarmMemoryStore]):
    """Have the final backup made, delete the data volume when it is verified, then let the store go.

    Args:
        deadline: seconds after the deletion when the store is deleted without a final backup, and its volume stays.
    """

    condition: ClassVar = "Ready"

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._volume = BackupsVolume()

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        status = r.obj.get("status") or {}
        r.status |= {name: status[name] for name in status if name not in {"conditions", "observedGeneration"}}
        r.status["phase"] = "Deleting"
        claim = await _claim(r)
        if claim is None or r.parsed.deletion_policy == "Retain":
            return await self._release(r)
        if r.parsed.deletion_policy == "Delete":
            return await self._delete_volume(r, claim)
        if (claim.get("status") or {}).get("phase", "Pending") == "Pending":
            return await self._delete_volume(r, claim)  # no volume was ever bound, so no pod has run
        try:
            return await self._back_up(r, claim)
        except ForbiddenError as error:
            if not error.namespace_terminating:
                raise
            return await self._keep_volume(r, claim, "the namespace is being deleted")

    async def _back_up(self, r: Reconciliation[SwarmMemoryStore], claim: Object) -> Outcome:
        store, name = r.parsed, objects.final_name(r.parsed)
        found = r.client.get(kinds.SWARM_MEMORY_BACKUP, Key(store.metadata.namespace, name))
        backup = SwarmMemoryBackup.model_validate(found) if found else None
        if backup is not None and backup.metadata.deletion_timestamp is None:
            if backup.status.phase == "Completed" and backup.status.verified_at is not None:
                note = f"SwarmMemoryBackup {name} was verified: its data volume is deleted"
                r.recorder.event(r.obj, "Normal", "FinalBackupVerified", note, action="Delete")
                return await self._delete_volume(r, claim)
            if backup.status.phase == "Failed" and _ready(backup)[0] == NO_DATA:
                return await self._delete_volume(r, claim)
        if store.metadata.annotations.get(labels.SKIP_FINAL_BACKUP) == "true":
            return await self._keep_volume(r, claim, f"{labels.SKIP_FINAL_BACKUP} asks for no final backup")
        if backup is None and claim["metadata"].get("deletionTimestamp") and is_stopped(store, r.client.cache):
            # Kubernetes starts no pod with such a claim, so no Job either.
            note = f"PersistentVolumeClaim {claim['metadata']['name']} is being deleted: there is no final backup"
            r.recorder.event(r.obj, "Warning", "VolumeLost", note, action="Delete")
            return await self._release(r)
        reason, why = _ready(backup) if backup else ("", "it was not made")
        if (backup is not None and backup.status.phase == "Failed") or seconds_deleted(r) >= self._deadline:
            return await self._keep_volume(r, claim, f"SwarmMemoryBackup {name}: {why}")
        await self._volume.run(r)
        if backup is None:
            await objects.create(r, objects.FINAL, name)
        await _stop_pod(r, claim, reason)
        message = f"the data volume is deleted when SwarmMemoryBackup {name} is verified: {why}"
        if not reason or reason in WAITING_REASONS:
            return waiting("FinalBackup", message, requeue_after=_CHECK_INTERVAL)
        hint = f"annotate the store with {labels.SKIP_FINAL_BACKUP}=true to keep the volume instead"
        return failed("FinalBackupFailing", f"{message}; {hint}", requeue_after=_CHECK_INTERVAL)

    async def _delete_volume(self, r: Reconciliation[SwarmMemoryStore], claim: Object) -> Outcome:
        await children.delete(r, kinds.PERSISTENT_VOLUME_CLAIM, claim)
        return await self._release(r)

    async def _keep_volume(self, r: Reconciliation[SwarmMemoryStore], claim: Object, why: str) -> Outcome:
        """Let the store go without a verified final backup. The claim then has no owner, as with Retain."""
        if controller_of(claim) is not None:  # an earlier policy was Delete
            wanted, whose = data_claim(r.parsed, claim), labels.identity(r.parsed)
            await children.ensure(r, kinds.PERSISTENT_VOLUME_CLAIM, wanted, controlled=False, adopted_by=whose)
        note = f"there is no final backup, so PersistentVolumeClaim {claim['metadata']['name']} stays: {why}"
        r.recorder.event(r.obj, "Warning", "VolumeKept", note, action="Delete")
        return await self._release(r)

    async def _release(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        await finalizers.remove(r, FINALIZER)
        return done("Deleted")


def seconds_deleted(r: Reconciliation[Any]) -> float:
    """Return the seconds since the deletion of the pass's object."""
    return (r.clock.now() - datetime.fromisoformat(r.obj["metadata"]["deletionTimestamp"])).total_seconds()


async def _claim(r: Reconciliation[SwarmMemoryStore]) -> Object | None:
    """Return the claim of the data volume, or None. The read is from the server, since a deletion follows it."""
    namespace, name = r.obj["metadata"]["namespace"], data_claim_name(r.parsed)
    try:
        claim = await r.client.server.get(kinds.PERSISTENT_VOLUME_CLAIM, namespace, name)
    except NotFoundError:
        return None
    return claim if children.is_ours(r.obj, claim, labels.identity(r.parsed)) else None


async def _stop_pod(r: Reconciliation[SwarmMemoryStore], claim: Object, reason: str) -> None:
    """Stop the pod if its service cannot make the backup: then a Job makes it. The pod never starts again.

    Args:
        r: the pass.
        claim: the claim of the data volume; if it is being deleted, only the pod that has it mounted reaches the data.
        reason: reason of the backup's condition Ready.
    """
    workload = running_workload(r.parsed, r.client.cache)
    if workload is None or claim["metadata"].get("deletionTimestamp"):
        return
    able = serves(r.parsed, r.client.cache, r.clock.now()).is_done and is_used_by(workload, destination_of(r.parsed))
    if able and not (reason in _UNANSWERED and seconds_deleted(r) >= SERVICE_GRACE):
        return
    namespace, name = key_of(workload)
    patch = {"metadata": {"uid": workload["metadata"]["uid"]}, "spec": {"replicas": 0}}
    await r.client.merge(kinds.STATEFUL_SET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)
    note = f"stopped the pod of StatefulSet {name}: a Job makes the final backup"
    r.recorder.event(r.obj, "Normal", "PodStopped", note, action="Delete")


def _ready(backup: SwarmMemoryBackup) -> tuple[str, str]:
    """Return reason and message of a backup's condition Ready."""
    return next(
        ((c.reason, c.message) for c in backup.status.conditions if c.type == "Ready"), ("", "it was asked for")
    )
