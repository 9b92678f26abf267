"""The work of a pool of agents: what is counted, once, and how much is read for it."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import Swarm
from swarm_operator.memory.swarm.tasks import workload


async def add(tasks, *ids, **members):
    for task_id in ids:
        await tasks.create({"id": task_id, **members})


async def counts(tasks, pool="*"):
    found = await tasks.workload(pool)
    return found.claimable, found.in_flight, found.work, found.partial


async def test_nothing_is_no_work(tasks):
    assert await counts(tasks) == (0, 0, 0, False)
    assert (await tasks.workload("*")).oldest_seconds == 0


async def test_what_an_agent_may_claim_and_what_agents_hold(tasks, clock):
    await add(tasks, "free", "held", "done", "failed", "expired")
    await add(tasks, "assigned", assignedAgents=["a9"])
    await add(tasks, "blocked", dependencies=["free"])
    await add(tasks, "ready", "ready-too", dependencies=["done"])
    await tasks.claim("expired", "a1", lease=1)
    for task_id, status in (("done", "completed"), ("failed", "failed")):
        await tasks.set_status(task_id, status)
    clock.advance(2)
    await tasks.claim("held", "a1", lease=60)
    # free, assigned, ready, ready-too, expired
    assert await counts(tasks) == (5, 1, 6, False)
    clock.advance(60)
    assert await counts(tasks) == (6, 0, 6, False)


async def test_a_pool_is_a_type_and_the_star_is_every_task(tasks):
    await add(tasks, "c1", "c2", type="coder")
    await add(tasks, "r1", type="reviewer")
    await add(tasks, "untyped")
    await tasks.claim("c1", "a1")
    assert await counts(tasks, "coder") == (1, 1, 2, False)
    assert await counts(tasks, "reviewer") == (1, 0, 1, False)
    assert await counts(tasks, "nobody") == (0, 0, 0, False)
    assert await counts(tasks, "*") == (3, 1, 4, False)


async def test_a_task_that_was_started_without_a_claim_is_in_flight(tasks):
    await add(tasks, "t1")
    await tasks.set_status("t1", "in_progress")
    assert await counts(tasks) == (0, 1, 1, False)


async def test_the_age_is_that_of_the_oldest_claimable_task(tasks, store, clock):
    await add(tasks, "old")
    clock.advance(5)
    await add(tasks, "young")
    clock.advance(2.5)
    assert (await tasks.workload("*")).oldest_seconds == 7.5
    await tasks.claim("old", "a1")
    assert (await tasks.workload("*")).oldest_seconds == 2.5
    await tasks.claim("young", "a1")
    assert (await tasks.workload("*")).oldest_seconds == 0
    await store.put("swarm:tasks", "task:plain", {"status": "pending"}, tags=["task", "pending"])
    clock.advance(1)
    assert (await tasks.workload("*")).oldest_seconds == 1


async def test_a_task_that_is_claimed_during_the_count_is_counted_once(store, monkeypatch):
    tasks = Swarm(store).tasks
    await add(tasks, "t1", "t2")
    scan = tasks._records.scan

    async def scanning(**options):
        found = await scan(**options)
        if options["tags"] == ("pending",):
            await tasks.claim("t2", "a1")
        return found

    monkeypatch.setattr(tasks._records, "scan", scanning)
    assert await counts(tasks) == (1, 1, 2, False)


async def test_a_count_reads_a_bounded_number_of_tasks_and_says_so(store, monkeypatch):
    monkeypatch.setattr(workload, "MAX_READ", 150)
    tasks = Swarm(store).tasks
    await asyncio.gather(*(tasks.create({"id": f"t{number:03}", "type": "coder"}) for number in range(201)))
    await add(tasks, "u", type="rare")
    read = []
    scan = tasks._records.scan

    async def scanning(**options):
        entries, after = await scan(**options)
        read.extend(entries)
        return entries, after

    monkeypatch.setattr(tasks._records, "scan", scanning)
    assert await counts(tasks, "coder") == (200, 0, 200, True)
    assert len(read) == 200
    # The rare task lies behind those that are read: a scaler must not conclude that there is none.
    assert await counts(tasks, "rare") == (0, 0, 1, True)
    for number in range(20):
        await tasks.claim(f"t{number:03}", "a1")
    # Held tasks are counted, however many are pending.
    monkeypatch.setattr(workload, "MAX_READ", 90)
    assert await counts(tasks, "coder") == (100, 20, 120, True)


async def test_dependencies_count_towards_the_bound_and_are_read_once(store, monkeypatch):
    tasks = Swarm(store).tasks
    await add(tasks, *(f"d{number}" for number in range(5)))
    await add(tasks, "t1", "t2", "t3", dependencies=[f"d{number}" for number in range(5)])
    asked = []
    read = tasks._queue.read

    async def reading(ids):
        asked.extend(ids)
        return await read(ids)

    monkeypatch.setattr(tasks._queue, "read", reading)
    assert await counts(tasks) == (5, 0, 5, False)
    assert asked == [f"d{number}" for number in range(5)]
    asked.clear()
    monkeypatch.setattr(workload, "MAX_READ", 10)
    assert await counts(tasks) == (5, 0, 5, True)
    assert not asked


@pytest.mark.parametrize("pool", ["", "x" * 129, "a\0b"])
async def test_a_pool_is_a_word(tasks, pool):
    with pytest.raises(InvalidInputError) as caught:
        await tasks.workload(pool)
    assert caught.value.field == "pool"
