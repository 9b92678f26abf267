"""An agent: its registration, its tasks, what it does when it loses one, and how it ends."""

import asyncio

import pytest

from swarm_operator.memory.agent import AgentError, MemoryWork, WorkError
from swarm_operator.memory.client import MemoryAuthError, MemoryClient, MemoryRequestError

NEW_TOKEN = "client-new-0123456789"


async def status(memory, task_id):
    task = await memory.tasks.get(task_id)
    return task["status"], task.get("claimedBy")


async def outcome(memory, eventually, task_id="t1"):
    async def ended():
        task = await memory.tasks.get(task_id)
        return task if task["status"] in {"completed", "failed"} else None

    return await eventually(ended)


async def told(events, eventually, text):
    async def found():
        return next((event for event in events if event["event"] == text), None)

    return await eventually(found)


async def test_an_agent_registers_claims_completes_and_leaves(memory, start_agent, working, eventually):
    await memory.tasks.create(id="other", type="reviewer")
    await memory.tasks.create(id="t1", type="coder")
    agent, running = start_agent(working, types=("coder",), cognitive_patterns=("lateral", "critical"))
    assert await working.begun.get() == "t1"
    record = await memory.agents.get("a1")
    assert (record["type"], record["capabilities"]) == ("worker", ["coder"])
    assert record["cognitivePatterns"] == ["lateral", "critical"]

    async def busy():
        return (await memory.agents.get("a1"))["status"] == "busy"

    await eventually(busy)
    working.end({"answer": 42})
    task = await outcome(memory, eventually)
    assert (task["status"], task["claimedBy"], task["result"]) == ("completed", "a1", {"answer": 42})
    agent.stop()
    await running
    assert await memory.agents.get("a1") is None
    assert await status(memory, "other") == ("pending", None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WorkError("no compiler"), "no compiler"),
        (ExceptionGroup("of a task group", [WorkError("no compiler")]), "no compiler"),
        (KeyError(), "KeyError"),
        (1 + 2j, "result"),
    ],
)
async def test_work_that_fails_fails_the_task(memory, start_agent, working, eventually, error, said):
    await memory.tasks.create(id="t1")
    start_agent(working)
    working.end(error)
    task = await outcome(memory, eventually)
    assert task["status"] == "failed"
    assert said in task["error"]


async def test_a_failed_task_with_retries_is_tried_again(memory, start_agent, working, eventually):
    await memory.tasks.create(id="t1", maxRetries=1)
    start_agent(working)
    working.end(WorkError("not yet"))
    working.end("now")
    task = await outcome(memory, eventually)
    assert (task["status"], task["failures"], task["result"]) == ("completed", 1, "now")


async def test_a_lease_is_renewed_while_the_agent_works(memory, start_agent, working, eventually, clock):
    await memory.tasks.create(id="t1")
    start_agent(working, lease=60, renew_every=0.01)
    await working.begun.get()
    for _ in range(2):
        expires = (await memory.tasks.get("t1"))["leaseExpiresAt"]
        clock.advance(30)

        async def renewed(expires=expires):
            return (await memory.tasks.get("t1"))["leaseExpiresAt"] > expires

        await eventually(renewed)


async def test_work_stops_when_another_agent_has_the_task(
    memory, start_agent, working, eventually, clock, logged, monkeypatch
):
    await memory.tasks.create(id="t1")
    renewals = asyncio.Event()
    renew = memory.tasks.renew

    async def late(*arguments, **options):
        await renewals.wait()
        return await renew(*arguments, **options)

    monkeypatch.setattr(memory.tasks, "renew", late)
    start_agent(working, lease=60, renew_every=0.01)
    await working.begun.get()
    clock.advance(61)
    await memory.tasks.claim("t1", agent="a2", lease=3600)
    renewals.set()
    assert await working.ended.get() == "t1"
    event = await told(logged, eventually, "task lost, work stopped")
    assert "not claimed by 'a1'" in event["reason"]
    assert await status(memory, "t1") == ("in_progress", "a2")


async def test_work_stops_when_its_task_is_deleted(memory, start_agent, working, eventually, logged):
    await memory.tasks.create(id="t1")
    start_agent(working, renew_every=0.01)
    await working.begun.get()
    await memory.tasks.delete("t1")
    assert await working.ended.get() == "t1"
    assert (await told(logged, eventually, "task lost, work stopped"))["reason"] == "the task was deleted"
    await memory.tasks.create(id="t2")
    assert await working.begun.get() == "t2"


async def test_work_stops_when_its_lease_ends_and_the_memory_cannot_be_reached(
    memory, start_agent, working, eventually, logged, monkeypatch
):
    await memory.tasks.create(id="t1")

    async def unreachable(*_, **__):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(memory.tasks, "renew", unreachable)
    start_agent(working, lease=0.2, renew_every=0.01)
    await working.begun.get()
    assert await working.ended.get() == "t1"
    event = await told(logged, eventually, "task lost, work stopped")
    assert event["reason"] == "the lease ended before the memory answered"


async def test_a_result_is_not_taken_once_another_agent_has_the_task(
    memory, start_agent, working, eventually, clock, logged
):
    await memory.tasks.create(id="t1")
    start_agent(working, lease=60)
    await working.begun.get()
    clock.advance(61)
    await memory.tasks.claim("t1", agent="a2", lease=3600)
    working.end("late")
    assert (await told(logged, eventually, "task lost"))["outcome"] == "completed"
    assert await status(memory, "t1") == ("in_progress", "a2")


async def test_a_stopped_agent_finishes_its_task(memory, start_agent, working, eventually):
    await memory.tasks.create(id="t1")
    await memory.tasks.create(id="t2")
    agent, running = start_agent(working)
    await working.begun.get()
    agent.stop()
    working.end("done")
    await running
    assert (await memory.tasks.get("t1"))["result"] == "done"
    assert await status(memory, "t2") == ("pending", None)


@pytest.mark.parametrize("by", ["time", "a second signal"])
async def test_after_the_grace_period_the_task_is_released(memory, start_agent, working, by):
    await memory.tasks.create(id="t1")
    agent, running = start_agent(working, grace=0.05 if by == "time" else 3600)
    await working.begun.get()
    agent.stop()
    if by != "time":
        agent.stop()
    await running
    assert working.ended.get_nowait() == "t1"
    task = await memory.tasks.get("t1")
    assert (task["status"], task["history"][-1]["reason"]) == ("pending", "the agent stops")
    assert await memory.agents.get("a1") is None


async def test_an_agent_goes_on_with_the_task_that_its_former_process_had(memory, start_agent, working, eventually):
    for task_id in ("t1", "t2", "t3"):
        await memory.tasks.create(id=task_id)
    await memory.tasks.claim("t2", agent="a1", lease=3600)
    await memory.tasks.claim("t3", agent="a2", lease=3600)
    start_agent(working)
    assert await working.begun.get() == "t2"
    working.end("done")
    assert await working.begun.get() == "t1"
    assert (await outcome(memory, eventually, "t2"))["attempts"] == 1


async def test_a_claim_whose_answer_was_lost_is_found_again(memory, start_agent, working, monkeypatch):
    from swarm_operator.memory.client import MemoryUnavailableError

    await memory.tasks.create(id="t1")
    claim_next, lost = memory.tasks.claim_next, []

    async def once(**options):
        if not lost:
            lost.append(await claim_next(**options))
            raise MemoryUnavailableError("gone", uncertain=True)
        return await claim_next(**options)

    monkeypatch.setattr(memory.tasks, "claim_next", once)
    start_agent(working, lease=3600)
    assert await working.begun.get() == "t1"
    assert lost[0]["id"] == "t1"


async def test_an_agent_that_was_forgotten_registers_again(memory, start_agent, working, eventually):
    start_agent(working, heartbeat=1)

    async def there():
        return await memory.agents.get("a1")

    await eventually(there)
    await memory.agents.deregister("a1")
    await eventually(there)


async def test_a_token_that_is_replaced_is_read_again(service, start_agent, working, eventually, tmp_path, logged):
    token_file = tmp_path / "of-the-agent"
    token_file.write_text((service.tokens / "client-token").read_text())
    url = f"http://127.0.0.1:{service.port}"
    async with MemoryClient(url, token_file=token_file) as theirs, MemoryClient(url, token=NEW_TOKEN) as memory:
        agent, running = start_agent(working, client=theirs)
        await told(logged, eventually, "registered")
        (service.tokens / "client-token").write_text(NEW_TOKEN)

        async def created():
            try:
                return await memory.tasks.create(id="t1")
            except MemoryAuthError:
                return None

        await eventually(created)
        # The agent's file is behind: it is refused, waits, and goes on.
        await told(logged, eventually, "waiting for the memory")
        token_file.write_text(NEW_TOKEN)
        assert await working.begun.get() == "t1"
        working.end("done")
        await outcome(memory, eventually)
        agent.stop()
        await running


async def test_a_request_that_came_too_slowly_does_not_end_the_agent(
    memory, start_agent, working, eventually, monkeypatch, logged
):
    register, slow = memory.agents.register, [MemoryRequestError(408, {"title": "Request Timeout"})]

    async def starved(*arguments, **members):
        if slow:
            raise slow.pop()
        return await register(*arguments, **members)

    monkeypatch.setattr(memory.agents, "register", starved)
    agent, running = start_agent(working)
    await told(logged, eventually, "waiting for the memory")
    await told(logged, eventually, "registered")
    agent.stop()
    await running


async def test_an_agent_does_not_work_in_another_swarm_s_memory(memory, start_agent, working):
    await memory.tasks.create(id="t1")
    _, running = start_agent(working, swarm_id="blue")
    with pytest.raises(AgentError, match="'blue' is not allowed; this is the memory of the swarm 'default'"):
        await running
    assert await memory.agents.get("a1") is None
    assert await status(memory, "t1") == ("pending", None)


async def test_a_token_without_the_right_ends_the_agent(service, start_agent, working):
    document = '{"tokens": [{"name": "reader", "token": "reader-0123456789abcdef", "access": "read"}]}'
    (service.tokens / "tokens.json").write_text(document)
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token="reader-0123456789abcdef") as client:
        _, running = start_agent(working, client=client)
        with pytest.raises(MemoryAuthError):
            await running


async def test_by_default_descriptions_are_stored_and_related_ones_found(memory, start_agent, eventually):
    start_agent(MemoryWork(memory, "a1"))
    await memory.tasks.create(id="t1", type="coder", description="Design the queue")
    assert (await outcome(memory, eventually))["result"] == {
        "stored": {"namespace": "swarm:work", "key": "t1"}, "related": [],
    }  # fmt: skip
    await memory.tasks.create(id="t2", description='Test the "queue", please')
    assert (await outcome(memory, eventually, "t2"))["result"]["related"] == [{"namespace": "swarm:work", "key": "t1"}]
    await memory.tasks.create(id="t3")
    assert (await outcome(memory, eventually, "t3"))["result"]["related"] == []
    entry = await memory.get("swarm:work", "t1")
    assert entry.value == {"task": "t1", "type": "coder", "description": "Design the queue", "agent": "a1"}
