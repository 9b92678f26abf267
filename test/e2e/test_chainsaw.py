"""sqlite_memory_test.yaml, by the real chainsaw."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from e2e.cluster import CONTEXT, run

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(1200)  # chainsaw is built first, once a machine


@pytest.fixture(scope="session")
def chainsaw() -> Path:
    """The program."""
    done = subprocess.run([HERE / "chainsaw/build.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def test_a_swarm_s_memory_is_backed_up_and_restored(space, chainsaw):
    run(
        *(chainsaw, "test", HERE, "--test-file", "sqlite_memory_test.yaml", "--kube-context", CONTEXT),
        *("--namespace", space.name, "--no-color", "--skip-delete"),
        timeout=600,
    )
