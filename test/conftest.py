"""A real control plane for the whole run, a namespace for each test that asks, and the operator as a process.

There is no kubelet and no controller-manager here: no pod runs and nothing is garbage collected. Where a test needs a
pod to be ready, it says so in the StatefulSet's status, as that controller would; the memory service is a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm_operator.controllers import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, Resource

TOP = Path(__file__).resolve().parents[1]
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
OPERATOR_ACCOUNT = "system:serviceaccount:swarm-operator-system:swarm-operator-controller-manager"


def free_port() -> int:
    """A port for a server that is about to start.

    It lies below those that the kernel gives to outgoing connections (from 32768 on): one of these could take it
    between this look and the server's own bind.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def binaries() -> Path:
    """kube-apiserver, etcd and kubectl: $KUBEBUILDER_ASSETS, or what hack/kind built or now builds."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return Path(assets)
    built = subprocess.run(
        [TOP / "hack/kind/binaries.sh", "control-plane"], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(built.stdout.strip())


@dataclass
class ControlPlane:
    """A running kube-apiserver with the CRDs and the operator's RBAC installed."""

    url: str
    folder: Path
    kubectl: Path
    tokens: dict[str, str]
    apiserver: list[str]
    """The command that started it, but for its port."""

    def kubeconfig(self, user: str) -> str:
        """Path of a kubeconfig of `admin` or of `operator`."""
        path = self.folder / f"{user}.kubeconfig"
        if not path.exists():
            cluster = {"server": self.url, "insecure-skip-tls-verify": True}
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            }
            path.write_text(json.dumps(config))
        return str(path)

    def kubectl_run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin."""
        command = [str(self.kubectl), "--kubeconfig", self.kubeconfig("admin"), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def control_plane(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("control-plane")
    tokens = {"admin": secrets.token_hex(16), "operator": secrets.token_hex(16)}
    (folder / "tokens.csv").write_text(
        f'{tokens["admin"]},admin,1,"system:masters"\n'
        f'{tokens["operator"]},{OPERATOR_ACCOUNT},2,"system:serviceaccounts,system:authenticated"\n'
    )
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url = f"http://127.0.0.1:{etcd_port}"
    etcd = [
        *(binaries / "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync"),
        *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
    ]
    apiserver = [
        *(binaries / "kube-apiserver", "--etcd-servers", etcd_url, "--cert-dir", folder / "certs"),
        *("--bind-address", "127.0.0.1", "--token-auth-file", folder / "tokens.csv"),
        *("--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/16"),
        *("--service-account-issuer", "https://localhost", "--service-account-key-file", key),
        *("--service-account-signing-key-file", key, "--disable-admission-plugins", "ServiceAccount"),
    ]
    apiserver = list(map(str, apiserver))
    with contextlib.ExitStack() as stack:
        for name, command in (("etcd", etcd), ("kube-apiserver", [*apiserver, "--secure-port", port])):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=folder)
            stack.callback(_stop, process)
        plane = ControlPlane(f"https://127.0.0.1:{port}", folder, binaries / "kubectl", tokens, apiserver)
        _wait_ready(plane)
        rendered = subprocess.run(
            [plane.kubectl, "kustomize", TOP / "config/default"], check=True, stdout=subprocess.PIPE, text=True
        )
        # The operator runs as a process here, with the rights that it is deployed with.
        wanted = [obj for obj in yaml.safe_load_all(rendered.stdout) if obj["kind"] not in {"Deployment", "Service"}]
        applied = plane.kubectl_run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(wanted))
        assert applied.returncode == 0, applied.stderr
        waited = plane.kubectl_run("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        assert waited.returncode == 0, waited.stderr
        yield plane


def _wait_ready(plane: ControlPlane) -> None:
    deadline = time.monotonic() + 90
    while plane.kubectl_run("get", "--raw", "/readyz").returncode:
        assert time.monotonic() < deadline, (plane.folder / "kube-apiserver.log").read_text()[-3000:]
        time.sleep(0.3)


@dataclass
class SecondApiServer:
    """Another kube-apiserver on the same etcd: one that may be away while the world goes on at the first."""

    plane: ControlPlane
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again on the same port; waits until it is ready."""
        with (self.plane.folder / "kube-apiserver.log").open("ab") as log:
            command = [*self.plane.apiserver, "--secure-port", str(self.port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.plane.folder)
        _wait_ready(self.plane)

    def kill(self) -> None:
        """kill -9."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        assert self.process
        self.process.send_signal(number)


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
            _stop(server.process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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


@dataclass
class Operator:
    """The manager as a process, with the rights of its Role, on one namespace."""

    plane: ControlPlane
    namespace: str
    log: Path
    flags: tuple[str, ...] = ()
    program: tuple[str, ...] = ("-m", "swarm_operator.cmd.manager")
    metrics_port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            *(sys.executable, *self.program),
            *("--kubeconfig", self.plane.kubeconfig("operator"), "--watch-namespaces", self.namespace),
            *("--metrics-bind-address", f"127.0.0.1:{self.metrics_port}", "--no-metrics-secure"),
            *("--health-probe-bind-address", f"127.0.0.1:{self.health_port}", *self.flags),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(45)

    def metric(self, name: str) -> float:
        """A sample's value, by its name with labels; samples that differ in further labels are added up."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def writes(self) -> float:
        """Write requests sent so far, by every method that writes."""
        methods = ("POST", "PUT", "PATCH", "DELETE")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("rest_client_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted if any(f'method="{m}"' in line for m in methods))


@pytest.fixture
def start_operator(control_plane: ControlPlane, namespace: str, tmp_path: Path):
    """Make operators; at the end none of them may have been refused a right that it needs."""
    made: list[Operator] = []

    def start(*flags: str, plane: ControlPlane = control_plane, **options: Any) -> Operator:
        operator = Operator(plane, namespace, tmp_path / f"operator-{len(made)}.log", flags, **options)
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


async def eventually(check: Callable[[], Awaitable[object]], *, seconds: float = 30.0) -> object:
    """Wait until `check` returns something true without failing, and return that; else fail as it last failed."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = await check()
            if found or time.monotonic() > deadline:
                assert found, f"still not so after {seconds} s"
                return found
        except (AssertionError, NotFoundError, KeyError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


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

    async def store(self, name: str, **spec: object) -> Object:
        return await self.apply(kinds.SWARM_MEMORY_STORE, name, spec)

    async def cluster(self, name: str, **memory: object) -> Object:
        return await self.apply(kinds.SWARM_CLUSTER, name, {"memory": memory})

    async def condition(self, resource: Resource, name: str, kind: str) -> Object:
        obj = await self.get(resource, name)
        return {c["type"]: c for c in obj.get("status", {}).get("conditions", ())}[kind]

    async def pretend_ready(self, name: str) -> None:
        """Be the StatefulSet controller: the pod of the newest template is ready."""
        generation = (await self.get(kinds.STATEFUL_SET, name))["metadata"]["generation"]
        body = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name, "namespace": self.namespace},
            "status": {
                "observedGeneration": generation,
                "replicas": 1,
                "readyReplicas": 1,
                "currentRevision": f"r{generation}",
                "updateRevision": f"r{generation}",
            },
        }
        await self.client.apply(kinds.STATEFUL_SET, body, field_manager="test", subresource="status")


@pytest.fixture
def objects(admin: Client, namespace: str) -> Objects:
    return Objects(admin, namespace)


@dataclass
class MemoryService:
    """A real swarm-memory on this machine."""

    port: int
    tokens: Path


@pytest.fixture
def memory_service(tmp_path: Path):
    """Start a memory service with the tokens of a Secret."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(data: dict[str, str], port: int) -> None:
        import base64

        tokens = tmp_path / "tokens"
        tokens.mkdir()
        for name, value in data.items():
            (tokens / name).write_bytes(base64.b64decode(value))
        program = shutil.which("swarm-memory", path=str(Path(sys.executable).parent))
        command = [
            *(program, "serve", "--data-dir", tmp_path / "data", "--token-dir", tokens, "--swarm-id", "test"),
            *("--http-port", port, "--metrics-port", free_port()),
        ]
        processes.append(subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL))

    yield start
    for process in processes:
        _stop(process)


@pytest.fixture
def memory_port() -> int:
    return free_port()
