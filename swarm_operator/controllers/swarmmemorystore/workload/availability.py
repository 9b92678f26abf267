"""Whether the pod of a StatefulSet is ready, and if not, why."""

from __future__ import annotations

from datetime import datetime

from swarm_operator.controllers.common.reconciliation import Outcome, done, failed, waiting
from swarm_operator.runtime.resource import Object

_SCHEDULING_GRACE = 15.0
"""Seconds that a pod may be unschedulable before that counts as a problem."""


def availability(workload: Object, pods: list[Object], *, now: datetime) -> Outcome:
    """Return the outcome of a StatefulSet and its pods.

    Done means that the pod of the newest template passes its readiness probe, which requests the service's /readyz.

    Args:
        workload: the StatefulSet.
        pods: its pods.
        now: the time, for problems that count only when they last.

    Returns:
        Reasons: Available; WaitingForPod; or Kubernetes' own reason why the pod does not run, such as Unschedulable,
        ImagePullBackOff or CrashLoopBackOff.
    """
    status = workload.get("status") or {}
    current = status.get("observedGeneration") == workload["metadata"].get("generation")
    if current and status.get("readyReplicas") and status.get("currentRevision") == status.get("updateRevision"):
        return done("Available", "the memory service answers")
    for pod in pods:
        problem = _problem(pod, now)
        if problem:
            return failed(*problem)
    return waiting("WaitingForPod", "the memory service's pod is not ready yet")


def _problem(pod: Object, now: datetime) -> tuple[str, str] | None:
    """Return reason and message of what keeps a pod from running."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = (container.get("state") or {}).get("waiting") or {}
        reason = state.get("reason", "")
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return reason, f"pod {name}: {state.get('message') or reason}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            # The scheduler cannot tell a volume that is still being made from one that will never be.
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            if (now - since).total_seconds() < _SCHEDULING_GRACE:
                continue
            return condition.get("reason") or "Unschedulable", f"pod {name}: {condition.get('message', '')}"
    return None
