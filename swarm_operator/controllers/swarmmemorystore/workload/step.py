"""Step that runs the pod of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds
from swarm_operator.controllers.common.pod_creation import PodCreation
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, waiting
from swarm_operator.controllers.swarmmemorystore.auth import Auth
from swarm_operator.controllers.swarmmemorystore.backups.destination import with_backups
from swarm_operator.controllers.swarmmemorystore.backups.volume import mounted_destination
from swarm_operator.controllers.swarmmemorystore.settings import LiveSettings
from swarm_operator.controllers.swarmmemorystore.storage import Storage
from swarm_operator.controllers.swarmmemorystore.workload import upgrade
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.controllers.swarmmemorystore.workload.memory import with_present_memory
from swarm_operator.controllers.swarmmemorystore.workload.restore import Restore
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of, stateful_set
from swarm_operator.runtime.resource import Key, Object, key_of

_UNEXPLAINED = frozenset({"WaitingForPod", "Unschedulable"})
"""Reasons of a pod that waits for its volume, which do not name the cause."""


@dataclass(frozen=True, slots=True)
class Workload(Step[SwarmMemoryStore]):
    """Ensure the StatefulSet. Its pod must use a volume, tokens and settings of ours, and never those of somebody else.

    It exists when the data of a store that restores has come.
    """

    condition: ClassVar = "Ready"
    needs: ClassVar = (Storage, Auth, LiveSettings, Restore)
    owns: ClassVar = (kinds.STATEFUL_SET,)

    image: str
    """The memory service's image, for stores that name no version."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets with which the image is pulled, in each store's namespace."""
    creation: PodCreation = field(
        default_factory=lambda: PodCreation(kinds.STATEFUL_SET, "statefulset-controller", condition="Ready")
    )

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        image = image_of(r.parsed, self.image)
        wanted = stateful_set(r.parsed, image=image, pull_secrets=self.pull_secrets)
        if destination := mounted_destination(r):
            wanted = with_backups(wanted, destination)
        wanted = with_present_memory(wanted, r.cache.get(kinds.STATEFUL_SET, key_of(r.obj)))
        # As a whole: an older image may not know what else has changed in the template.
        live = await upgrade.keeps_waiting(r, image) or await children.ensure(r, kinds.STATEFUL_SET, wanted)
        namespace, name = key_of(live)
        # The StatefulSet controller gives the only pod of a set this name.
        pod = r.cache.get(kinds.POD, Key(namespace, f"{name}-0"))
        if r.parsed.spec.hibernated:
            return _hibernation(r, pod)
        outcome = availability(live, [pod] if pod else [], now=r.clock.now())
        if pod is None and not outcome.is_done:
            missing = waiting("WaitingForPod", "the memory service's pod does not exist yet")
            outcome = await self.creation.refusal(r, live) or missing
        storage = r.outcomes[Storage]
        return storage if outcome.reason in _UNEXPLAINED and storage.reason == "StorageClassMissing" else outcome


def _hibernation(r: Reconciliation[SwarmMemoryStore], pod: Object | None) -> Outcome:
    """Return the outcome of a store that is to have no pod. Reasons: Hibernating or Hibernated."""
    if pod is not None:
        return waiting("Hibernating", f"pod {pod['metadata']['name']} ends")
    r.status["phase"] = "Hibernated"
    return waiting("Hibernated", "spec.hibernated is true: no pod runs, and the data is kept")
