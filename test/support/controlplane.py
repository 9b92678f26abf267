"""A real control plane and the operator as a process, for tests and benchmarks.

There is no kubelet and no controller-manager here: no pod runs and nothing is garbage collected.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support.zygote import Child, Zygote

TOP = Path(__file__).resolve().parents[2]
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


def find_binaries() -> Path:
    """Folder of kube-apiserver, etcd and kubectl: $KUBEBUILDER_ASSETS, or what hack/kind built or now builds."""
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
    processes: tuple[subprocess.Popen[bytes], ...] = ()
    """etcd and kube-apiserver."""

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

    def wait_ready(self) -> None:
        """Wait until its kube-apiserver is ready."""
        deadline = time.monotonic() + 90
        while self.kubectl_run("get", "--raw", "/readyz").returncode:
            assert time.monotonic() < deadline, (self.folder / "kube-apiserver.log").read_text()[-3000:]
            time.sleep(0.3)


IPV6_ONLY = ("--service-cluster-ip-range", "fd00:10::/112", "--advertise-address", "2001:db8::1")
"""Flags of an API server at [::1] that knows no IPv4."""


@contextlib.contextmanager
def run_control_plane(
    binaries: Path, folder: Path, *apiserver_flags: str, loopback: str = "127.0.0.1"
) -> Iterator[ControlPlane]:
    """Run a control plane with its files in `folder` that listens on a loopback address, and end it."""
    host = f"[{loopback}]" if ":" in loopback else loopback
    tokens = {"admin": secrets.token_hex(16), "operator": secrets.token_hex(16)}
    (folder / "tokens.csv").write_text(
        f'{tokens["admin"]},admin,1,"system:masters"\n'
        f'{tokens["operator"]},{OPERATOR_ACCOUNT},2,"system:serviceaccounts,system:authenticated"\n'
    )
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url = f"http://{host}:{etcd_port}"
    etcd = [
        *(binaries / "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync"),
        *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
        *("--listen-peer-urls", f"http://{host}:{peer_port}"),
    ]
    apiserver = [
        *(binaries / "kube-apiserver", "--etcd-servers", etcd_url, "--cert-dir", folder / "certs"),
        *("--bind-address", loopback, "--token-auth-file", folder / "tokens.csv"),
        *("--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.0.0.0/16"),
        *("--service-account-issuer", "https://localhost", "--service-account-key-file", key),
        *("--service-account-signing-key-file", key, "--disable-admission-plugins", "ServiceAccount"),
        *apiserver_flags,
    ]
    apiserver = list(map(str, apiserver))
    processes = []
    with contextlib.ExitStack() as stack:
        for name, command in (("etcd", etcd), ("kube-apiserver", [*apiserver, "--secure-port", port])):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=folder)
            stack.callback(stop, process)
            processes.append(process)
        plane = ControlPlane(
            f"https://{host}:{port}", folder, binaries / "kubectl", tokens, apiserver, tuple(processes)
        )
        plane.wait_ready()
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


def stop(process: subprocess.Popen[bytes] | Child) -> None:
    """SIGTERM, and SIGKILL if that does not help."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
        self.plane.wait_ready()

    def kill(self) -> None:
        """kill -9."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        assert self.process
        self.process.send_signal(number)


@dataclass
class Operator:
    """The manager as a process, with the rights of its Role, on one namespace."""

    plane: ControlPlane
    namespace: str
    log: Path
    flags: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    """What Python runs in place of the manager."""
    metrics_port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    zygote: Zygote | None = None
    """What forks the manager; without it, and any other program, starts by itself."""
    process: subprocess.Popen[bytes] | Child | None = None

    def start(self) -> None:
        arguments = [
            *("--kubeconfig", self.plane.kubeconfig("operator"), "--watch-namespaces", self.namespace),
            *("--metrics-bind-address", f"127.0.0.1:{self.metrics_port}", "--no-metrics-secure"),
            *("--health-probe-bind-address", f"127.0.0.1:{self.health_port}", *self.flags),
        ]
        with self.log.open("ab") as log:
            if self.zygote and not self.program:
                self.process = self.zygote.start(*arguments, output=log.fileno())
                return
            command = [sys.executable, *(self.program or ("-m", "swarm_operator.cmd.manager")), *arguments]
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
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/readyz", timeout=60) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def writes(self) -> float:
        """Write requests sent so far, by every method that writes."""
        methods = ("POST", "PUT", "PATCH", "DELETE")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("rest_client_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted if any(f'method="{m}"' in line for m in methods))
