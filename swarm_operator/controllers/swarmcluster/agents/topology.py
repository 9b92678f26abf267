"""Peers of each agent, by topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from swarm_operator.api.v1alpha1.agents import Topology

_CHILDREN: Final = 2
"""Largest number of children of an agent in a hierarchy."""


def peers(topology: Topology, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the peers of each agent.

    Args:
        topology: how the agents are connected; SwarmCluster's field describes each topology.
        names: the agents. The first one is the root of a star and of a hierarchy.
    """
    return {name: _of(topology, names, place) for place, name in enumerate(names)}


def _of(topology: Topology, names: Sequence[str], place: int) -> list[str]:
    if topology == "mesh":
        return [*names[:place], *names[place + 1 :]]
    if topology == "ring":
        around = [names[place - 1], names[(place + 1) % len(names)]]
        # Two agents are each other's only peer, and one has none.
        return [name for name in dict.fromkeys(around) if name != names[place]]
    if place == 0:
        return []
    return [names[0] if topology == "star" else names[(place - 1) // _CHILDREN]]
