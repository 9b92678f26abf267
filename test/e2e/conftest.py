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


@dataclass(frozen=True)
class Deployment:
    """What is deployed."""

    memory_image: str


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    try:
        image = run(TOP / "hack/kind-deploy.sh", timeout=300).strip()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        error.add_note(run(TOP / "hack/kind/cluster.sh", "diagnose", check=False))
        raise
    yield Deployment(image)
    log = kubectl("-n", SYSTEM, "logs", "deployment/swarm-operator-controller-manager")
    assert " is forbidden: User" not in log, "the Role lacks a right that the operator needs"
    assert "something unforeseen" not in log, log


@dataclass(frozen=True)
class Space:
    """A namespace, and short ways to work in it."""

    name: str
    memory_image: str

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
        manifest = (TOP / "examples/agent.yaml").read_text()
        assert "image: swarm-memory:dev" in manifest
        self.kubectl("apply", "-f", "-", stdin=manifest.replace("swarm-memory:dev", self.memory_image))
        self.kubectl("wait", "--for=condition=Ready", "pod/agent", "--timeout=120s")

    def memory(self, *arguments: str) -> Any:
        """Run the memory's command line in the agent's pod; returns the decoded answer."""
        return json.loads(self.kubectl("exec", "agent", "--", "swarm-memory", *arguments))


@pytest.fixture
def space(deployment: Deployment) -> Iterator[Space]:
    """A namespace in which only restricted pods may run."""
    name = f"swarm-e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Space(name, deployment.memory_image)
    kubectl("delete", "namespace", name, "--wait=false")
