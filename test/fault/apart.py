"""A cluster with a memory and agents, and a hive mind, in namespaces that are made for it, as a scenario of faults."""

from __future__ import annotations

from fault.world import Step, World, become_ready, delete

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.deletion import CONTENTS
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object

SWARM, HIVE = "swarm", "hive"
"""Ends of the names of its namespaces."""


def _parts(world: World) -> tuple[World, World]:
    """Return the namespaces of the memory and of the hive mind."""
    return world.at(f"{world.namespace}-{SWARM}"), world.at(f"{world.namespace}-{HIVE}")


async def create(world: World) -> None:
    """A user makes the cluster."""
    swarm, hive = _parts(world)
    spec = {
        "namespaceConfig": {"swarmNamespace": swarm.namespace, "hiveMindNamespace": hive.namespace},
        "hiveMind": {"enabled": True, "databaseSize": "1Gi"},
        "agents": 3,
        "agentTemplate": {},
    }
    await world.cluster(spec=spec, size="1Gi")


async def waits(world: World) -> bool:
    """Whether both stores are made, and the agents wait."""
    swarm, hive = _parts(world)
    await swarm.settled_store()
    await hive.settled_store("c-hivemind")
    return await _says(world, AgentsReady="WaitingForMemory", HiveMindReady="WaitingForPod")


async def get_ready(world: World) -> None:
    """Both stores get ready."""
    swarm, hive = _parts(world)
    await become_ready(hive, "c-hivemind")
    await become_ready(swarm)


async def has_agents(world: World) -> bool:
    """Whether the agents are made."""
    swarm, hive = _parts(world)
    await swarm.settled_store()
    await hive.settled_store("c-hivemind")
    assert (await swarm.get(kinds.STATEFUL_SET, "c-agent"))["spec"]["replicas"] == 3
    return await _says(world, AgentsReady="WaitingForAgents", HiveMindReady="Available", MemoryReady="Available")


async def is_gone(world: World) -> bool:
    """Be the controllers that end what is being deleted, and count what is left in a namespace. Return the outcome."""
    await world.collect_garbage()
    left = await world.uids()
    for part in _parts(world):
        namespace = await world.admin.get(kinds.NAMESPACE, "", part.namespace)
        if not left.keys() - {("SwarmCluster", "c")} and not namespace["metadata"].get("deletionTimestamp"):
            await _count_nothing(part)
    assert not left
    return True


async def _count_nothing(part: World) -> None:
    """Be the quota controller, in a namespace in which nothing is left."""
    try:
        quota = await part.get(kinds.RESOURCE_QUOTA, CONTENTS)
    except NotFoundError:  # it is not asked for yet
        return
    hard = quota["spec"]["hard"]
    used = dict.fromkeys(hard, "0") | {"count/configmaps": "1", "count/serviceaccounts": "1"}
    await part.status(kinds.RESOURCE_QUOTA, CONTENTS, {"hard": hard, "used": used})


async def _says(world: World, **reasons: str) -> bool:
    cluster: Object = await world.get(kinds.SWARM_CLUSTER, "c")
    assert cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
    found = {c["type"]: c["reason"] for c in cluster["status"]["conditions"]}
    return {name: found.get(name) for name in reasons} == reasons


CREATION: tuple[Step, ...] = ((create, waits), (get_ready, has_agents))
DELETION: tuple[Step, ...] = ((delete, is_gone),)
