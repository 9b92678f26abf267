"""The records of a swarm, on each engine."""

import pytest
from support.engines import ENGINES, open_store

from swarm_operator.memory.swarm import Swarm


@pytest.fixture(params=ENGINES)
async def store(request, tmp_path, clock):
    async with open_store(request.param, tmp_path / "store.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def swarm(store):
    return Swarm(store)


@pytest.fixture
def agents(swarm):
    return swarm.agents


@pytest.fixture
def tasks(swarm):
    return swarm.tasks
