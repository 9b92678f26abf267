"""Why a StatefulSet has no pod. A refusal (quota, LimitRange, PodSecurity, webhook) is told in its events only."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.child_events import ChildEvents
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, failed, waiting
from swarm_operator.runtime.resource import Object


class PodCreation:
    """Reports what the StatefulSet controller says of a pod that it cannot create."""

    def __init__(self) -> None:
        self._events = ChildEvents(kinds.STATEFUL_SET, "statefulset-controller")

    async def outcome(self, r: Reconciliation[SwarmMemoryStore], workload: Object) -> Outcome:
        """Return the outcome of a StatefulSet without a pod. Reasons: FailedCreate or WaitingForPod."""
        event = await self._events.newest(r, workload, condition="Ready")
        if event is not None and event["reason"] == "FailedCreate":
            return failed("FailedCreate", event.get("note", ""))
        return waiting("WaitingForPod", "the memory service's pod does not exist yet")
