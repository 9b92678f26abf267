"""Step that runs the pod of a store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.pod_creation import PodCreation
from swarm_operator.controllers.common.pod_template import PodTemplateError
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.auth import Auth
from swarm_operator.controllers.swarmmemorystore.backups.destination import with_backups
from swarm_operator.controllers.swarmmemorystore.backups.volume import mounted_destination
from swarm_operator.controllers.swarmmemorystore.settings import LiveSettings
from swarm_operator.controllers.swarmmemorystore.storage import Storage
from swarm_operator.controllers.swarmmemorystore.workload import customisation, rollback, rollout, upgrade
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_pod_template
from swarm_operator.controllers.swarmmemorystore.workload.memory import with_present_memory
from swarm_operator.controllers.swarmmemorystore.workload.restore import Restore
from swarm_operator.controllers.swarmmemorystore.workload.rollback import Attempt
from swarm_operator.controllers.swarmmemorystore.workload.serving import running_workload
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of, stateful_set
from swarm_operator.controllers.swarmmemorystore.workload.turns import WAIT_INTERVAL, Turns
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.errors import ApiError, BadRequestError, InvalidError
from swarm_operator.runtime.resource import Key, Object, key_of

_UNEXPLAINED = frozenset({"WaitingForPod", "Unschedulable"})
"""Reasons of a pod that waits for its volume, which do not name the cause."""

_NOT_TYPED = "typed patch object"
"""Part of the API server's message, with status 500, about a field that it does not know or that has a wrong type."""
_REFUSED_INTERVAL = 60.0
"""Seconds until a refused podTemplate is tried again: an admission webhook may have changed its mind."""

_MARGIN = 120.0
"""Seconds that a turn lasts longer than a pod may take: the former pod ends in them."""
_NAMED = 3
"""Number of other stores that a message names."""


@dataclass(frozen=True, slots=True)
class Workload(Step[SwarmMemoryStore]):
    """Ensure the StatefulSet. Its pod must use our volume, tokens and settings, and never objects that are not ours.

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

    turns: Turns = field(default_factory=lambda: Turns(1))
    """Order in which stores have their pods replaced."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        image = image_of(r.parsed, self.image)
        wanted = stateful_set(r.parsed, image=image, pull_secrets=self.pull_secrets)
        if destination := mounted_destination(r):
            wanted = with_backups(wanted, destination)
        wanted = with_present_memory(wanted, r.client.get(kinds.STATEFUL_SET, key_of(r.obj)))
        r.status["image"] = r.parsed.status.image
        delays: list[float] = []
        live = await self._ensure(r, wanted, image, delays)
        if isinstance(live, Outcome):
            return live
        pod = _pod(r)
        if r.parsed.spec.hibernated:
            self.turns.end(key_of(r.obj))
            return _hibernation(r, pod)
        outcome = availability(live, [pod] if pod else [], now=r.clock.now())
        if outcome.is_done and (not rollout.waits_for_deletion(live) or (pod and rollout.is_newest(live, pod))):
            r.status["image"] = rollout.image_of_template(live["spec"]["template"])
        if pod is None and not outcome.is_done:
            missing = waiting("WaitingForPod", "the memory service's pod does not exist yet")
            outcome = await self.creation.refusal(r, live) or missing
        storage = r.outcomes[Storage]
        if outcome.reason in _UNEXPLAINED and storage.reason == "StorageClassMissing":
            outcome = storage
        soonest = min((delay for delay in (*delays, outcome.requeue_after) if delay), default=0.0)
        return dataclasses.replace(outcome, requeue_after=soonest)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.settled.pop(key, None)
        self.turns.end(key)

    async def _ensure(
        self, r: Reconciliation[SwarmMemoryStore], wanted: Object, image: str, delays: list[float]
    ) -> Object | Outcome:
        """Return the StatefulSet, or the outcome of a store that has none because its podTemplate is refused."""
        r.conditions.remove(upgrade.CONDITION)
        if r.parsed.spec.pod_template is None:
            r.conditions.remove(customisation.CONDITION)
        try:
            wanted = with_pod_template(wanted, r.parsed)
        except PodTemplateError as error:
            return await self._keep(r, wanted, str(error))
        live = running_workload(r.parsed, r.client.cache)
        if live is not None and not r.parsed.spec.hibernated:
            live = await _with_strategy(r, live)
            held = await self._hold(Attempt(r, image, live, _pod(r)), wanted, delays)
            if held is not None:
                return held
        applied = await self._apply(r, wanted)
        if isinstance(applied, dict) and not r.parsed.spec.hibernated:
            applied = await _with_strategy(r, applied)  # of a new StatefulSet
            await self._follow(Attempt(r, image, applied, _pod(r)), delays)
        return applied

    async def _hold(self, attempt: Attempt, wanted: Object, delays: list[float]) -> Object | None:
        """Return the StatefulSet if it is not to get the wanted template now; None to go on.

        It stays as a whole: an older image may not know what else has changed in the template.
        """
        r, live, key = attempt.r, attempt.workload, key_of(attempt.r.obj)
        if rollback.is_refused(attempt):
            self.turns.end(key)
            if not rollback.is_stored(attempt):
                delays.append(rollback.AT_ONCE)
            elif rollout.image_of_template(live["spec"]["template"]) == attempt.image:
                template = await rollback.former_template(attempt, wanted)
                former = {**wanted, "spec": {**wanted["spec"], "template": template}}
                live = await children.ensure(r, kinds.STATEFUL_SET, former, settled=self.settled)
            await rollback.replace_outdated(dataclasses.replace(attempt, workload=live))
            return live
        if not children.differs(r, kinds.STATEFUL_SET, wanted, live, self.settled):
            return None
        runs = rollout.image_of_template(live["spec"]["template"])
        works = availability(live, [attempt.pod] if attempt.pod else [], now=r.clock.now()).is_done
        if works and attempt.image != runs and r.parsed.status.image is None:
            # The status has the former image before it is replaced, since it may have to be put back.
            delays.append(rollback.AT_ONCE)
            return live
        if works and r.parsed.spec.update_strategy == "Rolling" and not self._takes_turn(attempt):
            others = ", ".join(f"{other.namespace}/{other.name}" for other in self.turns.others(key)[:_NAMED])
            message = f"the pod of {others or 'another store'} is being replaced (limit: {self.turns.most})"
            r.set_condition(upgrade.CONDITION, waiting("WaitingForTurn", message))
            delays.append(WAIT_INTERVAL)
            return live
        pending = await upgrade.waits_for(r, attempt.image)
        if pending is None:
            return None
        r.set_condition(upgrade.CONDITION, pending)
        if pending.phase == "Error":
            self.turns.end(key)  # a user has to decide, and other stores need not wait for that
        delays.append(WAIT_INTERVAL)
        return live

    def _takes_turn(self, attempt: Attempt) -> bool:
        """Return whether it is this store's turn to have its pod replaced."""
        r, now = attempt.r, attempt.r.clock.monotonic()
        lasts = rollback.deadline(r.parsed) + _MARGIN
        self.turns.seed(lambda: _under_way(r.client.cache), until=now + lasts)
        return self.turns.take(key_of(r.obj), now, lasts=lasts)

    async def _follow(self, attempt: Attempt, delays: list[float]) -> None:
        """Follow the pod until it is that of the newest template, and ready; then the next store has its turn."""
        r, live, pod = attempt.r, attempt.workload, attempt.pod
        await rollback.replace_outdated(attempt)
        if rollout.waits_for_deletion(live):
            self.turns.end(key_of(r.obj))
            if pod and rollout.is_outdated(live, pod):
                message = f"pod {pod['metadata']['name']} has a former template until it is deleted"
                r.set_condition(upgrade.CONDITION, waiting("WaitingForDeletion", f"{message}: updateStrategy OnDelete"))
        elif not rollout.is_under_way(live):
            self.turns.end(key_of(r.obj))
        elif pod and rollout.is_newest(live, pod):
            left = rollback.deadline(r.parsed) - rollout.age(pod, r.clock.now())
            if left > 0:
                delays.append(left)
            else:
                self.turns.end(key_of(r.obj))
        if left := rollback.report(attempt):
            delays.append(left)

    async def _apply(self, r: Reconciliation[SwarmMemoryStore], wanted: Object) -> Object | Outcome:
        """Return the StatefulSet with the wanted template, or as it was if that is refused."""
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
            self.turns.end(key_of(r.obj))
            return await self._keep(r, wanted, refusals[0].message)
        if r.parsed.spec.pod_template is not None:
            r.set_condition(customisation.CONDITION, done("Applied", "the pod has what spec.podTemplate adds"))
        return live

    async def _keep(self, r: Reconciliation[SwarmMemoryStore], wanted: Object, why: str) -> Object | Outcome:
        """Keep the pod as it is, since the podTemplate is refused; a store may still hibernate."""
        refused = failed("PodTemplateRefused", why, blocks=True, requeue_after=_REFUSED_INTERVAL)
        live = r.client.get(kinds.STATEFUL_SET, key_of(r.obj))
        if live is None or not children.is_ours(r.obj, live, None):
            r.set_condition(customisation.CONDITION, refused)
            return refused
        r.set_condition(customisation.CONDITION, failed(refused.reason, f"the pod stays as it is; {why}"))
        if live["spec"].get("replicas") == wanted["spec"]["replicas"]:
            return live
        kept = {**wanted, "spec": {**wanted["spec"], "template": live["spec"]["template"]}}
        return await children.ensure(r, kinds.STATEFUL_SET, kept)


def _pod(r: Reconciliation[SwarmMemoryStore]) -> Object | None:
    # The StatefulSet controller gives the only pod of a set this name.
    return r.client.get(kinds.POD, Key(r.parsed.metadata.namespace, f"{r.parsed.metadata.name}-0"))


async def _with_strategy(r: Reconciliation[SwarmMemoryStore], live: Object) -> Object:
    """Return the StatefulSet with the strategy that the spec names, which must be there before a new template is.

    It is patched, since OnDelete allows no rollingUpdate, which is a default of the API server. An apply removes only
    fields that were applied.
    """
    waits = r.parsed.spec.update_strategy == "OnDelete"
    if waits == rollout.waits_for_deletion(live):
        return live
    # The API server sets its default strategy if there is none.
    strategy = {"type": "OnDelete", "rollingUpdate": None} if waits else None
    patch = {"metadata": {"uid": live["metadata"]["uid"]}, "spec": {"updateStrategy": strategy}}
    namespace, name = key_of(live)
    return await r.client.merge(kinds.STATEFUL_SET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)


def _under_way(cache: Cache) -> list[Key]:
    """Return the stores whose pods are being replaced."""
    return [
        key_of(workload)
        for workload in cache.list(kinds.STATEFUL_SET)
        if rollout.is_under_way(workload) and not rollout.waits_for_deletion(workload)
    ]


def _is_refusal(error: ApiError) -> bool:
    """Return whether the API server does not take what was applied."""
    return isinstance(error, InvalidError | BadRequestError) or _NOT_TYPED in error.message


def _hibernation(r: Reconciliation[SwarmMemoryStore], pod: Object | None) -> Outcome:
    """Return the outcome of a store that is to have no pod. Reasons: Hibernating or Hibernated."""
    if pod is not None:
        return waiting("Hibernating", f"pod {pod['metadata']['name']} ends")
    r.status["phase"] = "Hibernated"
    return waiting("Hibernated", "spec.hibernated is true: no pod runs, and the data is kept")
