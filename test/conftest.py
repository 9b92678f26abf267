"""A real control plane for the whole run, a namespace for each test that asks, and the operator as a process.

There is no kubelet and no controller-manager here: no pod runs and nothing is garbage collected. Where a test needs a
pod to be ready, it says so in the StatefulSet's status, as that controller would; the memory service is a real one.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from support.controlplane import (
    ControlPlane,
    Operator,
    SecondApiServer,
    find_binaries,
    free_port,
    run_control_plane,
    stop,
)
from support.zygote import MANAGER, MEMORY, Child, Zygote

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, Resource

# A busy machine takes longer for an example than Hypothesis' default of 200 ms.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without the garbage collector, which else looks at all of them again and again.

    What is there then stays until the end: later collections need not look at it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


LONGEST = (
    *("control-plane", "kind", "operator", "faults", "test_stateful.py", "test_promtool.py", "test_pages.py"),
    *("test_operations.py", "test_mcp_clients.py", "test_object_stores.py", "test_docs.py", "test_entries.py"),
    *("test_crash.py", "test_extraction.py", "test_restore.py", "test_records.py", "test_search.py"),
)
"""The groups that take longest, as measured, the longest first: a long group that begins last would run alone."""


def group_of(item: pytest.Item) -> str:
    """Return the group of a test. A group runs in one process: its tests share what takes long to make.

    Two groups share the kind cluster. The tests of one may kill the operator, whose absence the other's do not notice.
    """
    for fixture, group in (("operator_alone", "operator"), ("deployment", "kind")):
        if fixture in item.fixturenames:
            return group
    if "control_plane" in item.fixturenames:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        return {"integration": "control-plane", "fault": "faults"}[folder]
    return item.path.name


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Group the tests for several processes, and begin with the longest groups."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    yield
    order = {group: number for number, group in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.get_closest_marker("xdist_group").args[0], len(order)))


@pytest.fixture(scope="session", autouse=True)
def _patient_clients() -> Iterator[None]:
    """Let clients wait for a machine that stands still for seconds; a test of a time-out names its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("timeout", "connect_timeout"):
            patch.setitem(MemoryClient.__init__.__kwdefaults__, name, 60.0)
        yield


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process that forks memory services."""
    forking = Zygote(MEMORY)
    yield forking
    forking.stop()


@pytest.fixture(scope="session")
def manager_zygote() -> Iterator[Zygote]:
    """A process that forks operators."""
    forking = Zygote(MANAGER)
    yield forking
    forking.stop()


@pytest.fixture(scope="session")
def binaries() -> Path:
    """kube-apiserver, etcd and kubectl."""
    return find_binaries()


@pytest.fixture(scope="session")
def control_plane(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with run_control_plane(binaries, tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def second_apiserver(control_plane: ControlPlane, tmp_path: Path) -> Iterator[SecondApiServer]:
    port = free_port()
    folder = tmp_path / "second"
    folder.mkdir()
    plane = ControlPlane(
        f"https://127.0.0.1:{port}", folder, control_plane.kubectl, control_plane.tokens, control_plane.apiserver
    )
    server = SecondApiServer(plane, port)
    try:
        server.start()
        yield server
    finally:
        if server.process:
            server.signal(signal.SIGCONT)
            stop(server.process)


@pytest.fixture
async def admin(control_plane: ControlPlane):
    """A client with all rights."""
    async with Client(await load_config(control_plane.kubeconfig("admin")), user_agent="test") as client:
        yield client


@pytest.fixture
async def namespace(admin: Client):
    """A new namespace. It is left to the control plane's end: nothing here would remove it."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await admin.create(NAMESPACES, body, field_manager="test")
    return name


@pytest.fixture
def start_operator(control_plane: ControlPlane, namespace: str, tmp_path: Path, manager_zygote: Zygote):
    """Make operators; at the end none of them may have been refused a right that it needs."""
    made: list[Operator] = []

    def start(*flags: str, plane: ControlPlane = control_plane, **options: Any) -> Operator:
        log = tmp_path / f"operator-{len(made)}.log"
        operator = Operator(plane, namespace, log, flags, zygote=manager_zygote, **options)
        made.append(operator)
        operator.start()
        return operator

    yield start
    for operator in made:
        if operator.process and operator.process.poll() is None:
            operator.terminate()
        log = operator.log.read_text()
        # An API server that has just started refuses everybody until it has read the Roles.
        assert operator.plane is not control_plane or " is forbidden: User" not in log, log
        assert "something unforeseen" not in log, log


async def eventually(check: Callable[[], Awaitable[object]], *, seconds: float = 60.0) -> object:
    """Wait until `check` returns something true without failing, and return that; else fail as it last failed."""
    deadline, pause = time.monotonic() + seconds, 0.05
    while True:
        try:
            found = await check()
            if found or time.monotonic() > deadline:
                assert found, f"still not so after {seconds} s"
                return found
        except (AssertionError, NotFoundError, KeyError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(pause)
        # What takes long costs fewer looks: each may be a dozen requests.
        pause = min(1.25 * pause, 0.2)


@pytest.fixture
async def background():
    """Starts coroutines as tasks that end with the test."""
    tasks = []

    def start(coroutine):
        tasks.append(asyncio.ensure_future(coroutine))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(name="eventually")
def eventually_fixture():
    return eventually


@dataclass
class Objects:
    """Short ways to read and write the objects of a test."""

    client: Client
    namespace: str

    async def get(self, resource: Resource, name: str) -> Object:
        return await self.client.get(resource, self.namespace, name)

    async def missing(self, resource: Resource, name: str) -> bool:
        try:
            await self.get(resource, name)
        except NotFoundError:
            return True
        return False

    async def apply(self, resource: Resource, name: str, spec: Object, *, manager: str = "kubectl") -> Object:
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        return await self.client.apply(resource, body, field_manager=manager)

    async def delete(self, resource: Resource, name: str) -> None:
        found = await self.get(resource, name)
        await self.client.delete(resource, self.namespace, name, uid=found["metadata"]["uid"])

    async def store(self, name: str, **spec: object) -> Object:
        return await self.apply(kinds.SWARM_MEMORY_STORE, name, spec)

    async def cluster(self, name: str, **memory: object) -> Object:
        return await self.apply(kinds.SWARM_CLUSTER, name, {"memory": memory})

    async def condition(self, resource: Resource, name: str, kind: str) -> Object:
        obj = await self.get(resource, name)
        return {c["type"]: c for c in obj.get("status", {}).get("conditions", ())}[kind]

    async def status(self, resource: Resource, name: str, status: Object) -> None:
        """Be the controller that writes this status."""
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "status": status,
        }
        await self.client.apply(resource, body, field_manager="test", subresource="status")

    async def pretend_ready(self, name: str) -> None:
        """Be the controllers of volumes and StatefulSets: the claim is bound, the pod of the newest template ready."""
        await self.status(kinds.PERSISTENT_VOLUME_CLAIM, f"{name}-data", {"phase": "Bound"})
        generation = (await self.get(kinds.STATEFUL_SET, name))["metadata"]["generation"]
        revision = {"currentRevision": f"r{generation}", "updateRevision": f"r{generation}"}
        ready = {"observedGeneration": generation, "replicas": 1, "readyReplicas": 1, **revision}
        await self.status(kinds.STATEFUL_SET, name, ready)


@pytest.fixture
def objects(admin: Client, namespace: str) -> Objects:
    return Objects(admin, namespace)


@dataclass
class MemoryService:
    """A real swarm-memory on this machine."""

    port: int
    tokens: Path


@pytest.fixture
def memory_service(tmp_path: Path, zygote: Zygote):
    """Start a memory service with the tokens of a Secret."""
    processes: list[Child] = []

    def start(data: dict[str, str], port: int, *flags: str) -> None:
        import base64

        tokens = tmp_path / "tokens"
        tokens.mkdir()
        for name, value in data.items():
            (tokens / name).write_bytes(base64.b64decode(value))
        arguments = [
            *("serve", "--data-dir", tmp_path / "data", "--token-dir", tokens, "--swarm-id", "test"),
            *("--http-port", port, "--grpc-port", "0", "--metrics-port", free_port(), *flags),
        ]
        with (tmp_path / "memory.log").open("ab") as log:
            processes.append(zygote.start(*map(str, arguments), output=log.fileno()))

    yield start
    for process in processes:
        stop(process)


@pytest.fixture
def memory_port() -> int:
    return free_port()
