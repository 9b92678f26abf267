"""Deletion of a backup's data that no restore reads: by the memory service while its store is there, else by a Job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import finalizers, jobs, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.job import MAKE, JobNameTakenError, deletion_job, ensure_job, job_name
from swarm_operator.controllers.swarmmemorybackup.readers import readers_of
from swarm_operator.controllers.swarmmemorybackup.service import BackupService, Calls, find_service
from swarm_operator.controllers.swarmmemorystore.backups.destination import destination_in_use
from swarm_operator.controllers.swarmmemorystore.backups.objects import FINAL
from swarm_operator.controllers.swarmmemorystore.workload.serving import is_stopped
from swarm_operator.memory.client import BackupState
from swarm_operator.runtime.errors import ForbiddenError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, key_of

log = structlog.get_logger(__name__)

SERVICE_GRACE = 120.0
"""Seconds after the deletion for which a service that does not answer is waited for, before a Job is made."""

_RETRY_INTERVAL = 5.0
_JOB_INTERVAL = 60.0
"""Seconds until a failed Job is checked again: a user may have deleted it."""


@dataclass(slots=True)
class DataDeletion(Step[SwarmMemoryBackup]):
    """Delete the data, then let the object go."""

    condition: ClassVar = "Ready"

    service: BackupService
    calls: Calls[BackupState]
    image: str
    """The memory service's image, for the Job."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets with which the image is pulled, in each backup's namespace."""

    async def run(self, r: Reconciliation[SwarmMemoryBackup]) -> Outcome:
        """See Step.run."""
        status = r.obj.get("status") or {}
        r.status |= {name: status[name] for name in status if name not in {"conditions", "observedGeneration"}}
        r.status["phase"] = "Deleting"
        destination = r.parsed.status.destination
        if destination is None:
            return await self._release(r)
        if r.parsed.metadata.annotations.get(labels.SKIP_DATA_DELETION) == "true":
            r.recorder.event(r.obj, "Warning", "DataKept", f"{_location(r)} was not deleted", action="Delete")
            return await self._release(r)
        readers = readers_of(r.parsed, r.client.cache)
        if readers:
            message = f"{', '.join(readers)} reads the data, which is deleted when that has ended"
            return waiting("InUse", message, requeue_after=_RETRY_INTERVAL)
        found = self._store(r)
        if found is not None:
            pending = await self._ask(r, *found)
            if pending is None:
                return await self._release(r)
            if r.clock.now().timestamp() - _deleted_at(r) < SERVICE_GRACE:
                return pending
        return await self._run_job(r)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.calls.forget(key)

    def _store(self, r: Reconciliation[SwarmMemoryBackup]) -> tuple[SwarmMemoryStore, Object] | None:
        """Return the store if its service can reach the data."""
        obj = r.client.get(kinds.SWARM_MEMORY_STORE, Key(r.obj["metadata"]["namespace"], r.parsed.spec.store_ref.name))
        if obj is None:
            return None
        store = SwarmMemoryStore.model_validate(obj)
        if store.metadata.deletion_timestamp and is_stopped(store, r.client.cache):
            return None
        same = destination_in_use(store, r.client.cache) == r.parsed.status.destination
        return (store, obj) if same and store.swarm_id == r.parsed.status.swarm_id else None

    async def _ask(self, r: Reconciliation[SwarmMemoryBackup], store: SwarmMemoryStore, obj: Object) -> Outcome | None:
        """Ask the service to delete the data. Return None when it has."""
        service = await find_service(r, store, obj)
        if isinstance(service, str):
            return waiting("StoreNotReady", service, requeue_after=_RETRY_INTERVAL)
        name = r.parsed.metadata.name
        answer = self.calls.answer(key_of(r.obj), lambda: self.service.delete(service, name))
        if answer is None:
            return waiting("Deleting", "the memory service deletes the data")
        return waiting(answer.reason, answer.message, requeue_after=_RETRY_INTERVAL) if answer.reason else None

    async def _run_job(self, r: Reconciliation[SwarmMemoryBackup]) -> Outcome:
        destination = r.parsed.status.destination
        if destination is None or (destination.claim_name and await _is_gone(r, destination.claim_name)):
            return await self._release(r)
        try:
            if await _is_being_made(r):
                return waiting(
                    "JobRunning", "the Job that makes the backup is waited for", requeue_after=_RETRY_INTERVAL
                )
            wanted = deletion_job(r.parsed, destination, _location(r), image=self.image, pull_secrets=self.pull_secrets)
            job = await ensure_job(r, wanted)
        except ForbiddenError as error:
            if not error.namespace_terminating:
                raise
            note = f"the namespace is being deleted; {_location(r)} was not"
            r.recorder.event(r.obj, "Warning", "DataKept", note, action="Delete")
            return await self._release(r)
        except JobNameTakenError as error:
            return _deletion_failed(str(error))
        outcome = jobs.outcome(job)
        if outcome.is_done:
            return await self._release(r)
        return _deletion_failed(outcome.message) if outcome.phase == "Error" else outcome

    async def _release(self, r: Reconciliation[SwarmMemoryBackup]) -> Outcome:
        self.forget(key_of(r.obj))
        await finalizers.remove(r, FINALIZER)
        return done("Deleted")


async def _is_being_made(r: Reconciliation[SwarmMemoryBackup]) -> bool:
    """Return whether a Job still makes this backup."""
    if r.parsed.status.reason != FINAL:
        return False
    namespace, name = r.obj["metadata"]["namespace"], job_name(r.parsed, MAKE)
    try:
        job = await r.client.server.get(kinds.JOB, namespace, name)
    except NotFoundError:
        return False
    return jobs.outcome(job).reason == "JobRunning"


async def _is_gone(r: Reconciliation[SwarmMemoryBackup], claim: str) -> bool:
    try:
        await r.client.server.get(kinds.PERSISTENT_VOLUME_CLAIM, r.obj["metadata"]["namespace"], claim)
    except NotFoundError:
        return True
    return False


def _deletion_failed(why: str) -> Outcome:
    message = f"{why}; delete the Job to try again, or annotate this object with {labels.SKIP_DATA_DELETION}=true"
    return failed("DeletionFailed", message, requeue_after=_JOB_INTERVAL)


def _location(r: Reconciliation[SwarmMemoryBackup]) -> str:
    return r.parsed.status.location or ""


def _deleted_at(r: Reconciliation[SwarmMemoryBackup]) -> float:
    return datetime.fromisoformat(r.obj["metadata"]["deletionTimestamp"]).timestamp()
