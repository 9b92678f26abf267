"""An agent of the service in this process, and work that a test controls."""

import asyncio

import pytest
from structlog.testing import capture_logs

from swarm_operator.memory.agent import Agent, AgentSettings
from swarm_operator.memory.client import MemoryClient


class Working:
    """Work that begins when a task comes and ends when the test says so."""

    def __init__(self):
        self.begun = asyncio.Queue()
        self.ended = asyncio.Queue()
        self._outcomes = asyncio.Queue()

    async def __call__(self, task):
        self.begun.put_nowait(task["id"])
        try:
            outcome = await self._outcomes.get()
        except asyncio.CancelledError:
            self.ended.put_nowait(task["id"])
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def end(self, outcome):
        self._outcomes.put_nowait(outcome)


@pytest.fixture
def working():
    return Working()


@pytest.fixture
async def memory(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as client:
        yield client


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


@pytest.fixture
async def start_agent(memory, background):
    """start_agent(work, agent_id=..., client=...) gives a running agent and the task that runs it."""

    def start(work, *, client=memory, **settings):
        agent = Agent(client, AgentSettings(**{"agent_id": "a1", "poll": 0.01, **settings}), work)
        return agent, background(agent.run())

    return start
