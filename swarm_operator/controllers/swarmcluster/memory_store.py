"""The SwarmMemoryStore that a SwarmCluster asks for."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.runtime.resource import Object


class MemoryStore(Step[SwarmCluster]):
    """Ensure the store and report its state. Disabling it keeps an existing store and its data."""

    condition = "Ready"
    reports = ("MemoryReady",)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        enabled = r.parsed.spec.memory.enable_memory_store
        if enabled:
            store = await children.ensure(r, kinds.SWARM_MEMORY_STORE, memory_store(r.parsed))
            outcome = store_outcome(store)
        else:
            store = next(iter(r.cache.owned(kinds.SWARM_MEMORY_STORE, r.obj)), {})
            message = f"SwarmMemoryStore {r.parsed.store_name} is kept with its data and no longer kept in step"
            if not store:
                message = "the swarm has no memory store; set spec.memory.enableMemoryStore to true to make one"
            outcome = done("Disabled", message)
        its_status = store.get("status") or {}
        r.status["memoryStatus"] = its_status.get("phase") if store else "Disabled"
        r.status["storageCapacity"] = its_status.get("storageCapacity")
        status = enabled and outcome.is_done
        r.conditions.set("MemoryReady", status=status, reason=outcome.reason, message=outcome.message)
        return outcome


def memory_store(cluster: SwarmCluster) -> Object:
    """Return the store with the settings that the cluster states; the other settings keep their own defaults."""
    memory = cluster.spec.memory
    tuning = memory.sqlite_config.model_dump(by_alias=True, exclude_none=True) if memory.sqlite_config else {}
    source = memory.restore_from.model_dump(by_alias=True, exclude_none=True) if memory.restore_from else None
    legacy = {"migrateFromLegacy": True, "legacyDataPVC": memory.legacy_data_pvc}
    return {
        "metadata": {
            "name": cluster.store_name,
            "labels": {labels.MANAGED_BY: labels.FIELD_MANAGER, labels.CLUSTER: cluster.metadata.name},
        },
        "spec": {
            "type": memory.type,
            "swarmId": cluster.metadata.name,
            "swarmClusterRef": cluster.metadata.name,
            "storageSize": memory.size,
            **({"deletionPolicy": memory.deletion_policy} if memory.deletion_policy else {}),
            **({"restoreFrom": source} if source else {}),
            **(legacy if memory.migrate_from_legacy else {}),
            **tuning,
        },
    }


def store_outcome(store: Object) -> Outcome:
    """Return the outcome of a store: its own condition Ready.

    Reason WaitingForStore if the store has no status yet, or one of an older spec.
    """
    name, status = store["metadata"]["name"], store.get("status") or {}
    ready = {c["type"]: c for c in status.get("conditions") or ()}.get("Ready")
    if ready is None or status.get("observedGeneration") != store["metadata"]["generation"]:
        return waiting("WaitingForStore", f"SwarmMemoryStore {name} has no status of its newest spec yet")
    result = done if ready["status"] == "True" else failed if status.get("phase") == "Error" else waiting
    return result(ready["reason"], f"SwarmMemoryStore {name}: {ready['message']}")
