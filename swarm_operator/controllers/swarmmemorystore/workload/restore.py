"""Step that makes a new store from a backup, before the pod that serves it exists.

A Job restores. The pod that serves is then that of any other store. It mounts nothing of the backup, whose volume and
Secrets may be deleted. It is not replaced after the restore.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination, RestoreSource
from swarm_operator.controllers.common import children, jobs, kinds, labels
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.pods import how_it_ended, last_end, last_line
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.backups.source import find_source
from swarm_operator.controllers.swarmmemorystore.storage import Storage
from swarm_operator.controllers.swarmmemorystore.workload.job_pods import JobPods
from swarm_operator.controllers.swarmmemorystore.workload.restore_job import job_name, restore_job
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of
from swarm_operator.runtime.resource import Key, Object

_CONDITION = "Restored"
_CHECK_INTERVAL = 10.0
"""Seconds between two checks of a waiting restore."""
_AT_ONCE = 0.001
_ERROR_LINE = re.compile(r"swarm-memory: ([a-z]+(?:-[a-z]+)*): (.+)")
"""Last line of a command that failed: a code and a message."""


@dataclass(frozen=True, slots=True)
class Restore(Step[SwarmMemoryStore]):
    """Restore the backup that the spec names, once. The store has no pod until the data is in place."""

    needs: ClassVar = (Storage,)
    owns: ClassVar = (kinds.JOB,)

    image: str
    """The memory service's image, for stores that name no version."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets with which the image is pulled, in each store's namespace."""
    pods: JobPods = field(default_factory=lambda: JobPods(condition=_CONDITION))
    """Problems that keep the Job's pod from running."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        source = r.parsed.spec.restore_from
        if source is None:
            r.conditions.remove(_CONDITION)
            return done()
        outcome = await self._restore(r, source)
        r.set_condition(_CONDITION, outcome)
        if outcome.is_done:
            return outcome
        if outcome.reason == "Restoring":
            r.status["phase"] = "Restoring"
        return dataclasses.replace(outcome, blocks=True, requeue_after=outcome.requeue_after or _CHECK_INTERVAL)

    async def _restore(self, r: Reconciliation[SwarmMemoryStore], wanted: RestoreSource) -> Outcome:
        known = r.parsed.status.restored_from
        if known is not None:
            r.status["restoredFrom"] = restored = known.model_dump(by_alias=True, exclude_none=True)
            return done("Restored", f"{_name(restored)} was restored")
        jobs_of_ours = {job["metadata"]["name"]: job for job in r.client.owned(kinds.JOB, r.obj)}
        job = jobs_of_ours.get(job_name(r.parsed))
        if job is None:
            source = find_source(r.parsed, wanted, r.client.cache)
            if isinstance(source, Outcome):
                return source
            image, near = image_of(r.parsed, self.image), _user_of(source.destination, r)
            made = restore_job(r.parsed, source, image=image, pull_secrets=self.pull_secrets, near=near)
            job = await children.create_once(r, kinds.JOB, made)
        return await self._progress(r, job)

    async def _progress(self, r: Reconciliation[SwarmMemoryStore], job: Object) -> Outcome:
        source = json.loads(job["metadata"]["annotations"][labels.RESTORE_SOURCE])
        name, ended = _name(source), jobs.outcome(job)
        restoring = waiting("Restoring", f"Job {job['metadata']['name']} restores {name}")
        if ended.is_done:
            # Stored before anything else is done, so that nothing is restored again after the deletion of the Job.
            r.status["restoredFrom"] = {**source, "restoredAt": job["status"]["completionTime"]}
            return dataclasses.replace(restoring, requeue_after=_AT_ONCE)
        if ended.phase == "Error":
            return failed("RestoreFailed", f"{name}: {ended.message}")
        # A pod that has failed is replaced by the Job; its container is not started again.
        pods = [pod for pod in r.client.owned(kinds.POD, job) if (pod.get("status") or {}).get("phase") != "Failed"]
        for pod in pods:
            problem = _last_failure(pod) or await self.pods.problem(r, pod)
            if problem:
                reason, message = problem
                return failed(reason, f"{name}: {message}")
        return (None if pods else await self.pods.refusal(r, job)) or restoring


def _name(source: dict[str, Any]) -> str:
    return f"SwarmMemoryBackup {source['backup']}" if "backup" in source else f"the backup at {source['location']}"


def _user_of(destination: BackupDestination, r: Reconciliation[SwarmMemoryStore]) -> str | None:
    """Return the name of the store that keeps its backups on the volume of a destination, if that is known."""
    if destination.claim_name is None:
        return None
    claim = r.client.get(kinds.PERSISTENT_VOLUME_CLAIM, Key(r.parsed.metadata.namespace, destination.claim_name))
    return ((claim or {}).get("metadata", {}).get("labels") or {}).get(labels.STORE)


def _last_failure(pod: Object) -> tuple[str, str] | None:
    """Return reason and message of the last failure of a pod's command; None if it has not failed.

    They stay while the command is tried again, so that the status does not change at each attempt.
    """
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = last_end(container)
        if ended is not None and ended.get("exitCode"):
            error = _ERROR_LINE.fullmatch(last_line(ended))
            return (reason_of(error[1]), error[2]) if error else ("RestoreFailed", how_it_ended(ended))
    return None
