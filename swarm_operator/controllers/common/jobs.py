"""Jobs: run a pod to completion, once, and report how far it is."""

from __future__ import annotations

from typing import Any

from swarm_operator.controllers.common import children, kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, done, failed, waiting
from swarm_operator.runtime.resource import Object


async def ensure(r: Reconciliation[Any], wanted: Object) -> Outcome:
    """Create a Job if it does not exist, and return how far it is.

    A Job is never changed. A deleted Job runs again, also after `ttlSecondsAfterFinished`: store the result in the
    status, and do not ensure a Job that has finished.

    Args:
        r: the pass; its object becomes the Job's controller. Name `kinds.JOB` in `Step.owns`, so that a finished Job
            enqueues its owner.
        wanted: the Job, with metadata.name.

    Raises:
        NameTakenError: an object that is not ours has the name.
        ApiError: the server refused.
    """
    return outcome(await children.create_once(r, kinds.JOB, wanted))


def outcome(job: Object) -> Outcome:
    """Return the outcome of a Job by its conditions.

    Reasons: JobSucceeded; JobRunning, which blocks; or the Job's own reason of failure, such as BackoffLimitExceeded
    or DeadlineExceeded, which blocks too.
    """
    name = job["metadata"]["name"]
    holding = {c["type"]: c for c in (job.get("status") or {}).get("conditions") or () if c["status"] == "True"}
    if "Complete" in holding:
        return done("JobSucceeded", f"Job {name} has succeeded")
    # FailureTarget is set earlier, while the pods are still being terminated.
    condition = holding.get("Failed")
    if condition:
        message = condition.get("message") or condition.get("reason") or "failed"
        return failed(condition.get("reason") or "JobFailed", f"Job {name}: {message}", blocks=True)
    return waiting("JobRunning", f"Job {name} is running", blocks=True)
