"""The SwarmMemoryStores that a SwarmCluster asks for: its memory, and what it shares with the hive mind's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.access import AccessRule
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmcluster.namespaces import SwarmNamespace
from swarm_operator.controllers.swarmcluster.placement import swarm_namespace
from swarm_operator.runtime.resource import Key, Object

_PASSED_ON = {"autogrow", "embedder", "enable_disruption_budget", "network_policy", "restore_from", "tls"}
"""Fields of the cluster's memory that the store has under the same name."""


class MemoryStore(Step[SwarmCluster]):
    """Ensure the store and report its state. Disabling it keeps an existing store and its data."""

    condition = "Ready"
    reports = ("MemoryReady",)
    needs = (SwarmNamespace,)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        enabled = r.parsed.spec.memory.enable_memory_store
        if enabled:
            store: Object | None = await children.ensure(r, kinds.SWARM_MEMORY_STORE, memory_store(r.parsed))
            outcome = store_outcome(store or {})
        else:
            store = kept_store(r, swarm_namespace(r.parsed), r.parsed.store_name)
            message = "the swarm has no memory store; set spec.memory.enableMemoryStore to true to make one"
            outcome = disabled(r.parsed.store_name, store, message)
        its_status = (store or {}).get("status") or {}
        r.status["memoryStatus"] = memory_status(store)
        r.status["storageCapacity"] = its_status.get("storageCapacity")
        status = enabled and outcome.is_done
        r.conditions.set("MemoryReady", status=status, reason=outcome.reason, message=outcome.message)
        return outcome


def memory_store(cluster: SwarmCluster) -> Object:
    """Return the store with the settings that the cluster states; the other settings keep their own defaults."""
    memory = cluster.spec.memory
    tuning = memory.sqlite_config.model_dump(by_alias=True, exclude_none=True) if memory.sqlite_config else {}
    legacy = {"migrateFromLegacy": True, "legacyDataPVC": memory.legacy_data_pvc}
    template = memory.pod_template.model_dump(by_alias=True, exclude_unset=True) if memory.pod_template else None
    settings = {
        "storageSize": memory.size,
        **memory.model_dump(by_alias=True, exclude_none=True, include=_PASSED_ON),
        **(legacy if memory.migrate_from_legacy else {}),
        **({"podTemplate": template} if template else {}),
        **access_of(cluster, memory.access or ()),
        **tuning,
    }
    return store_of(cluster, cluster.store_name, swarm_namespace(cluster), cluster.metadata.name, settings)


def store_of(cluster: SwarmCluster, name: str, namespace: str, swarm_id: str, settings: dict[str, Any]) -> Object:
    """Return a store of the cluster.

    Args:
        cluster: the cluster.
        name: the store's name.
        namespace: the store's namespace.
        swarm_id: the swarm whose memory it is.
        settings: fields of its spec.
    """
    policy = cluster.spec.memory.deletion_policy
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {labels.MANAGED_BY: labels.FIELD_MANAGER, labels.CLUSTER: cluster.metadata.name},
        },
        "spec": {
            "type": cluster.spec.memory.type,
            "swarmId": swarm_id,
            "swarmClusterRef": cluster.metadata.name,
            **({"deletionPolicy": policy} if policy else {}),
            **settings,
        },
    }


def access_of(cluster: SwarmCluster, rules: Sequence[AccessRule] = ()) -> dict[str, Any]:
    """Return the field `access` of a store: the user's rules, and one for the swarm's agents if none names them."""
    agents = {"name": cluster.agents_name, "namespace": swarm_namespace(cluster)}
    named = [rule.service_account.model_dump() for rule in rules]
    found = [rule.model_dump(by_alias=True, exclude_none=True) for rule in rules]
    if cluster.spec.agent_template and not any({**agents, **_given(account)} == agents for account in named):
        found.append({"serviceAccount": agents, "access": "write"})
    return {"access": found} if found else {}


def _given(account: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in account.items() if value is not None}


def kept_store(r: Reconciliation[SwarmCluster], namespace: str, name: str) -> Object | None:
    """Return a store of the cluster that it does not ask for any more, or None."""
    if not r.client.cache.watches(namespace):
        return None
    found = r.client.get(kinds.SWARM_MEMORY_STORE, Key(namespace, name))
    return found if found and children.is_ours(r.obj, found, None) else None


def disabled(name: str, store: Object | None, message: str) -> Outcome:
    """Return the outcome of a store that is not asked for.

    Args:
        name: the store's name.
        store: the store, if it is there all the same.
        message: how to get one.
    """
    if store:
        message = f"SwarmMemoryStore {name} is kept with its data and no longer updated"
    return done("Disabled", message)


def memory_status(store: Object | None) -> dict[str, Any] | None:
    """Return status.memoryStatus, or None for a swarm without a store."""
    return None if store is None else available(store, used="databaseSize", hitRate="cacheHitRate")


def available(store: Object, **fields: str) -> dict[str, Any]:
    """Return whether a store is Ready, and the numbers of its status that are known.

    Args:
        store: the store.
        fields: for each number its name in the store's status.
    """
    status = store.get("status") or {}
    numbers = {name: status[field] for name, field in fields.items() if status.get(field) is not None}
    return {"available": store_outcome(store).is_done, **numbers}


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
