"""A service with a destination for backups, and its administrator's client."""

import pytest
from support.restores import ADMIN, Gate

from swarm_operator.memory.client import (
    MemoryClient,
)
from swarm_operator.memory.transfer.restores import jobs
from swarm_operator.memory.transfer.restores.states import Phase


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    return folder


@pytest.fixture
async def service(start_service, root):
    async with start_service(backups=f"file://{root}", mcp=True) as running:
        yield running


@pytest.fixture
async def admin(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as client:
        yield client


@pytest.fixture
def held(monkeypatch):
    """Hold each restore before the exchange of files: writes wait until the gate is opened."""
    gate, save = Gate(), jobs.save

    async def wait(file, states):
        await save(file, states)
        if any(state.phase is Phase.SWAPPING for state in states):
            gate.reached.set()
            await gate.opened.wait()

    monkeypatch.setattr(jobs, "save", wait)
    return gate
