"""The SwarmMemoryStore that a SwarmCluster asks for."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers import labels
from swarm_operator.runtime.resource import Object


def memory_store(cluster: SwarmCluster) -> Object:
    """The store, with the settings that the cluster states and no others: the rest keep their own defaults."""
    memory = cluster.spec.memory
    tuning = memory.sqlite_config.model_dump(by_alias=True, exclude_none=True) if memory.sqlite_config else {}
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
            **tuning,
        },
    }
