"""The records of a swarm on a real file."""

import pytest

from swarm_operator.memory.swarm import Swarm


@pytest.fixture
def swarm(store):
    return Swarm(store)


@pytest.fixture
def agents(swarm):
    return swarm.agents


@pytest.fixture
def tasks(swarm):
    return swarm.tasks
