"""Tasks: claims, leases, status, retries, dependencies."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import RecordNotFoundError, RecordStateError

NOW = "2027-01-15T08:00:00.000Z"


async def refused(reason, call):
    with pytest.raises(RecordStateError) as caught:
        await call
    assert caught.value.reason == reason
    return str(caught.value)


async def add(tasks, *ids, **members):
    for task_id in ids:
        await tasks.create({"id": task_id, **members})


async def complete(tasks, *ids):
    for task_id in ids:
        await tasks.set_status(task_id, "completed")


async def statuses(tasks):
    return {record.id: record.document["status"] for record in (await tasks.list()).records}


async def test_a_task_is_stored_as_the_seed_stores_it(tasks, store):
    record = await tasks.create(
        {"id": "t1", "description": "do", "priority": "high", "assignedAgents": ["a1"], "custom": {"x": 1}}
    )
    entry = await store.get("swarm:tasks", "task:t1")
    assert entry.tags == ["task", "pending", "high"]
    assert entry.metadata == {"swarmId": "default", "assignedAgents": ["a1"]}
    assert (entry.ttl, {**entry.value, "updatedBy": None}) == (0, record.document)
    assert entry.value == {
        "id": "t1", "description": "do", "priority": "high", "assignedAgents": ["a1"], "custom": {"x": 1},
        "swarmId": "default", "createdAt": NOW, "updatedAt": NOW, "status": "pending", "attempts": 0,
        "history": [{"status": "pending", "at": NOW}],
    }  # fmt: skip


async def test_a_task_gets_an_id_and_a_second_one_of_that_name_is_refused(tasks):
    first, second = await tasks.create({}), await tasks.create({})
    assert first.id != second.id
    assert await refused("exists", tasks.create({}, task_id=first.id))


async def test_of_fifty_who_claim_a_task_one_gets_it(either_store):
    from swarm_operator.memory.swarm import Swarm

    tasks = Swarm(either_store).tasks
    await add(tasks, "t1")
    results = await asyncio.gather(*(tasks.claim("t1", f"a{number}") for number in range(50)), return_exceptions=True)
    winners = [result for result in results if not isinstance(result, Exception)]
    assert len(winners) == 1
    assert {result.reason for result in results if isinstance(result, RecordStateError)} == {"claimed"}
    stored = (await tasks.get("t1")).document
    assert stored == winners[0].document
    assert (stored["status"], stored["attempts"]) == ("in_progress", 1)


async def test_each_task_goes_to_one_of_many_who_ask_for_the_next(tasks):
    await add(tasks, *(f"t{number}" for number in range(30)))
    results = await asyncio.gather(*(tasks.claim_next(f"a{number}") for number in range(50)))
    claimed = [result.id for result in results if result is not None]
    assert sorted(claimed) == sorted({f"t{number}" for number in range(30)})
    for result in results:
        if result is not None:
            assert (await tasks.get(result.id)).document["claimedBy"] == result.document["claimedBy"]


async def test_the_next_task_is_the_most_urgent_and_of_those_the_oldest(tasks, clock):
    made = {}
    for number, priority in enumerate(("low", "medium", "critical", 0, 9, "high", 5, "normal")):
        made[(await tasks.create({"priority": priority})).id] = number
        clock.advance(1)
    order = [made[(await tasks.claim_next("a1")).id] for _ in range(8)]
    assert order == [2, 4, 5, 1, 6, 7, 0, 3]
    assert await tasks.claim_next("a1") is None


async def test_a_task_whose_lease_has_ended_takes_its_place_by_priority(tasks, clock):
    await add(tasks, "a-high", "b-high", "c-high", priority="high")
    await add(tasks, "low", priority="low")
    assert (await tasks.claim_next("dead", lease=1)).id == "a-high"
    await tasks.claim("low", "dead", lease=1)
    clock.advance(1)
    assert [(await tasks.claim_next("a1")).id for _ in range(4)] == ["a-high", "b-high", "c-high", "low"]


async def test_tasks_without_a_priority_come_last(tasks, store):
    for task_id, priority in (("a", None), ("b", "urgent")):
        await store.put("swarm:tasks", f"task:{task_id}", {"status": "pending", "priority": priority}, tags=["pending"])
    await add(tasks, "low", priority="low")
    assert [(await tasks.claim_next("a1")).id for _ in range(3)] == ["low", "a", "b"]


async def test_the_next_task_may_be_wanted_of_certain_types(tasks):
    await add(tasks, "t1", type="code")
    await add(tasks, "t2", type="test")
    assert await tasks.claim_next("a1", types=["write"]) is None
    assert (await tasks.claim_next("a1", types=["test", "write"])).id == "t2"
    assert (await tasks.claim_next("a1")).id == "t1"


async def test_more_tasks_than_one_look_are_handed_out_in_order_too(tasks):
    await asyncio.gather(*(tasks.create({"id": f"t{number:03}"}) for number in range(450)))
    await tasks.create({"id": "zz", "priority": "high"})
    assert (await tasks.claim_next("a1")).id == "zz"
    assert (await tasks.claim_next("a1")).id == "t000"


async def test_a_claim_can_be_claimed_again_when_its_lease_has_ended_and_not_before(tasks, clock):
    await add(tasks, "t1")
    first = await tasks.claim("t1", "a1", lease=10)
    assert first.document["leaseExpiresAt"] == "2027-01-15T08:00:10.000Z"
    clock.advance(9.999)
    await refused("claimed", tasks.claim("t1", "a2"))
    assert await tasks.claim_next("a2") is None
    clock.advance(0.001)
    second = await tasks.claim_next("a2")
    assert (second.id, second.document["claimedBy"], second.document["attempts"]) == ("t1", "a2", 2)
    assert second.document["history"][-1]["reason"] == "the lease of 'a1' ended"
    for call in (
        tasks.renew("t1", "a1"), tasks.release("t1", "a1"), tasks.set_status("t1", "completed", agent="a1"),
        tasks.set_status("t1", "failed", agent="a1"),
    ):  # fmt: skip
        await refused("not-claimed", call)
    assert (await tasks.get("t1")).document["claimedBy"] == "a2"


async def test_a_lease_that_somebody_else_gave_ends_within_a_second_of_its_time(tasks, store, clock):
    from swarm_operator.memory.swarm import Swarm

    assert await tasks.claim_next("a1") is None
    await add(tasks, "t1")
    await Swarm(store).tasks.claim("t1", "a2", lease=0.5)
    clock.advance(0.999)
    assert await tasks.claim_next("a1") is None
    clock.advance(0.001)
    assert (await tasks.claim_next("a1")).id == "t1"


async def test_a_lease_is_renewed_by_its_holder(tasks, clock):
    await add(tasks, "t1")
    await tasks.claim("t1", "a1", lease=10)
    clock.advance(9)
    await tasks.renew("t1", "a1", lease=10)
    clock.advance(9)
    await refused("claimed", tasks.claim("t1", "a2"))
    again = await tasks.claim("t1", "a1", lease=10)
    assert again.document["attempts"] == 1
    clock.advance(11)
    late = await tasks.renew("t1", "a1")
    assert late.document["leaseExpiresAt"] == "2027-01-15T08:05:29.000Z"


async def test_a_released_task_is_free_at_once(tasks):
    await add(tasks, "t1")
    await tasks.claim("t1", "a1")
    released = await tasks.release("t1", "a1", reason="lunch")
    assert released.document["status"] == "pending"
    assert not {"claimedBy", "leaseExpiresAt"} & released.document.keys()
    assert released.document["history"][-1] == {"status": "pending", "at": NOW, "agent": "a1", "reason": "lunch"}
    assert (await tasks.claim_next("a2")).id == "t1"


async def test_a_task_is_completed_with_its_result_and_time(tasks, store, clock):
    await add(tasks, "t1")
    await tasks.claim("t1", "a1")
    clock.advance(3)
    done = await tasks.set_status("t1", "completed", agent="a1", result={"lines": 5})
    assert done.document["result"] == {"lines": 5}
    assert done.document["completedAt"] == done.document["updatedAt"] == "2027-01-15T08:00:03.000Z"
    assert [event["status"] for event in done.document["history"]] == ["pending", "in_progress", "completed"]
    assert "leaseExpiresAt" not in done.document
    assert (await store.get("swarm:tasks", "task:t1")).tags == ["task", "completed", "medium"]


async def test_saying_the_same_again_is_harmless_and_another_result_is_refused(tasks):
    await add(tasks, "t1")
    await tasks.claim("t1", "a1")
    first = await tasks.set_status("t1", "completed", agent="a1", result=1)
    again = await tasks.set_status("t1", "completed", agent="a1", result=1)
    assert again.version == first.version
    await refused("not-allowed", tasks.set_status("t1", "completed", agent="a1", result=2))
    await refused("claimed", tasks.set_status("t1", "completed", agent="a2", result=1))


async def test_a_failed_task_is_pending_again_while_it_has_retries(tasks):
    await add(tasks, "t1", maxRetries=2)
    for failure in (1, 2, 3):
        await tasks.claim("t1", f"a{failure}")
        record = await tasks.set_status("t1", "failed", agent=f"a{failure}", error=f"no. {failure}")
        assert record.document["failures"] == failure
        assert record.document["error"] == f"no. {failure}"
        assert record.document["status"] == ("failed" if failure == 3 else "pending")
    assert await tasks.claim_next("a4") is None
    await tasks.set_status("t1", "pending")
    assert (await tasks.claim_next("a4")).document["attempts"] == 4


async def test_without_retries_failed_is_failed(tasks):
    await add(tasks, "t1")
    await tasks.claim("t1", "a1")
    assert (await tasks.set_status("t1", "failed", agent="a1")).document["status"] == "failed"


async def test_ended_leases_do_not_use_up_retries(tasks, clock):
    await add(tasks, "t1")
    for number in range(5):
        assert (await tasks.claim_next(f"a{number}", lease=1)).document["attempts"] == number + 1
        clock.advance(1)
    assert "failures" not in (await tasks.get("t1")).document


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (["completed"], "pending"), (["completed"], "failed"), (["completed"], "cancelled"), (["cancelled"], "pending"),
        (["in_progress", "failed"], "completed"), (["in_progress", "failed"], "in_progress"),
        (["cancelled"], "completed"),
    ],
)  # fmt: skip
async def test_what_is_over_is_over(tasks, path, status):
    await add(tasks, "t1")
    for step in path:
        await tasks.set_status("t1", step)
    await refused("not-allowed", tasks.set_status("t1", status))
    if path != ["in_progress", "failed"]:
        await refused("not-allowed", tasks.assign("t1", ["a1"]))
        await refused("not-allowed", tasks.claim("t1", "a1"))


async def test_an_assigned_task_is_for_those_alone(tasks, store):
    await add(tasks, "t1", assignedAgents=["a1", "a2"])
    await refused("assigned", tasks.claim("t1", "a3"))
    assert await tasks.claim_next("a3") is None
    assert (await tasks.claim_next("a2")).id == "t1"
    await tasks.release("t1", "a2")
    await tasks.assign("t1", [])
    assert (await tasks.claim_next("a3")).id == "t1"
    assert (await store.get("swarm:tasks", "task:t1")).metadata["assignedAgents"] == ["a3"]
    assert [record.id for record in (await tasks.list(agent="a3")).records] == ["t1"]
    assert (await tasks.list(agent="a1")).records == []


async def test_a_task_waits_for_its_dependencies(tasks):
    await add(tasks, "a", "b")
    await add(tasks, "c", dependencies=["a", "b"], priority="critical")
    assert "waits for 'a', 'b'" in await refused("blocked", tasks.claim("c", "a1"))
    await refused("blocked", tasks.set_status("c", "in_progress"))
    await refused("blocked", tasks.set_status("c", "completed"))
    assert (await tasks.claim_next("a1")).id == "a"
    await complete(tasks, "a")
    assert "waits for 'b'" in await refused("blocked", tasks.claim("c", "a1"))
    assert (await tasks.claim_next("a1")).id == "b"
    assert await tasks.claim_next("a1") is None
    await complete(tasks, "b")
    assert (await tasks.claim_next("a1")).id == "c"


async def test_blocked_tasks_do_not_hide_those_that_are_ready(tasks):
    await add(tasks, "first", assignedAgents=["nobody"])
    await add(tasks, *(f"t{number}" for number in range(40)), dependencies=["first"], priority="critical")
    await add(tasks, "ready", priority="low")
    assert (await tasks.claim_next("a1")).id == "ready"
    assert await tasks.claim_next("a1") is None


async def test_a_dependency_that_is_gone_is_not_completed(tasks):
    await add(tasks, "a")
    await add(tasks, "b", dependencies=["a"])
    assert await tasks.delete("a")
    assert not await tasks.delete("a")
    await refused("blocked", tasks.claim("b", "a1"))
    await tasks.update("b", {"dependencies": []})
    await tasks.claim("b", "a1")


async def test_dependencies_exist_and_never_lead_back(tasks):
    await add(tasks, "a")
    await add(tasks, "b", dependencies=["a"])
    await add(tasks, "c", dependencies=["b"])
    for task_id, wanted, complaint in (
        ("a", ["a"], r"dependencies\[0\]: .*'a' does"),
        ("a", ["b"], r"dependencies\[0\]: .*'b' does"),
        ("a", ["c"], r"dependencies\[0\]: .*'c' does"),
        ("b", ["a", "none"], r"dependencies\[1\]: the id of a task"),
    ):
        with pytest.raises(InvalidInputError, match=complaint):
            await tasks.update(task_id, {"dependencies": wanted})
    with pytest.raises(InvalidInputError, match=r"dependencies\[0\]"):
        await tasks.create({"id": "d", "dependencies": ["none"]})
    assert {record.id: record.document.get("dependencies") for record in (await tasks.list()).records} == {
        "a": None, "b": ["a"], "c": ["b"],
    }  # fmt: skip


async def test_of_two_updates_that_would_close_a_circle_together_one_is_refused(tasks):
    for round_ in range(20):
        a, b, c, d = (f"{name}{round_}" for name in "abcd")
        await add(tasks, a, c)
        await add(tasks, b, dependencies=[a])
        await add(tasks, d, dependencies=[c])
        results = await asyncio.gather(
            tasks.update(a, {"dependencies": [d]}), tasks.update(c, {"dependencies": [b]}), return_exceptions=True
        )
        assert sum(isinstance(result, InvalidInputError) for result in results) == 1


async def test_the_number_of_tasks_to_wait_for_is_bounded(tasks, monkeypatch):
    from swarm_operator.memory.swarm.tasks import dependencies

    monkeypatch.setattr(dependencies, "MAX_UPSTREAM", 3)
    await add(tasks, "t0")
    for number in range(1, 4):
        await add(tasks, f"t{number}", dependencies=[f"t{number - 1}"])
    with pytest.raises(InvalidInputError, match="dependencies: at most 3"):
        await tasks.create({"dependencies": ["t3"]})


async def test_a_circle_that_an_older_client_wrote_blocks_its_tasks_and_nobody_else(tasks, store):
    for task_id, other in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "\0"), ("e", "x" * 600)):
        value = {"status": "pending", "dependencies": [other]}
        await store.put("swarm:tasks", f"task:{task_id}", value, tags=["task", "pending", "high"])
    await add(tasks, "ready")
    assert (await tasks.claim_next("a1")).id == "ready"
    assert await tasks.claim_next("a1") is None
    for task_id in "abcde":
        await refused("blocked", tasks.claim(task_id, "a1"))
    with pytest.raises(InvalidInputError, match="dependencies"):
        await tasks.update("a", {"dependencies": ["b"]})


@pytest.mark.parametrize(
    "value",
    [
        None, "text", 7, {}, {"status": 5, "history": "x", "attempts": "many", "priority": []},
        {"status": "pending", "assignedAgents": "a1", "dependencies": "t0", "createdAt": 5, "leaseExpiresAt": []},
    ],
)  # fmt: skip
async def test_odd_values_of_older_clients_can_be_claimed_and_completed(tasks, store, value):
    await store.put("swarm:tasks", "task:odd", value, tags=["task", "pending"])
    assert (await tasks.claim_next("a1")).document["attempts"] == 1
    done = await tasks.set_status("odd", "completed", agent="a1")
    assert done.document["history"][-1]["status"] == "completed"


async def test_a_status_that_is_none_of_ours_is_never_handed_out_and_can_be_left(tasks, store):
    value = {"status": "reviewing", "extra": [1]}
    await store.put("swarm:tasks", "task:t1", value, tags=["task", "reviewing", "pending"])
    assert await tasks.claim_next("a1") is None
    done = await tasks.set_status("t1", "completed")
    assert (done.document["status"], done.document["extra"]) == ("completed", [1])


async def test_a_task_that_was_started_without_a_claim_has_no_lease_that_ends(tasks, clock):
    await add(tasks, "t1")
    await tasks.set_status("t1", "in_progress")
    clock.advance(10_000_000)
    assert await tasks.claim_next("a1") is None


async def test_updates_change_what_callers_may_and_nothing_else(tasks):
    await add(tasks, "t1", description="old", keep=1, drop=2)
    stored = (await tasks.get("t1")).document
    record = await tasks.update("t1", {**stored, "description": "new", "drop": None, "priority": 9})
    assert (record.document["description"], record.document["keep"], record.document["priority"]) == ("new", 1, 9)
    assert "drop" not in record.document
    for name in ("status", "claimedBy", "attempts", "result", "completedAt", "createdAt"):
        with pytest.raises(InvalidInputError, match=f"^{name}: read-only"):
            await tasks.update("t1", {name: "completed"})
        if name != "status":
            with pytest.raises(InvalidInputError, match=f"^{name}: read-only"):
                await tasks.create({name: None})
    await tasks.claim("t1", "a1")
    await refused("not-allowed", tasks.update("t1", {"dependencies": []}))
    assert (await tasks.update("t1", {"note": "x"})).document["claimedBy"] == "a1"


async def test_the_history_is_bounded(tasks):
    await add(tasks, "t1")
    for _ in range(60):
        await tasks.claim("t1", "a1")
        await tasks.release("t1", "a1")
    assert len((await tasks.get("t1")).document["history"]) == 100


async def test_what_is_not_there_is_said_so(tasks):
    for call in (
        tasks.get("x"), tasks.claim("x", "a"), tasks.renew("x", "a"), tasks.release("x", "a"), tasks.assign("x", []),
        tasks.set_status("x", "completed"), tasks.update("x", {}),
    ):  # fmt: skip
        with pytest.raises(RecordNotFoundError, match="there is no task 'x'"):
            await call
    assert (await tasks.list()).records == []


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("x", "task"), ({"id": ""}, "id"), ({"id": 5}, "id"), ({"type": 1}, "type"),
        ({"description": 1}, "description"),
        ({"priority": "urgent"}, "priority"), ({"priority": 11}, "priority"), ({"priority": True}, "priority"),
        ({"status": "completed"}, "status"), ({"assignedAgents": "a"}, "assignedAgents"),
        ({"assignedAgents": ["a", ""]}, r"assignedAgents\[1\]"), ({"dependencies": {}}, "dependencies"),
        ({"dependencies": [1]}, r"dependencies\[0\]"), ({"maxRetries": -1}, "maxRetries"),
        ({"maxRetries": 1.5}, "maxRetries"), ({"dependencies": ["t"] * 65}, "dependencies"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(tasks, document, field):
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        await tasks.create(document)
    assert (await tasks.list()).records == []


async def test_arguments_are_checked_before_anything_is_done(tasks):
    await add(tasks, "t1")
    for call, field in (
        (tasks.claim("t1", ""), "agent"), (tasks.claim("t1", "a", lease=0), "lease"),
        (tasks.claim("t1", "a", lease=float("nan")), "lease"), (tasks.claim("t1", "a", lease=10**9), "lease"),
        (tasks.claim("t1", "a", lease=True), "lease"), (tasks.claim_next("a", types=["", "x"]), r"types\[0\]"),
        (tasks.claim_next("a", types=[]), "types"), (tasks.claim_next("a", types="code"), "types"),
        (tasks.set_status("t1", "done"), "status"), (tasks.set_status("t1", "completed", agent=5), "agent"),
        (tasks.set_status("t1", "completed", result="x" * 1024 * 1024), "result"), (tasks.assign("t1", [1]), "agents"),
        (tasks.release("t1", "a", reason="x" * 1000), "reason"), (tasks.list(limit=0), "limit"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=f"^{field}"):
            await call
    assert (await tasks.get("t1")).version == 1
