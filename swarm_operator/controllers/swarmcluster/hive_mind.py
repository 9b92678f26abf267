"""The hive mind: a second SwarmMemoryStore, for what the swarm decides and knows together."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import children, confinement, kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step
from swarm_operator.controllers.swarmcluster.memory_store import (
    access_of,
    available,
    disabled,
    kept_store,
    store_of,
    store_outcome,
)
from swarm_operator.controllers.swarmcluster.namespaces import HiveMindNamespace
from swarm_operator.controllers.swarmcluster.placement import hive_mind_namespace, swarm_namespace
from swarm_operator.runtime.resource import Object


class HiveMind(Step[SwarmCluster]):
    """Ensure the hive mind's store and report its state. Disabling it keeps an existing store and its data."""

    condition = "Ready"
    reports = ("HiveMindReady",)
    needs = (HiveMindNamespace,)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        enabled, name = r.parsed.spec.hive_mind.enabled, r.parsed.hive_mind_name
        if enabled:
            store: Object | None = await children.ensure(r, kinds.SWARM_MEMORY_STORE, hive_mind(r.parsed))
            outcome = store_outcome(store or {})
        else:
            store = kept_store(r, hive_mind_namespace(r.parsed), name)
            message = "the swarm has no hive mind; set spec.hiveMind.enabled to true to make one"
            outcome = disabled(name, store, message)
        r.status["hiveMindStatus"] = available(store, used="databaseSize", entryCount="entryCount") if store else None
        status = enabled and outcome.is_done
        r.conditions.set("HiveMindReady", status=status, reason=outcome.reason, message=outcome.message)
        return outcome


def hive_mind(cluster: SwarmCluster) -> Object:
    """Return the hive mind's store. Its swarm is another than the memory's: neither takes a backup of the other."""
    wanted, memory = cluster.spec.hive_mind, cluster.spec.memory
    settings: Object = {"storageSize": wanted.database_size, **_reachable(cluster), **access_of(cluster)}
    if memory.tls:
        settings["tls"] = memory.tls.model_dump(by_alias=True, exclude_none=True)
    if wanted.backup_enabled:
        places = memory.sqlite_config.backup if memory.sqlite_config else None
        settings["backup"] = places.model_dump(by_alias=True, exclude_none=True) if places else {"volume": {}}
        settings["backupInterval"] = wanted.backup_interval
    name = cluster.hive_mind_name
    return store_of(cluster, name, hive_mind_namespace(cluster), name, settings)


def _reachable(cluster: SwarmCluster) -> Object:
    """Return the field that lets the swarm's agents reach a hive mind in another namespace than theirs."""
    agents, own = swarm_namespace(cluster), hive_mind_namespace(cluster)
    if agents == own:
        return {}
    here = confinement.in_namespace(confinement.no_agents(), own)
    there = confinement.in_namespace(confinement.agents_of(cluster.metadata.name), agents)
    return {"networkPolicy": {"from": [here, there]}}
