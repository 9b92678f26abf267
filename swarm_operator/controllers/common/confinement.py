"""Peers of NetworkPolicies that isolate swarms: agents reach only objects of their own swarm."""

from __future__ import annotations

from swarm_operator.controllers.common import labels
from swarm_operator.runtime.resource import Object


def agents_of(cluster: str) -> Object:
    """Return the agents of a SwarmCluster."""
    return {"podSelector": {"matchLabels": labels.agents_of(cluster)}}


def no_agents() -> Object:
    """Return the pods that are no swarm's agents."""
    return {
        "podSelector": {
            "matchExpressions": [{"key": labels.NAME, "operator": "NotIn", "values": [labels.AGENT_NAME]}],
        }
    }


def in_namespace(peer: Object, namespace: str) -> Object:
    """Return a peer of pods as one of another namespace than the policy's."""
    return {"namespaceSelector": {"matchLabels": {labels.NAMESPACE_NAME: namespace}}, **peer}
