"""Why a StatefulSet or a Job has no pod. A refusal (quota, LimitRange, PodSecurity, webhook) is in its events only."""

from __future__ import annotations

from typing import Any

from swarm_operator.controllers.common.child_events import ChildEvents
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, failed
from swarm_operator.runtime.resource import Object, Resource


class PodCreation:
    """Reports why the controller of a workload cannot create a pod.

    Args:
        workload: kind of the workload.
        controller: name of its controller in Kubernetes.
        condition: type of the condition that waits for the pod.
    """

    def __init__(self, workload: Resource, controller: str, *, condition: str) -> None:
        self._events = ChildEvents(workload, controller)
        self._condition = condition

    async def refusal(self, r: Reconciliation[Any], workload: Object) -> Outcome | None:
        """Return the outcome FailedCreate of a workload whose pod is refused; None if none is known to be."""
        event = await self._events.newest(r, workload, condition=self._condition)
        if event is None or event["reason"] != "FailedCreate":
            return None
        return failed("FailedCreate", event.get("note", ""))
