"""Placement: the namespaces in which the parts of a SwarmCluster are. See namespaces for whether they may be there."""

from __future__ import annotations

from dataclasses import dataclass

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.namespaces import NamespaceConfig


@dataclass(frozen=True, slots=True)
class DefaultNamespaces:
    """Names for clusters that ask for namespaces without naming them."""

    swarm: str = "claude-flow-swarm"
    hive_mind: str = "claude-flow-hivemind"


def complete(cluster: SwarmCluster, defaults: DefaultNamespaces) -> SwarmCluster:
    """Return the cluster with both names in its namespaceConfig, if it has one.

    A name in the status is preferred to a default: what the cluster has stays where it is when the flags change.
    """
    config, status = cluster.spec.namespace_config, cluster.status
    if config is None:
        return cluster
    names = {
        "swarm_namespace": config.swarm_namespace or status.swarm_namespace or defaults.swarm,
        "hive_mind_namespace": config.hive_mind_namespace or status.hive_mind_namespace or defaults.hive_mind,
    }
    spec = cluster.spec.model_copy(update={"namespace_config": config.model_copy(update=names)})
    return cluster.model_copy(update={"spec": spec})


def swarm_namespace(cluster: SwarmCluster) -> str:
    """Return the namespace of the memory and the agents: the cluster's own without namespaceConfig."""
    return _config(cluster).swarm_namespace or cluster.metadata.namespace


def hive_mind_namespace(cluster: SwarmCluster) -> str:
    """Return the namespace of the hive mind: the cluster's own without namespaceConfig."""
    return _config(cluster).hive_mind_namespace or cluster.metadata.namespace


def _config(cluster: SwarmCluster) -> NamespaceConfig:
    return cluster.spec.namespace_config or NamespaceConfig()
