"""The NetworkPolicy of a swarm's agents: only agents of the same swarm reach them.

The agents' outgoing traffic is not limited. Policies add up: a policy of the user can admit other pods.
"""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import confinement, labels
from swarm_operator.runtime.resource import Object


def network_policy(cluster: SwarmCluster, *, namespace: str) -> Object:
    """Return the NetworkPolicy."""
    return {
        "metadata": {"name": cluster.agents_name, "namespace": namespace, "labels": labels.of_agents(cluster)},
        "spec": {
            "podSelector": {"matchLabels": labels.agents_selector(cluster)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [confinement.agents_of(cluster.metadata.name)]}],
        },
    }
