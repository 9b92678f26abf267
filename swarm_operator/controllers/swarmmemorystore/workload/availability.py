"""Whether the pod of a StatefulSet is ready, and if not, why."""

from __future__ import annotations

from datetime import datetime

from swarm_operator.controllers.common.pods import crash_loop, pod_problem
from swarm_operator.controllers.common.reconciliation import Outcome, done, failed, waiting
from swarm_operator.runtime.resource import Object


def availability(workload: Object, pods: list[Object], *, now: datetime) -> Outcome:
    """Return the outcome of a StatefulSet and its pods.

    Done means that the pod of the newest template passes its readiness probe, which requests the service's /readyz.

    Args:
        workload: the StatefulSet.
        pods: its pods.
        now: the time, for problems that count only when they last.

    Returns:
        Reasons: Available; WaitingForPod; CrashLooping; or Kubernetes' own reason why the pod does not run, such as
        Unschedulable or ImagePullBackOff.
    """
    for pod in pods:
        if looping := crash_loop(pod, "service", now=now):
            return looping
    status = workload.get("status") or {}
    current = status.get("observedGeneration") == workload["metadata"].get("generation")
    # With OnDelete a pod of a former template continues to serve.
    waits = ((workload.get("spec") or {}).get("updateStrategy") or {}).get("type") == "OnDelete"
    newest = status.get("currentRevision") == status.get("updateRevision") or waits
    if current and status.get("readyReplicas") and newest:
        return done("Available", "the memory service answers")
    for pod in pods:
        problem = pod_problem(pod, now=now)
        if problem:
            return failed(*problem)
    return waiting("WaitingForPod", "the memory service's pod is not ready yet")
