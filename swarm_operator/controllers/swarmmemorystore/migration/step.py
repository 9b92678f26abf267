"""Step that migrates legacy memory into a store, once, when its pod serves.

A Job does it: see job. Existing data of the store stays. So a Job after one that was killed changes nothing that the
former Job has written. The status has the time of its completion. A failed migration is retried when an annotation of
the store changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.swarmmemorystore import MigrationStatus
from swarm_operator.controllers.common import children, jobs, kinds, labels
from swarm_operator.controllers.common.errors import NameTakenError, ends_pass, explain
from swarm_operator.controllers.common.pods import how_it_ended, last_end
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.auth import Auth
from swarm_operator.controllers.swarmmemorystore.migration.job import (
    KINDS,
    asks_by_tls,
    counts,
    job_name,
    location,
    migration_job,
    source_of,
    summary,
)
from swarm_operator.controllers.swarmmemorystore.network import ClientService
from swarm_operator.controllers.swarmmemorystore.tls.names import serves_tls
from swarm_operator.controllers.swarmmemorystore.workload.job_pods import JobPods
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.runtime.errors import ApiError, ConflictError, NotFoundError
from swarm_operator.runtime.resource import Object

_CONDITION: Final = "Migrated"
_CHECK_INTERVAL: Final = 10.0
"""Seconds between two checks of a waiting migration."""
_REPORT_GRACE: Final = 60.0
"""Seconds after the end of a Job for which its pod is waited for, whose watch may be behind that of Jobs."""
_REFUSED_INTERVAL: Final = 60.0
"""Seconds until a Job that the server refused is tried again."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Migration(Step[SwarmMemoryStore]):
    """Migrate the legacy claim that the spec names, once. It never keeps the store from serving."""

    needs: ClassVar = (Auth, ClientService, Workload)
    owns: ClassVar = (kinds.JOB,)

    image: str
    """The memory service's image, for stores that name no version."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets with which the image is pulled, in each store's namespace."""
    pods: JobPods = field(default_factory=lambda: JobPods(condition=_CONDITION))
    """Problems that keep the Job's pod from running."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        r.conditions.remove("Degraded")  # stores of releases without migrations have it
        known = r.parsed.status
        if known.migration_completed:
            found = known.migration or MigrationStatus()
            r.status |= {"migrationCompleted": True, "migrationTime": known.migration_time}
            return self._report(r, _completed(r, found.model_dump(by_alias=True, exclude_none=True)))
        try:
            return self._report(r, await self._migrate(r))
        except ConflictError:
            raise  # the cache is behind
        except (ApiError, NameTakenError) as error:
            if isinstance(error, ApiError) and ends_pass(error):
                raise
            return self._report(r, failed(*explain(error), requeue_after=_REFUSED_INTERVAL))

    def _report(self, r: Reconciliation[SwarmMemoryStore], outcome: Outcome | None) -> Outcome:
        """Set the condition and the phase. The outcome None is that of a store without a migration."""
        if outcome is None:
            r.conditions.remove(_CONDITION)
            return done()
        r.set_condition(_CONDITION, outcome)
        if outcome.is_done:
            return done()
        r.status["migrationCompleted"] = False
        if r.outcomes[Workload].is_done:
            r.status["phase"] = "Error" if outcome.phase == "Error" else "Migrating"
        return done(requeue_after=0.0 if outcome.reason == "Failed" else outcome.requeue_after or _CHECK_INTERVAL)

    async def _migrate(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome | None:
        spec = r.parsed.spec
        name = job_name(r.parsed) if spec.migrate_from_legacy else None
        ours = {job["metadata"]["name"]: job for job in r.client.owned(kinds.JOB, r.obj) if source_of(job)}
        wanted = ours.pop(name, None) if name else None
        for job in ours.values():  # of another claim, or of an earlier try
            await children.delete(r, kinds.JOB, job)
        if name is None:
            return None
        secure = serves_tls(r.parsed, r.client.cache)
        if wanted is not None and jobs.outcome(wanted).reason == "JobRunning" and asks_by_tls(wanted) != secure:
            await children.delete(r, kinds.JOB, wanted)
            return waiting("WaitingForPod", "TLS was switched on or off: the migration begins again by the new address")
        if wanted is not None and not (spec.hibernated and jobs.outcome(wanted).reason == "JobRunning"):
            return await self._progress(r, wanted)
        if _known_job(r) == name:
            return _stored(r, name)
        if spec.hibernated:
            if wanted is not None:
                await children.delete(r, kinds.JOB, wanted)
            return waiting("Hibernated", "the migration starts again when the store wakes")
        if not r.outcomes[Workload].is_done:
            return waiting("WaitingForPod", "the migration begins when the store's pod is ready")
        if missing := await _missing(r):
            return failed("LegacyClaimMissing", missing)
        made = migration_job(r.parsed, secure=secure, image=self.image, pull_secrets=self.pull_secrets)
        return await self._progress(r, await children.create_once(r, kinds.JOB, made))

    async def _progress(self, r: Reconciliation[SwarmMemoryStore], job: Object) -> Outcome:
        name, claim, ended = job["metadata"]["name"], f"PersistentVolumeClaim {source_of(job)}", jobs.outcome(job)
        pods = sorted(
            r.client.owned(kinds.POD, job), key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True
        )
        if ended.is_done:
            return _succeeded(r, job, pods)
        last = next(filter(None, map(_last_failure, pods)), None)
        if ended.phase == "Error":
            if last is None and _known_job(r) == name:
                return _stored(r, name)
            r.status["migration"] = {"job": name}
            hint = f"change the annotation {labels.RETRY_MIGRATION} of the store to try again"
            return failed("Failed", f"{claim}: {last or ended.message}; {hint}")
        at_work = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in _ENDED]
        for pod in at_work:
            if problem := await self.pods.problem(r, pod):
                return failed(problem[0], f"{claim}: {problem[1]}")
        if last is not None:
            return waiting("AttemptFailed", f"{claim}: {last}; Job {name} tries again")
        migrating = waiting("Migrating", f"Job {name} migrates {claim}")
        return (None if at_work else await self.pods.refusal(r, job)) or migrating


def _succeeded(r: Reconciliation[SwarmMemoryStore], job: Object, pods: list[Object]) -> Outcome:
    """Return the outcome of a Job that has succeeded, and put its numbers into the status."""
    at = job["status"]["completionTime"]
    found = next(filter(None, (summary(ended) for pod in pods if (ended := _end(pod)))), None)
    if found is None and (r.clock.now() - datetime.fromisoformat(at)).total_seconds() < _REPORT_GRACE:
        return waiting("Migrating", f"Job {job['metadata']['name']} has succeeded; its pod has not reported yet")
    r.status |= {"migrationCompleted": True, "migrationTime": at}
    numbers = counts(found) if found else {}
    return _completed(r, {"job": job["metadata"]["name"], "location": location(r.parsed), **numbers})


def _completed(r: Reconciliation[SwarmMemoryStore], found: dict[str, Any]) -> Outcome:
    """Return the outcome of a migration whose numbers are those of status.migration."""
    r.status["migration"] = found
    numbers = ", ".join(f"{found[name]} {name}" for name in (*KINDS, "kept", "quarantined") if name in found)
    return done("Completed", f"{numbers or 'the counts are unknown'}; the report is at {found.get('location')}")


def _end(pod: Object) -> Object | None:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return next(filter(None, map(last_end, containers)), None)


def _last_failure(pod: Object) -> str | None:
    """Return the error of a failed pod; None if the pod has not failed."""
    status = pod.get("status") or {}
    ended = _end(pod)
    if ended is not None and ended.get("exitCode"):
        found = summary(ended)
        return str(found["problem"]) if found and found.get("problem") else how_it_ended(ended)
    if status.get("phase") == "Failed":  # evicted
        return f"{status.get('reason') or 'Failed'}: {status.get('message') or 'the pod failed'}"
    return None


def _known_job(r: Reconciliation[SwarmMemoryStore]) -> str | None:
    """Return the name of the Job that is known to have failed."""
    known = r.parsed.status.migration
    return known.job if known else None


def _stored(r: Reconciliation[SwarmMemoryStore], name: str) -> Outcome:
    """Return the outcome of a failed Job whose pods are deleted, from the condition."""
    r.status["migration"] = {"job": name}
    found = {c.type: c for c in r.parsed.status.conditions}.get(_CONDITION)
    return failed("Failed", found.message if found and found.reason == "Failed" else f"Job {name} failed")


async def _missing(r: Reconciliation[SwarmMemoryStore]) -> str | None:
    """Return what keeps the legacy claim from being mounted, or None. It is not ours, so it is not in the cache."""
    name = str(r.parsed.spec.legacy_data_pvc)
    try:
        claim = await r.client.server.get(kinds.PERSISTENT_VOLUME_CLAIM, r.parsed.metadata.namespace, name)
    except NotFoundError:
        return f"PersistentVolumeClaim {name} does not exist: create it, or name another in spec.legacyDataPVC"
    if claim["metadata"].get("deletionTimestamp"):
        return f"PersistentVolumeClaim {name} is being deleted: a pod that uses it no longer may mount it now"
    return None
