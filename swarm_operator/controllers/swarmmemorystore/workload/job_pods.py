"""Problems that keep the pod of a Job from running."""

from __future__ import annotations

from typing import Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.child_events import ChildEvents
from swarm_operator.controllers.common.pod_creation import PodCreation
from swarm_operator.controllers.common.pods import pod_problem
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation
from swarm_operator.runtime.resource import Object

_MOUNTING: Final = ("kubelet", "attachdetach-controller")
"""Components of Kubernetes that attach and mount a pod's volumes."""
_UNMOUNTED: Final = frozenset({"FailedMount", "FailedAttachVolume"})
"""Reasons of their events: no such Secret; a volume that a pod on another node has."""


class JobPods:
    """Reports what keeps the pod of a store's Job from running.

    Args:
        condition: type of the condition that waits for the Job.
    """

    def __init__(self, *, condition: str) -> None:
        self._condition = condition
        self._creation = PodCreation(kinds.JOB, "job-controller", condition=condition)
        self._mounting = tuple(ChildEvents(kinds.POD, component) for component in _MOUNTING)

    async def refusal(self, r: Reconciliation[SwarmMemoryStore], job: Object) -> Outcome | None:
        """Return the outcome FailedCreate of a Job whose pod is refused; None if none is known to be."""
        return await self._creation.refusal(r, job)

    async def problem(self, r: Reconciliation[SwarmMemoryStore], pod: Object) -> tuple[str, str] | None:
        """Return reason and message of what keeps a pod from running, or None."""
        return pod_problem(pod, now=r.clock.now()) or await self._unmounted(r, pod)

    async def _unmounted(self, r: Reconciliation[SwarmMemoryStore], pod: Object) -> tuple[str, str] | None:
        """Return reason and message of what keeps the volumes from a pod: they are in its events only."""
        containers = (pod.get("status") or {}).get("containerStatuses") or ()
        states = [(container.get("state") or {}).get("waiting") or {} for container in containers]
        if not any(state.get("reason") == "ContainerCreating" for state in states):
            return None
        for events in self._mounting:
            event = await events.newest(r, pod, condition=self._condition)
            if event is not None and event["reason"] in _UNMOUNTED:
                return event["reason"], event.get("note", "")
        return None
