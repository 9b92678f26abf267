"""Agents as processes that are killed at any moment: every task is completed, none twice, and one agent is queen."""

import asyncio
import contextlib
import json
import random
import signal
from collections import Counter

import pytest
from support.budget import budget

from swarm_operator.memory.client import MemoryClient

TASKS = budget(80, long=200)
AGENTS = 5
KILLS = 8


class AgentProcess:
    """`swarm-memory agent` as a process of its own, and what it logs."""

    def __init__(self, process, agent_id):
        self.process = process
        self.agent_id = agent_id
        self.log = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        while line := await self.process.stderr.readline():
            with contextlib.suppress(ValueError):  # it was killed while it wrote a line
                self.log.append(json.loads(line))

    def told(self, event):
        return [each for each in self.log if each["event"] == event]

    async def stop(self, number):
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        await self._reading


@pytest.fixture
async def start_agent(zygote):
    """start_agent(service, *flags, agent_id=...) starts an agent; all are killed at the end."""
    started = []

    async def start(service, *flags, agent_id):
        token_file = service.data_dir / "tokens" / "client-token"
        hive = ("--hive-mind-url", service.url, "--hive-mind-token-file", str(token_file), "--queen-lease", "1s")
        flags = ("--url", service.url, "--token-file", str(token_file), "--agent-id", agent_id, *hive, *flags)
        started.append(AgentProcess(await zygote.fork("agent", *flags), agent_id))
        return started[-1]

    yield start
    for agent in started:
        await agent.stop(signal.SIGKILL)


async def test_tasks_are_completed_once_each_while_agents_and_the_memory_are_killed(
    fork_process, start_agent, eventually
):
    service = await fork_process("--swarm-id", "blue")
    flags = ("--swarm-id", "blue", "--lease", "1s", "--grace", "60s")
    agents = [await start_agent(service, *flags, agent_id=f"a{number}") for number in range(AGENTS)]
    everyone = [*agents]
    chance = random.Random(17)
    async with MemoryClient(service.url, token=service.token, retry_for=60) as memory:
        tasks = [{"id": f"t{number:03}", "description": f"Say what number {number} is"} for number in range(TASKS)]
        await asyncio.gather(*(memory.tasks.create(**task) for task in tasks))

        async def completed(number):
            async def reached():
                return (await memory.swarm.stats())["tasks"]["completed"] >= number

            await eventually(reached, seconds=90)

        # It is away for longer than its lease, and finds out when it comes back.
        frozen = agents.pop()
        frozen.process.send_signal(signal.SIGSTOP)
        for number in range(1, KILLS + 1):
            await completed(number * TASKS // KILLS // 2)
            place = chance.randrange(len(agents))
            await agents[place].stop(signal.SIGKILL)
            # One comes back under its own name, another one is replaced.
            name = agents[place].agent_id if number % 2 else f"b{number}"
            agents[place] = await start_agent(service, *flags, agent_id=name)
            everyone.append(agents[place])
            if number == KILLS // 2:
                await service.stop(signal.SIGKILL)
                service = await fork_process("--swarm-id", "blue", "--http-port", service.url.rpartition(":")[2])
        await completed(TASKS)
        frozen.process.send_signal(signal.SIGCONT)
        await asyncio.gather(*(agent.stop(signal.SIGTERM) for agent in [*agents, frozen]))
        found = [task async for task in memory.tasks.iterate()]
        left = [agent["id"] async for agent in memory.agents.iterate()]
        queen = await memory.leases.get("queen")
    assert len(found) == TASKS
    for task in found:
        events = [(event["status"], event.get("agent")) for event in task["history"]]
        assert [status for status, _ in events].count("completed") == 1, task
        # Who completed it had it at that moment.
        assert events[-1] == ("completed", events[-2][1]), task
        assert task["result"]["stored"]["key"] == task["id"]
    told = Counter(event["task"] for agent in everyone for event in agent.told("task completed"))
    assert not {task_id: count for task_id, count in told.items() if count > 1}
    assert not [event for agent in everyone for event in agent.log if event["level"] == "error"]
    assert not {agent.agent_id for agent in [*agents, frozen]} & set(left)
    terms = [event["term"] for agent in everyone for event in agent.told("is queen")]
    assert len(terms) == len({*terms}), "each queen has a term of her own"
    assert queen["term"] >= max(terms) >= 1
    assert not queen["held"], "she gave the lease back when she stopped"
