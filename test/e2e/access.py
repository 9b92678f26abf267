"""A store in the cluster, as a client on this host reaches it."""

from __future__ import annotations

import base64
import contextlib
import re
import subprocess
from collections.abc import Iterator

from e2e.cluster import CONTEXT

STORE = "my-cluster-memory"
"""The example's."""


@contextlib.contextmanager
def port_forward(space, name: str, port: int, *, local: int | None = None) -> Iterator[int]:
    """A port of a store's Service, on a free port of this host unless `local` names one."""
    command = [
        "kubectl",
        "--context",
        CONTEXT,
        "-n",
        space.name,
        "port-forward",
        f"service/{name}",
        f"{local or ''}:{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            line = forwarding.stdout.readline()
            found = re.search(rf"127\.0\.0\.1:(\d+) -> {port}", line)
            assert found, line
            yield int(found[1])
        finally:
            forwarding.terminate()


@contextlib.contextmanager
def forwarded(space, name: str = STORE) -> Iterator[str]:
    """The address of a store's HTTP API."""
    with port_forward(space, name, 8080) as port:
        yield f"http://127.0.0.1:{port}"


def token(space, name: str = STORE, *, holder: str = "client") -> str:
    """A store's client token, or its admin's."""
    secret = space.get(f"secret/{name}-auth")
    return base64.b64decode(secret["data"][f"{holder}-token"]).decode().strip()
