"""SwarmClusterReconciler: gives a SwarmCluster its memory store, and says how that fares."""

from __future__ import annotations

from dataclasses import dataclass, field

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers import kinds, refusals
from swarm_operator.controllers.children import Children
from swarm_operator.controllers.status import Conditions, write_status
from swarm_operator.controllers.swarmcluster.memorystore import memory_store
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Key, Object


@dataclass(slots=True)
class SwarmClusterReconciler:
    """See the module's docstring."""

    cache: Cache
    recorder: EventRecorder
    clock: Clock = field(default_factory=SystemClock)

    def set_up(self, controller: Controller) -> None:
        """Watch clusters and the stores that they own."""
        controller.watch(kinds.SWARM_CLUSTER, predicate=handlers.asked_change)
        controller.watch(kinds.SWARM_MEMORY_STORE, handlers.controller_key(kinds.SWARM_CLUSTER))

    async def reconcile(self, key: Key) -> Result:
        """One pass. See runtime.controller.Reconciler."""
        obj = self.cache.get(kinds.SWARM_CLUSTER, key)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return Result()
        conditions = Conditions(obj, self.clock)
        try:
            cluster = SwarmCluster.model_validate(obj)
            store = await self._ensure_memory_store(cluster, obj)
        except refusals.REFUSALS as error:
            return await refusals.report(self.cache, self.recorder, kinds.SWARM_CLUSTER, obj, conditions, error)
        self._judge_memory(cluster, store, conditions)
        await self._write_status(obj, store, conditions)
        return Result()

    async def _ensure_memory_store(self, cluster: SwarmCluster, obj: Object) -> Object | None:
        if cluster.spec.memory.enable_memory_store:
            children = Children(self.cache, self.recorder)
            return await children.ensure(obj, kinds.SWARM_MEMORY_STORE, memory_store(cluster))
        # One that was made earlier stays: nobody loses a memory by setting a flag.
        owned = self.cache.owned(kinds.SWARM_MEMORY_STORE, obj)
        return owned[0] if owned else None

    @staticmethod
    def _judge_memory(cluster: SwarmCluster, store: Object | None, conditions: Conditions) -> None:
        if not cluster.spec.memory.enable_memory_store:
            message = "the swarm has no memory store: enableMemoryStore is false"
            if store:
                message = f"SwarmMemoryStore {cluster.store_name} is kept with its data and no longer kept in step"
            conditions.set("MemoryReady", holds=False, reason="Disabled", message=message)
            conditions.set("Ready", holds=True, reason="Disabled", message=message)
            return
        theirs = {c["type"]: c for c in ((store or {}).get("status") or {}).get("conditions") or ()}.get("Ready")
        if theirs is None:
            reason, message = "WaitingForStore", f"SwarmMemoryStore {cluster.store_name} has no status yet"
        else:
            reason, message = theirs["reason"], f"SwarmMemoryStore {cluster.store_name}: {theirs['message']}"
        holds = theirs is not None and theirs["status"] == "True"
        for kind in ("MemoryReady", "Ready"):
            conditions.set(kind, holds=holds, reason=reason, message=message)

    async def _write_status(self, obj: Object, store: Object | None, conditions: Conditions) -> None:
        phase = ((store or {}).get("status") or {}).get("phase")
        ready = conditions.get("Ready")["status"] == "True"
        status = {
            "phase": "Ready" if ready else "Error" if phase == "Error" else "Initializing",
            "memoryStatus": phase,
        }
        await write_status(self.cache, self.recorder, kinds.SWARM_CLUSTER, obj, status, conditions)
