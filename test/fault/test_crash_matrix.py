"""The operator dies after each write that it makes, or a write fails, or its answer is lost: it must end the same.

After Sieve's intermediate-state tests (OSDI '22): one clean run of a scenario is the reference. For each k the scenario
is run again, the operator is stopped dead after its k-th write, and a new one goes on. In the end every object must be
as in the reference, and no object may have been made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from swarm_operator.cmd import manager
from swarm_operator.controllers import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import NotFoundError, UnreachableError, from_status
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.resource import Object, Resource

pytestmark = pytest.mark.timeout(400)

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
WATCHED = (
    kinds.SWARM_CLUSTER,
    kinds.SWARM_MEMORY_STORE,
    kinds.PERSISTENT_VOLUME_CLAIM,
    kinds.SECRET,
    kinds.SERVICE,
    kinds.STATEFUL_SET,
)

Verdict = Callable[[int], str | None]
"""What becomes of the k-th write, counted from 1: None for nothing, or the name of a fault."""


class FaultyClient(Client):
    """A real client whose writes go wrong as told. It counts them."""

    def __init__(self, configuration, verdict: Verdict) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test")
        self.verdict = verdict
        self.writes = 0
        self.dead = asyncio.Event()

    async def request(self, method, path, **arguments):
        if method == "GET":
            return await super().request(method, path, **arguments)
        if self.dead.is_set():
            await asyncio.Event().wait()  # a dead process sends nothing
        self.writes += 1
        fault = self.verdict(self.writes)
        if fault and fault.isdecimal():
            raise from_status(int(fault), {"message": f"{fault}, as the test wants it"}, retry_after=0.01)
        if fault == "reset":
            raise UnreachableError("connection reset, as the test wants it")
        answer = await super().request(method, path, **arguments)
        if fault == "lost":
            raise UnreachableError("the answer is lost, as the test wants it")
        if fault == "die":
            self.dead.set()
            await asyncio.Event().wait()
        return answer


@dataclass
class World:
    """A namespace in which scenarios happen."""

    plane: object
    admin: Client
    namespace: str

    async def cluster(self, **memory: object) -> None:
        body = {
            "apiVersion": kinds.SWARM_CLUSTER.api_version,
            "kind": "SwarmCluster",
            "metadata": {"name": "c", "namespace": self.namespace},
            "spec": {"memory": {"enableMemoryStore": True, **memory}},
        }
        await self.admin.apply(kinds.SWARM_CLUSTER, body, field_manager="user")

    async def get(self, resource: Resource, name: str) -> Object:
        return await self.admin.get(resource, self.namespace, name)

    async def status(self, resource: Resource, name: str, status: Object) -> None:
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "status": status,
        }
        await self.admin.apply(resource, body, field_manager="kubelet", subresource="status")

    async def settled(self) -> bool:
        """Whether the operator has judged the newest specs, and the cluster says what its store says."""
        store = await self.get(kinds.SWARM_MEMORY_STORE, "c-memory")
        cluster = await self.get(kinds.SWARM_CLUSTER, "c")
        for obj in (store, cluster):
            assert obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
        ready = [c for c in store["status"]["conditions"] if c["type"] == "Ready"]
        theirs = [c for c in cluster["status"]["conditions"] if c["type"] == "Ready"]
        assert theirs[0]["reason"] == ready[0]["reason"]
        assert cluster["status"]["memoryStatus"] == store["status"]["phase"]
        return True

    async def uids(self) -> dict[tuple[str, str], str]:
        found = {}
        for resource in WATCHED:
            for obj in (await self.admin.list(resource, namespace=self.namespace))[0]:
                found[resource.kind, obj["metadata"]["name"]] = obj["metadata"]["uid"]
        return found

    async def picture(self) -> dict[str, object]:
        """Everything that should be the same after any history, with what differs from run to run masked."""
        found = {}
        for resource in WATCHED:
            for obj in (await self.admin.list(resource, namespace=self.namespace))[0]:
                found[f"{resource.kind}/{obj['metadata']['name']}"] = _masked(obj, self.namespace)
        return found


def _masked(value: object, namespace: str) -> object:
    volatile = {
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "lastTransitionTime",
        "clusterIP",
        "clusterIPs",
    }
    if isinstance(value, dict):
        if value.get("kind") == "Secret":
            return sorted(value["data"])
        return {
            name: _masked(part, namespace)
            for name, part in value.items()
            # The hash covers the owner's uid.
            if name not in volatile and name != "swarm.claudeflow.io/applied-configuration"
        }
    if isinstance(value, list):
        return [_masked(part, namespace) for part in value]
    return value.replace(namespace, "NAMESPACE") if isinstance(value, str) else value


async def create(world: World) -> None:
    """A user makes a cluster with a store."""
    await world.cluster(size="1Gi", sqliteConfig={"cacheSize": 5})


async def change(world: World) -> None:
    """A user changes one setting and takes another back."""
    await world.cluster(size="1Gi", sqliteConfig={"cacheMemoryMB": 77})


async def become_ready(world: World) -> None:
    """The volume is bound and the pod gets ready."""
    await world.status(kinds.PERSISTENT_VOLUME_CLAIM, "c-memory-data", {"phase": "Bound"})
    generation = (await world.get(kinds.STATEFUL_SET, "c-memory"))["metadata"]["generation"]
    ready = {"replicas": 1, "readyReplicas": 1, "currentRevision": "r", "updateRevision": "r"}
    await world.status(kinds.STATEFUL_SET, "c-memory", {"observedGeneration": generation, **ready})


async def has_env(world: World) -> bool:
    (container,) = (await world.get(kinds.STATEFUL_SET, "c-memory"))["spec"]["template"]["spec"]["containers"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert (env["CACHE_SIZE"], env["CACHE_MEMORY_MB"]) == ("1000", "77")
    return True


async def is_ready(world: World) -> bool:
    assert (await world.get(kinds.SWARM_CLUSTER, "c"))["status"]["phase"] == "Ready"
    return True


Step = tuple[Callable[[World], Awaitable[None]], Callable[[World], Awaitable[bool]]]
SCENARIO: tuple[Step, ...] = ((create, World.settled), (change, has_env), (become_ready, is_ready))


async def play(world: World, verdict: Verdict, *, eventually) -> tuple[int, int]:
    """Play the scenario with an operator that fails as told; a dead one is replaced by a healthy one.

    Returns:
        Writes of the first operator, and of its successor.
    """
    seen: dict[tuple[str, str], str] = {}
    async with contextlib.AsyncExitStack() as stack:
        configuration = await load_config(world.plane.kubeconfig("operator"))
        options = manager.parse(["--watch-namespaces", world.namespace, *QUIET])
        clients = [await stack.enter_async_context(FaultyClient(configuration, verdict))]
        running = asyncio.create_task(manager.assemble(clients[0], options, instance="test").run(asyncio.Event()))
        try:
            for act, done in SCENARIO:
                await act(world)

                async def arrived(done=done) -> bool:
                    nonlocal running
                    if clients[-1].dead.is_set():
                        running.cancel()
                        await asyncio.gather(running, return_exceptions=True)
                        seen.update(await world.uids())
                        clients.append(await stack.enter_async_context(FaultyClient(configuration, lambda _: None)))
                        successor = manager.assemble(clients[-1], options, instance="test")
                        running = asyncio.create_task(successor.run(asyncio.Event()))
                    return await done(world) and await world.settled()

                await eventually(arrived)
            now = await world.uids()
            assert {key: now.get(key) for key in seen} == seen, "an object was made again"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return clients[0].writes, clients[1].writes if len(clients) > 1 else 0


QUIET = (
    *("--metrics-bind-address", "0", "--health-probe-bind-address", "0"),
    # Nobody serves the memory here: an address that refuses at once.
    *("--memory-url", "http://127.0.0.1:9"),
    # What is killed ends at once.
    *("--graceful-shutdown-timeout", "0"),
)


@pytest.fixture
def new_world(control_plane, admin):
    async def make() -> World:
        name = f"fault-{secrets.token_hex(4)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await admin.create(NAMESPACES, body, field_manager="test")
        return World(control_plane, admin, name)

    return make


@pytest.fixture
def in_time(eventually):
    async def wait(check):
        try:
            return await eventually(check, seconds=40)
        except NotFoundError as error:
            raise AssertionError(str(error)) from error

    return wait


async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(new_world, in_time):
    world = await new_world()
    total, _ = await play(world, lambda _: None, eventually=in_time)
    reference = await world.picture()
    assert len(reference) == 7
    assert total >= 12
    killed = 0
    # The clean run tells about how many writes there are; events make it vary a little, so go on until none is left.
    for k in itertools.count(1):
        world = await new_world()
        await play(world, lambda n, k=k: "die" if n == k else None, eventually=in_time)
        assert await world.picture() == reference, f"after a kill at write {k}"
        killed = k
        if k >= total:
            break
    assert killed >= 12


@pytest.mark.parametrize("fault", ["409", "429", "500", "503", "reset", "lost"])
async def test_when_each_write_fails_once_it_ends_as_if_none_had(new_world, in_time, fault):
    """Every other write fails, so that each of them has failed before it succeeds."""
    world = await new_world()
    await play(world, lambda _: None, eventually=in_time)
    reference = await world.picture()
    world = await new_world()
    writes, _ = await play(world, lambda n: fault if n % 2 else None, eventually=in_time)
    assert await world.picture() == reference
    assert writes >= 12
    events, _ = await world.admin.list(EVENTS, namespace=world.namespace)
    names = [e["regarding"]["name"] + e["note"] for e in events if re.match("created ", e["note"])]
    assert len(names) == len(set(names)), "an event says twice that something was created"
