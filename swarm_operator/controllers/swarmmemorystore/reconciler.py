"""SwarmMemoryStoreReconciler: makes the cluster match a SwarmMemoryStore, and its status match what is there."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers import kinds, labels, refusals
from swarm_operator.controllers.children import Children, NameTakenError
from swarm_operator.controllers.status import Conditions, write_status
from swarm_operator.controllers.swarmmemorystore import coverage, network, storage, tokens, workload
from swarm_operator.controllers.swarmmemorystore.observation import Observation, Observer
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import ConflictError, NotFoundError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Key, Object, key_of, owner_reference


@dataclass(slots=True)
class SwarmMemoryStoreReconciler:
    """See the module's docstring."""

    cache: Cache
    recorder: EventRecorder
    observer: Observer
    """Asks the memory service for its numbers."""
    image: str
    """The memory service's image, where a store names no version."""
    status_interval: float = 30.0
    """Seconds between two looks at a store that is ready, give or take a tenth."""
    waiting_interval: float = 5.0
    """Seconds between two looks at one that is not, or that does not tell its numbers; changes of the pod are noticed
    at once all the same."""
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)

    def set_up(self, controller: Controller) -> None:
        """Watch stores and what they own."""
        store = kinds.SWARM_MEMORY_STORE
        controller.watch(store, predicate=handlers.asked_change)
        for owned in (kinds.STATEFUL_SET, kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM):
            controller.watch(owned, handlers.controller_key(store), label_selector=labels.MANAGED)
        controller.watch(kinds.POD, handlers.label_key(labels.STORE), label_selector=labels.MANAGED)

    async def reconcile(self, key: Key) -> Result:
        """One pass. See runtime.controller.Reconciler."""
        obj = self.cache.get(kinds.SWARM_MEMORY_STORE, key)
        # What a deleted store owned goes by its owner references, so there is nothing to clean up.
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return Result()
        conditions = Conditions(obj, self.clock)
        try:
            store = SwarmMemoryStore.model_validate(obj)
            claim, stateful_set, token = await self._ensure_children(store, obj)
        except refusals.REFUSALS as error:
            return await refusals.report(self.cache, self.recorder, kinds.SWARM_MEMORY_STORE, obj, conditions, error)
        self._judge_storage(claim, conditions)
        self._judge_coverage(store, conditions)
        available = workload.availability(stateful_set, self._pods(stateful_set), now=self.clock.now())
        conditions.set("Ready", holds=available.ready, reason=available.reason, message=available.message)
        observation = await self.observer.observe(store, token) if available.ready else Observation()
        await self._write_status(obj, store, conditions, observation)
        interval = self.status_interval if observation.stats else self.waiting_interval
        return Result(requeue_after=interval * self.rng.uniform(0.9, 1.1))

    async def _ensure_children(self, store: SwarmMemoryStore, obj: Object) -> tuple[Object, Object, str | None]:
        children = Children(self.cache, self.recorder)
        claim = await children.ensure(obj, kinds.PERSISTENT_VOLUME_CLAIM, storage.data_claim(store))
        token = await self._ensure_tokens(store, obj)
        for service in (network.service(store), network.headless_service(store)):
            await children.ensure(obj, kinds.SERVICE, service)
        image = workload.image_of(store, self.image)
        stateful_set = await children.ensure(obj, kinds.STATEFUL_SET, workload.stateful_set(store, image=image))
        return claim, stateful_set, token

    async def _ensure_tokens(self, store: SwarmMemoryStore, obj: Object) -> str | None:
        """The client token. Secrets are read one by one: to watch them, we would need the right to list them all."""
        client, namespace, name = self.cache.client, store.metadata.namespace, tokens.secret_name(store)
        try:
            secret = await client.get(kinds.SECRET, namespace, name)
        except NotFoundError:
            wanted = tokens.new_secret(store)
            wanted["metadata"] |= {"namespace": namespace, "ownerReferences": [owner_reference(obj)]}
            try:
                secret = await client.create(kinds.SECRET, wanted, field_manager=labels.FIELD_MANAGER)
            except ConflictError:
                secret = await client.get(kinds.SECRET, namespace, name)
            else:
                self.recorder.event(obj, "Normal", "Created", f"created Secret {name}", action="Create")
        references = secret["metadata"].get("ownerReferences") or ()
        if all(reference["uid"] != store.metadata.uid for reference in references):
            raise NameTakenError(kinds.SECRET, name)
        return tokens.token_of(secret)

    def _pods(self, stateful_set: Object) -> list[Object]:
        # The StatefulSet controller names the one pod of a set so.
        namespace, name = key_of(stateful_set)
        pod = self.cache.get(kinds.POD, Key(namespace, f"{name}-0"))
        return [pod] if pod else []

    @staticmethod
    def _judge_storage(claim: Object, conditions: Conditions) -> None:
        name = claim["metadata"]["name"]
        if claim["metadata"].get("deletionTimestamp"):
            message = f"PersistentVolumeClaim {name} is being deleted; the pod keeps it until then"
            conditions.set("StorageReady", holds=False, reason="VolumeTerminating", message=message)
        elif storage.is_bound(claim):
            conditions.set("StorageReady", holds=True, reason="Bound", message=f"PersistentVolumeClaim {name} is bound")
        else:
            message = f"PersistentVolumeClaim {name} has no volume yet"
            conditions.set("StorageReady", holds=False, reason="WaitingForVolume", message=message)

    @staticmethod
    def _judge_coverage(store: SwarmMemoryStore, conditions: Conditions) -> None:
        fields = coverage.not_implemented(store)
        if fields:
            message = f"this release does not carry out yet: {', '.join(fields)}"
            conditions.set("Degraded", holds=True, reason="NotImplemented", message=message)
        else:
            conditions.set("Degraded", holds=False, reason="AsExpected")

    async def _write_status(
        self, obj: Object, store: SwarmMemoryStore, conditions: Conditions, observation: Observation
    ) -> None:
        ready = conditions.get("Ready")["status"] == "True"
        waiting = conditions.get("Ready")["reason"] == "WaitingForPod"
        status = {
            "phase": "Ready" if ready else "Initializing" if waiting else "Error",
            "storageReady": conditions.get("StorageReady")["status"] == "True",
            "endpoints": network.endpoints(store),
            **observation.to_status(),
        }
        await write_status(self.cache, self.recorder, kinds.SWARM_MEMORY_STORE, obj, status, conditions)
