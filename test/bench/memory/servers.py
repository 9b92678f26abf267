"""The servers that are measured, as processes on ports of their own."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.authority import Authority
from support.controlplane import free_port, stop

_DEADLINE = 60.0


@dataclass(slots=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    token: str = ""
    grpc_port: int = 0
    ready_seconds: float = 0.0
    """From the start of its process until it answered."""
    scheme: str = "http"


@contextlib.contextmanager
def swarm_memory(data: Path, *flags: str, program: str | None = None) -> Iterator[Server]:
    """swarm-memory with its defaults on a data directory, that is, with tokens and metrics."""
    program = program or shutil.which("swarm-memory", path=str(Path(sys.executable).parent)) or "swarm-memory"
    port, grpc_port, metrics = free_port(), free_port(), free_port()
    ports = ("--http-port", str(port), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics))
    scheme = "https" if "--tls-dir" in flags else "http"
    with running([program, "serve", "--data-dir", str(data), *ports, *flags], port, "/readyz", scheme) as server:
        server.token = (data / "tokens/client-token").read_text().strip()
        server.grpc_port = grpc_port
        yield server


@contextlib.contextmanager
def swarm_memory_with_tls(data: Path) -> Iterator[Server]:
    """The same with TLS, by a certificate as the operator makes them: with a key of the curve P-256."""
    pair = Authority("bench", datetime.now(UTC)).pair(data.parent / "tls")
    with swarm_memory(data, "--tls-dir", str(pair)) as server:
        yield server


@contextlib.contextmanager
def bare() -> Iterator[Server]:
    """See bare.py."""
    port = free_port()
    with running([sys.executable, str(Path(__file__).parent / "bare.py"), str(port)], port, "/") as server:
        server.token = secrets.token_urlsafe(32)  # as long as the service's, and looked at by nobody
        yield server


@contextlib.contextmanager
def redis(data: Path) -> Iterator[Server]:
    """Redis that syncs its log before it answers."""
    port = free_port()
    data.mkdir()
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", *durable, "--dir", str(data)]
    with running(command, port, None) as server:
        yield server


@contextlib.contextmanager
def running(command: list[str], port: int, path: str | None, scheme: str = "http") -> Iterator[Server]:
    """A server while it runs, from when it accepts connections, or from when the path answers 200."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port, path, scheme):
            if process.poll() is not None or time.monotonic() > started + _DEADLINE:
                raise RuntimeError(f"{command[0]} does not answer")
            time.sleep(0.005)
        yield Server(process, port, ready_seconds=time.monotonic() - started, scheme=scheme)
    finally:
        stop(process)


def _answers(port: int, path: str | None, scheme: str) -> bool:
    try:
        if path is None:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        connection = (
            http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            if scheme == "http"
            # As wrk, it verifies nothing.
            else http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=ssl._create_unverified_context())
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except OSError:
        return False
