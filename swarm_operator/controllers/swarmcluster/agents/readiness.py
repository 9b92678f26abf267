"""Whether a swarm's agents are ready, and if not, why."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from swarm_operator.controllers.common.pods import crash_loop, pod_problem
from swarm_operator.controllers.common.reconciliation import Outcome, done, failed, waiting
from swarm_operator.runtime.resource import Object

_OVERDUE: Final = 30.0
"""Seconds after the end of a pod's grace period from which its node counts as lost."""
_CHECK_INTERVAL: Final = 10.0
"""Seconds until the next check of agents that are not ready. Some problems count only after a time, and only events,
which are not watched, report a refused pod."""


def readiness(workload: Object, pods: list[Object], count: int, *, now: datetime) -> Outcome:
    """Return the outcome of the agents' StatefulSet and pods.

    Args:
        workload: the StatefulSet.
        pods: the pods of the wanted agents.
        count: number of wanted agents.
        now: the time, for problems that count only when they last.

    Returns:
        Reasons: Available; WaitingForAgents; CrashLooping; NodeGone; or Kubernetes' own reason why a pod does not run,
        such as Unschedulable or ImagePullBackOff. All but the first two name one pod and the number of ready pods.
    """
    ready = ready_agents(workload)
    so_far = f"{ready} of {count} agents are ready"
    for pod in pods:
        if looping := crash_loop(pod, "agent", now=now):
            return _of_one(looping, so_far)
    status = workload.get("status") or {}
    current = status.get("observedGeneration") == workload["metadata"].get("generation")
    if current and ready >= count and status.get("currentRevision") == status.get("updateRevision"):
        return done("Available", f"{count} agents are ready" if count else "no agents are asked for")
    for pod in pods:
        if lost := _lost(pod, now):
            return _of_one(lost, so_far)
        if problem := pod_problem(pod, now=now):
            return _of_one(failed(*problem), so_far)
    return waiting("WaitingForAgents", so_far, requeue_after=_CHECK_INTERVAL)


def ready_agents(workload: Object) -> int:
    """Return the number of agents that are ready."""
    return (workload.get("status") or {}).get("readyReplicas") or 0


def total_agents(workload: Object) -> int:
    """Return the number of agents that there are, those that start or end included."""
    return (workload.get("status") or {}).get("replicas") or 0


def _of_one(problem: Outcome, so_far: str) -> Outcome:
    """Return the outcome of all agents when one has a problem."""
    return replace(
        problem, message=f"{problem.message}; {so_far}", requeue_after=problem.requeue_after or _CHECK_INTERVAL
    )


def _lost(pod: Object, now: datetime) -> Outcome | None:
    """Return the outcome of a pod whose node does not report its end, as a lost node never does."""
    metadata = pod["metadata"]
    if not metadata.get("deletionTimestamp"):
        return None
    # The API server sets the time at which the grace period ends.
    ends = datetime.fromisoformat(metadata["deletionTimestamp"])
    if now < ends + timedelta(seconds=_OVERDUE):
        return None
    node = (pod.get("spec") or {}).get("nodeName", "")
    message = (
        f"pod {metadata['name']} should have ended by {metadata['deletionTimestamp']}, and node {node} has not"
        " reported its end; if the node is lost, delete the Node or force the pod's deletion"
    )
    return failed("NodeGone", message)
