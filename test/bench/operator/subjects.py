"""What is measured: stores that stand alone, and clusters whose memory and agents get ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.resource import Object, Resource

AGENTS = 3
_ACTED_AT_ONCE = 16
"""Objects that get ready at the same time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of an object's life, which others than the operator begin."""

    workload: str = ""
    """StatefulSet that gets ready, with {name} for the object's name; empty for the first stage."""
    gates: tuple[tuple[Resource, Resource, str], ...] = ()
    """For each kind that the operator reconciles: kind and name of what has to be ready before it goes on."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of object that the scenarios create."""

    name: str
    """In the report."""
    resource: Resource
    spec: Object
    reconciled: tuple[Resource, ...]
    """Kinds of which there is then one object each."""
    waits: tuple[tuple[Resource, Callable[[Object], bool]], ...]
    """What there must be of each object in the end: a kind, and whether one counts."""
    stages: tuple[Stage, ...] = (Stage(),)

    @property
    def controllers(self) -> tuple[str, ...]:
        """Names of the controllers, as in metrics."""
        return tuple(resource.kind.lower() for resource in self.reconciled)

    async def make(self, client: Client, namespace: str, name: str, spec: Object | None = None) -> Object:
        """Apply one, as kubectl would, perhaps with another spec."""
        body = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": self.spec if spec is None else spec,
        }
        return await client.apply(self.resource, body, field_manager="kubectl")

    @contextlib.asynccontextmanager
    async def controllers_of_kubernetes(self, client: Client, namespace: str) -> AsyncIterator[None]:
        """Be these to the end of the block: each StatefulSet of a later stage gets ready when it is there."""
        acting = asyncio.create_task(self._act(client, namespace)) if len(self.stages) > 1 else None
        try:
            yield
        finally:
            if acting:
                acting.cancel()
                await asyncio.wait([acting])

    async def _act(self, client: Client, namespace: str) -> None:
        suffixes = tuple(stage.workload.removeprefix("{name}") for stage in self.stages[1:])
        _, version = await client.list(kinds.STATEFUL_SET, namespace=namespace)
        turns = asyncio.Semaphore(_ACTED_AT_ONCE)

        async def act(workload: Object) -> None:
            async with turns:
                await get_ready(client, workload)

        async with asyncio.TaskGroup() as group, client.watch(
            kinds.STATEFUL_SET, namespace=namespace, resource_version=version, timeout_seconds=900, idle_seconds=300
        ) as stream:  # fmt: skip
            async for event in stream:
                if event["type"] == "ADDED" and event["object"]["metadata"]["name"].endswith(suffixes):
                    group.create_task(act(event["object"]))


async def get_ready(client: Client, workload: Object) -> None:
    """Be the controllers of volumes and StatefulSets: the claim of a memory is bound, the pods are ready."""
    metadata, count = workload["metadata"], workload["spec"]["replicas"]
    if metadata["name"].endswith("-memory"):
        await _status(client, kinds.PERSISTENT_VOLUME_CLAIM, metadata, f"{metadata['name']}-data", {"phase": "Bound"})
    revision = {"observedGeneration": metadata["generation"], "currentRevision": "r", "updateRevision": "r"}
    ready = {"replicas": count, "readyReplicas": count, **revision}
    await _status(client, kinds.STATEFUL_SET, metadata, metadata["name"], ready)


async def _status(client: Client, resource: Resource, metadata: Object, name: str, status: Object) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "status": status,
    }
    await client.apply(resource, body, field_manager="kubelet", subresource="status")


def _is_observed(store: Object) -> bool:
    return (store.get("status") or {}).get("observedGeneration") == store["metadata"]["generation"]


def _is_ready(cluster: Object) -> bool:
    conditions = (cluster.get("status") or {}).get("conditions") or ()
    return _is_observed(cluster) and any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


STORES = Subject(
    name="stores",
    resource=kinds.SWARM_MEMORY_STORE,
    spec={},
    reconciled=(kinds.SWARM_MEMORY_STORE,),
    waits=((kinds.STATEFUL_SET, lambda _: True), (kinds.SWARM_MEMORY_STORE, _is_observed)),
)

CLUSTERS = Subject(
    name="clusters",
    resource=kinds.SWARM_CLUSTER,
    spec={"memory": {"enableMemoryStore": True}, "agents": AGENTS, "agentTemplate": {}},
    reconciled=(kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE),
    waits=((kinds.SWARM_CLUSTER, _is_ready),),
    stages=(
        Stage(),
        Stage(
            "{name}-memory",
            (
                (kinds.SWARM_MEMORY_STORE, kinds.STATEFUL_SET, "{name}-memory"),
                (kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE, "{name}-memory"),
            ),
        ),
        Stage(
            "{name}-agent",
            (
                (kinds.SWARM_MEMORY_STORE, kinds.STATEFUL_SET, "{name}-agent"),
                (kinds.SWARM_CLUSTER, kinds.STATEFUL_SET, "{name}-agent"),
            ),
        ),
    ),
)
