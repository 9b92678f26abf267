"""Final backup of a store that has no pod: a Job makes it, and the Job's pod reports in its termination message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import jobs, kinds, labels
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.pods import pod_problem
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorybackup.job import JobNameTakenError, ensure_job, making_job
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.memory.client import BackupState
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.resource import Object

_UNKNOWN: dict[str, Any] = {"size": None, "entries": None, "sha256": None, "verified_at": None, "problem": None}


@dataclass(frozen=True, slots=True)
class FinalJob:
    """Makes final backups by Jobs."""

    image: str
    """The memory service's image, for stores that name no version."""
    pull_secrets: Sequence[str]
    """Names of the Secrets with which the image is pulled, in each backup's namespace."""

    async def answer(
        self,
        r: Reconciliation[SwarmMemoryBackup],
        store: SwarmMemoryStore,
        destination: BackupDestination,
        *,
        seconds: float,
    ) -> Answer[BackupState]:
        """Return how far the Job is, as the memory service would answer. Create the Job if it does not exist.

        Args:
            r: the pass.
            store: the store, which has no pod.
            destination: where the backup is to lie.
            seconds: time that the Job has.

        Raises:
            ApiError: the server refused the Job.
        """
        location = r.status["location"]
        wanted = making_job(
            r.parsed, store, destination, location,
            image=self.image, pull_secrets=self.pull_secrets, deadline=max(1, round(seconds)),
        )  # fmt: skip
        try:
            job = await ensure_job(r, wanted)
        except JobNameTakenError as error:
            return Answer(reason="NameTaken", message=str(error))
        outcome = jobs.outcome(job)
        pods = _pods(r)
        report = next(filter(None, map(_report, pods)), None)
        if outcome.is_done:
            return _made(report, location, outcome.message)
        problem = report["problem"] if report and report.get("problem") else None
        if problem is not None:
            return Answer(reason=reason_of(str(problem["code"])), message=str(problem["detail"]))
        stuck = next(filter(None, (pod_problem(pod, now=r.clock.now()) for pod in pods)), None)
        if stuck is not None:
            return Answer(reason=stuck[0], message=stuck[1])
        if outcome.phase == "Error":
            return Answer(reason=outcome.reason, message=outcome.message)
        started = {"started_at": rfc3339(r.clock.now())} if r.parsed.status.started_at is None else {}
        document = {**_UNKNOWN, "name": r.parsed.metadata.name, "phase": "Running", "location": location, **started}
        return Answer(BackupState.read(document))


def _made(report: dict[str, Any] | None, location: str, message: str) -> Answer[BackupState]:
    """Return the answer of a Job that has succeeded."""
    if report is None:
        return Answer(reason="JobRunning", message=f"{message}; its pod has not reported its result yet")
    phase = "Failed" if report.get("problem") else "Completed"
    return Answer(BackupState.read({**_UNKNOWN, "name": "", "phase": phase, **report, "location": location}))


def _pods(r: Reconciliation[SwarmMemoryBackup]) -> list[Object]:
    """Return the pods that work for the pass's backup, the newest first."""
    uid = r.obj["metadata"]["uid"]
    found = [
        pod
        for pod in r.client.list(kinds.POD)
        if (pod["metadata"].get("annotations") or {}).get(labels.BACKUP_UID) == uid
    ]
    return sorted(found, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)


def _report(pod: Object) -> dict[str, Any] | None:
    """Return what a pod that has ended reports: a manifest or a problem. None if it has not ended."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended is None:
            continue
        message = (ended.get("message") or "").strip()
        try:
            document = json.loads(message)
            if isinstance(document, dict):
                BackupState.read({**_UNKNOWN, "name": "", "phase": "", "location": "", **document})
                return document
        except (KeyError, TypeError, ValueError):
            pass  # the end of its log: it was killed, or could not start
        if ended.get("exitCode") != 0:
            said = message.rpartition("\n")[2] or f"exit code {ended.get('exitCode')}"
            return {"problem": {"code": "backup-failed", "detail": f"{ended.get('reason') or 'Error'}: {said}"}}
    return None
