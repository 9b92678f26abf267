"""The kind cluster with the operator deployed as `make deploy` does, a namespace for each test.

`make test-e2e` makes the cluster and the images first. Everything is done with kubectl, as users do.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator

import pytest
from e2e.cluster import SYSTEM, TOP, kubectl, run
from e2e.space import Space, new_space


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The operator in the cluster, and the images of both programs. One process of a run deploys them."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "deployed").open("a+") as done:
        fcntl.flock(done, fcntl.LOCK_EX)
        done.seek(0)
        if not done.read():
            deploy()
            done.write("yes")
    yield
    log = kubectl("-n", SYSTEM, "logs", "deployment/swarm-operator-controller-manager")
    assert " is forbidden: User" not in log, "the Role lacks a right that the operator needs"
    assert "something unforeseen" not in log, log


def deploy() -> None:
    try:
        run(TOP / "hack/kind-deploy.sh", timeout=300)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        error.add_note(run(TOP / "hack/kind/cluster.sh", "diagnose", check=False))
        raise


@pytest.fixture
def operator_alone(deployment: None) -> None:
    """Mark a test that disturbs the operator or looks at it: test/conftest.py lets such tests run one after another."""


@pytest.fixture
def space(deployment: None) -> Iterator[Space]:
    """A namespace of the test's own."""
    with new_space() as made:
        yield made


@pytest.fixture(scope="module")
def example(deployment: None) -> Iterator[Space]:
    """A namespace with the example's swarm and an agent, both ready, for the tests of a module that can share them."""
    with new_space() as made:
        made.apply_example()
        made.start_agent()
        yield made
