"""The kind cluster with the operator deployed as `make deploy` does, a namespace for each test.

`make test-e2e` makes the cluster and the images first. Everything is done with kubectl, as users do.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from e2e.cluster import SYSTEM, TOP, kubectl, run


@pytest.fixture(scope="session")
def deployment() -> Iterator[None]:
    """The operator in the cluster, and the images of both programs."""
    try:
        run(TOP / "hack/kind-deploy.sh", timeout=300)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        error.add_note(run(TOP / "hack/kind/cluster.sh", "diagnose", check=False))
        raise
    yield
    log = kubectl("-n", SYSTEM, "logs", "deployment/swarm-operator-controller-manager")
    assert " is forbidden: User" not in log, "the Role lacks a right that the operator needs"
    assert "something unforeseen" not in log, log


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


@pytest.fixture
def space(deployment: None) -> Iterator[Space]:
    """A namespace in which only restricted pods may run."""
    name = f"swarm-e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Space(name)
    kubectl("delete", "namespace", name, "--wait=false")
