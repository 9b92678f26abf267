"""Step that runs the pod of a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds
from swarm_operator.controllers.common.pod_creation import PodCreation
from swarm_operator.controllers.common.pod_template import PodTemplateError
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.auth import Auth
from swarm_operator.controllers.swarmmemorystore.backups.destination import with_backups
from swarm_operator.controllers.swarmmemorystore.backups.volume import mounted_destination
from swarm_operator.controllers.swarmmemorystore.settings import LiveSettings
from swarm_operator.controllers.swarmmemorystore.storage import Storage
from swarm_operator.controllers.swarmmemorystore.workload import customisation, upgrade
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_pod_template
from swarm_operator.controllers.swarmmemorystore.workload.memory import with_present_memory
from swarm_operator.controllers.swarmmemorystore.workload.restore import Restore
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of, stateful_set
from swarm_operator.runtime.errors import ApiError, BadRequestError, InvalidError
from swarm_operator.runtime.resource import Key, Object, key_of

_UNEXPLAINED = frozenset({"WaitingForPod", "Unschedulable"})
"""Reasons of a pod that waits for its volume, which do not name the cause."""

_NOT_TYPED = "typed patch object"
"""Part of what the API server says, with status 500, of a field that it does not know or that has another type."""
_REFUSED_INTERVAL = 60.0
"""Seconds until a refused podTemplate is tried again: an admission webhook may have changed its mind."""


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
    settled: children.Settled = field(default_factory=dict)
    """The StatefulSets that were applied so far."""
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
        live = await self._ensure(r, wanted, image)
        if isinstance(live, Outcome):
            return live
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

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.settled.pop(key, None)

    async def _ensure(self, r: Reconciliation[SwarmMemoryStore], wanted: Object, image: str) -> Object | Outcome:
        """Return the StatefulSet, or the outcome of a store that has none because its podTemplate is refused."""
        if r.parsed.spec.pod_template is None:
            r.conditions.remove(customisation.CONDITION)
        try:
            wanted = with_pod_template(wanted, r.parsed)
        except PodTemplateError as error:
            return await self._keep(r, wanted, str(error))
        # As a whole: an older image may not know what else has changed in the template.
        if held := await upgrade.keeps_waiting(r, image):
            return held
        refusals: list[ApiError] = []

        def on_refusal(error: ApiError) -> None:
            if r.parsed.spec.pod_template is not None and _is_refusal(error):
                refusals.append(error)
            else:
                r.record_error(error)

        live: Object | None = None
        try:
            live = await children.ensure(r, kinds.STATEFUL_SET, wanted, on_refusal=on_refusal, settled=self.settled)
        except ApiError as error:  # of its creation
            if r.parsed.spec.pod_template is None or not _is_refusal(error):
                raise
            refusals.append(error)
        if live is None or refusals:
            return await self._keep(r, wanted, refusals[0].message)
        if r.parsed.spec.pod_template is not None:
            r.set_condition(customisation.CONDITION, done("Applied", "the pod has what spec.podTemplate adds"))
        return live

    async def _keep(self, r: Reconciliation[SwarmMemoryStore], wanted: Object, why: str) -> Object | Outcome:
        """Keep the pod as it is, since what the podTemplate adds is refused; a store may still hibernate."""
        refused = failed("PodTemplateRefused", why, blocks=True, requeue_after=_REFUSED_INTERVAL)
        live = r.cache.get(kinds.STATEFUL_SET, key_of(r.obj))
        if live is None or not children.is_ours(r.obj, live, None):
            r.set_condition(customisation.CONDITION, refused)
            return refused
        r.set_condition(customisation.CONDITION, failed(refused.reason, f"the pod stays as it is; {why}"))
        if live["spec"].get("replicas") == wanted["spec"]["replicas"]:
            return live
        kept = {**wanted, "spec": {**wanted["spec"], "template": live["spec"]["template"]}}
        return await children.ensure(r, kinds.STATEFUL_SET, kept)


def _is_refusal(error: ApiError) -> bool:
    """Return whether the API server does not take what was applied."""
    return isinstance(error, InvalidError | BadRequestError) or _NOT_TYPED in error.message


def _hibernation(r: Reconciliation[SwarmMemoryStore], pod: Object | None) -> Outcome:
    """Return the outcome of a store that is to have no pod. Reasons: Hibernating or Hibernated."""
    if pod is not None:
        return waiting("Hibernating", f"pod {pod['metadata']['name']} ends")
    r.status["phase"] = "Hibernated"
    return waiting("Hibernated", "spec.hibernated is true: no pod runs, and the data is kept")
