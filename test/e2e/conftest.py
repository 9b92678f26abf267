"""The kind cluster with the operator deployed as `make deploy` does, a namespace for each test.

`make test-e2e` makes the cluster and the images first. Everything is done with kubectl, as users do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from e2e.cluster import SYSTEM, TOP, kubectl, run
from e2e.space import Space, new_space


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


@pytest.fixture
def space(deployment: None) -> Iterator[Space]:
    """A namespace of the test's own."""
    with new_space() as made:
        yield made
