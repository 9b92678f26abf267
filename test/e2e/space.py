"""A namespace of the kind cluster, and short ways to work in it."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e.cluster import kubectl


@dataclass(frozen=True)
class Space:
    """A namespace, and short ways to work in it."""

    name: str

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return kubectl("-n", self.name, *arguments, **options)

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "-o", "json"))
        return found

    def apply_example(self) -> None:
        self.kubectl("apply", "-f", "examples/sqlite-memory-cluster.yaml")
        self.kubectl("wait", "--for=create", "swarmmemorystore/my-cluster-memory", "--timeout=60s")
        self.kubectl("wait", "--for=condition=Ready", "swarmmemorystore/my-cluster-memory", "--timeout=180s")

    def start_agent(self) -> None:
        """The pod of examples/agent.yaml."""
        self.kubectl("apply", "-f", "examples/agent.yaml")
        self.kubectl("wait", "--for=condition=Ready", "pod/agent", "--timeout=120s")

    def memory(self, *arguments: str) -> Any:
        """Run the memory's command line in the agent's pod; returns the decoded answer."""
        return json.loads(self.kubectl("exec", "agent", "--", "swarm-memory", *arguments))


@contextlib.contextmanager
def new_space() -> Iterator[Space]:
    """Give a new namespace, in which only restricted pods may run, to the end of the block."""
    name = f"swarm-e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    try:
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        yield Space(name)
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
