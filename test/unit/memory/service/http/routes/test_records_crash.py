"""kill -9 while agents work: no task is done twice, no result and no vote that was acknowledged is lost."""

import asyncio
import random
import signal

from swarm_operator.memory.client import MemoryClient, MemoryClientError

CYCLES = 5
AGENTS = 8
TASKS = 150


async def work_until_it_dies(url, token, agent, claimed, completed, enough):
    """Claim and complete one task after the other; note what was acknowledged."""
    async with MemoryClient(url, token=token, retries=0) as memory:
        while True:
            try:
                task = await memory.tasks.claim_next(agent=agent, lease=3600)
                if task is None:
                    enough.set()
                    return
                claimed.setdefault(task["id"], []).append(agent)
                await memory.tasks.complete(task["id"], agent=agent, result=agent)
                completed[task["id"]] = agent
                enough.set()
            except MemoryClientError:
                return


async def test_agents_go_on_where_a_killed_service_left_them(fork_process):
    claimed, completed = {}, {}
    for cycle in range(CYCLES + 1):
        process = await fork_process()
        async with MemoryClient(process.url, token=process.token) as memory:
            if cycle == 0:
                for number in range(TASKS):
                    await memory.tasks.create(
                        id=f"t{number:03}", dependencies=[f"t{number - 3:03}"] if number > 2 else []
                    )
            tasks = {task["id"]: task async for task in memory.tasks.iterate(limit=1000)}
            assert len(tasks) == TASKS
            for task_id, agent in completed.items():
                assert (tasks[task_id]["status"], tasks[task_id]["result"]) == ("completed", agent)
            for task_id, agents in claimed.items():
                assert tasks[task_id]["claimedBy"] == agents[0]
            assert all(len(agents) == 1 for agents in claimed.values()), "a task was handed out twice"
            for task in tasks.values():
                if task["status"] == "in_progress":  # its answer, or its result, was cut off by the kill
                    await memory.tasks.complete(task["id"], agent=task["claimedBy"])
            if cycle == CYCLES:
                break
        enough = asyncio.Event()
        workers = [
            asyncio.ensure_future(
                work_until_it_dies(process.url, process.token, f"{cycle}-{number}", claimed, completed, enough)
            )
            for number in range(AGENTS)
        ]
        await enough.wait()
        await asyncio.sleep(random.uniform(0, 0.1))
        await process.stop(signal.SIGKILL)
        await asyncio.gather(*workers)
    assert len(completed) >= CYCLES
