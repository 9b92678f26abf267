"""Problems of a pod and ends of its containers, from the pod's status alone."""

from __future__ import annotations

from datetime import datetime

from swarm_operator.controllers.common.reconciliation import Outcome, failed
from swarm_operator.runtime.resource import Object

_SCHEDULING_GRACE = 15.0
"""Seconds that a pod may be unschedulable before that counts as a problem."""

_CRASHES = 2
"""Number of restarts from which a container that ends counts as one that ends again and again."""
_CRASH_MEMORY = 600.0
"""Seconds after which an end of the container is forgotten: the kubelet's back-off forgets it then, too."""
_STABLE = 60.0
"""Seconds that a container must run after such an end before its readiness counts again."""
_LONGEST = 300
"""Maximum length of the part of a container's last line, in characters."""


def crash_loop(pod: Object, program: str, *, now: datetime) -> Outcome | None:
    """Return the outcome of a pod whose container ends again and again; None for any other pod.

    The outcome is the same from crash to crash, also while the container runs in between. So the status does not change
    at each crash.

    Args:
        pod: the pod.
        program: what runs in it, for the message: "service" or "agent".
        now: the time.
    """
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        ended = last_end(container)
        backs_off = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
        if ended is None or (container.get("restartCount", 0) < _CRASHES and not backs_off):
            continue
        left = 0.0
        if running := state.get("running"):
            if _age(ended.get("finishedAt"), now) > _CRASH_MEMORY:
                continue
            left = _STABLE - _age(running.get("startedAt"), now)
            if left <= 0:
                continue
        message = f"pod {name}: the {program} ends again and again, the last time with {how_it_ended(ended)}"
        return failed("CrashLooping", message, requeue_after=left)
    return None


def is_ready(pod: Object) -> bool:
    """Return whether a pod passes its readiness probe."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(found["type"] == "Ready" and found["status"] == "True" for found in conditions)


def last_end(container: Object) -> Object | None:
    """Return the state in which a container ended the last time, of its status; None if it never has."""
    ended: Object | None = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
        "terminated"
    )
    return ended


def last_line(ended: Object) -> str:
    """Return the last line that a container logged before it ended."""
    return str(ended.get("message") or "").strip().rpartition("\n")[2][:_LONGEST]


def how_it_ended(ended: Object) -> str:
    """Return reason, exit code and last line of a container that has ended."""
    last = last_line(ended)
    return f"{ended.get('reason') or 'Error'}, exit code {ended.get('exitCode')}{last and f': {last}'}"


def _age(moment: str | None, now: datetime) -> float:
    """Return the seconds since a moment; endless if it is not known."""
    return (now - datetime.fromisoformat(moment)).total_seconds() if moment else float("inf")


def pod_problem(pod: Object, *, now: datetime) -> tuple[str, str] | None:
    """Return reason and message of what keeps a pod from running, or None."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = (container.get("state") or {}).get("waiting") or {}
        reason = state.get("reason", "")
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return reason, f"pod {name}: {state.get('message') or reason}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            # The scheduler reports the same for a volume that is still being made and for one that never will be.
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            if (now - since).total_seconds() < _SCHEDULING_GRACE:
                continue
            return condition.get("reason") or "Unschedulable", f"pod {name}: {condition.get('message', '')}"
    return None
