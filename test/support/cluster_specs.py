"""Specs of SwarmClusters that change in what agents are, how many, how they scale, and in TLS."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "topology": st.sampled_from(["mesh", "ring", "star", "hierarchical"]),
    "agents": st.integers(0, 6),
    "minAgents": st.integers(0, 3),
    "maxAgents": st.integers(3, 8),
    "agentTemplate": st.sampled_from(
        [
            {},
            {"capabilities": ["coder"], "cognitivePatterns": ["lateral"]},
            {"env": [{"name": "A", "value": "b"}], "terminationGracePeriod": "1m"},
            {"image": "example.com/agent:1", "args": ["--fast"]},
            {"podTemplate": {"metadata": {"labels": {"team": "bees"}}, "spec": {"nodeSelector": {"disk": "ssd"}}}},
        ]
    ),
    "autoscaling": st.sampled_from(
        [
            {"enabled": False},
            {"enabled": True, "maxAgents": 3, "targetUtilization": 50},
            {"enabled": True, "minAgents": 3, "maxAgents": 3, "stabilizationWindow": "1m"},
        ]
    ),
}
_FIXED = st.fixed_dictionaries(
    {
        # Stores stay when they are not asked for any more, so whether there is one is no part of a walk.
        "hiveMind": st.sampled_from([{"enabled": False}, {"enabled": True}, {"enabled": True, "databaseSize": "2Gi"}]),
        "apart": st.booleans(),
    }
)
_TLS = st.sampled_from([{}, {"tls": {"mode": "off"}}, {"tls": {"mode": "auto"}}])


def walks(swarm: str, hive: str, *, longest: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Some good specs of one cluster, one after the other.

    Args:
        swarm: namespace of the memory and the agents of clusters that have one.
        hive: namespace of their hive minds.
        longest: largest number of specs.
    """
    apart = {"namespaceConfig": {"swarmNamespace": swarm, "hiveMindNamespace": hive}}

    def with_fixed(fixed: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
        stays = {"hiveMind": fixed["hiveMind"], **(apart if fixed["apart"] else {})}
        memory = _TLS.map(lambda tls: {"enableMemoryStore": True, "size": "1Gi", **tls})
        changes = st.fixed_dictionaries({"memory": memory}, optional=_FIELDS).map(lambda spec: {**spec, **stays})
        return st.lists(changes, min_size=2, max_size=longest)

    return _FIXED.flatmap(with_fixed)
