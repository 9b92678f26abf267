"""The swarm as a whole: counts, and cleaning up."""

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import Swarm

DAY = 86_400


async def test_the_counts_are_of_what_there_is(swarm):
    for number, status in enumerate(("active", "busy", "idle")):
        await swarm.agents.register(f"a{number}", {"status": status})
    for number, status in enumerate(("completed", "failed", "in_progress", "cancelled")):
        await swarm.tasks.create({"id": f"t{number}"})
        await swarm.tasks.set_status(f"t{number}", status)
    await swarm.tasks.create({"id": "t9"})
    await swarm.patterns.store("p", {})
    await swarm.consensus.propose({"id": "c"})
    await swarm.communications.send("a", None, 1)
    stats = await swarm.stats()
    assert stats["agents"] == {"total": 3, "active": 2}
    assert stats["tasks"] == {
        "total": 5, "pending": 1, "inProgress": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    assert stats["patterns"] == {"total": 1}
    assert stats["consensus"] == {"total": 1, "open": 1, "decided": 0, "failed": 0}
    assert (stats["communications"], stats["metrics"], stats["coordination"]) == (
        {"total": 1},
        {"total": 0},
        {"total": 0},
    )


async def test_what_is_old_is_deleted_and_the_rest_stays(swarm, store, clock):
    legacy = {"fromAgent": "a", "message": 1, "timestamp": "2027-01-15T08:00:00.000Z"}
    await store.put("swarm:communications", "comm:1800000000000-old", legacy)
    await swarm.tasks.create({"id": "old"})
    await swarm.tasks.create({"id": "failed"})
    await swarm.tasks.set_status("old", "completed")
    await swarm.tasks.set_status("failed", "failed")
    await store.put("swarm:metrics", "metrics:old", {"type": "x"})
    await swarm.patterns.store("unused", {})
    await swarm.patterns.store("used", {})
    await swarm.consensus.propose({"id": "closed"})
    await swarm.consensus.close("closed")
    await swarm.consensus.propose({"id": "open"})
    clock.advance(8 * DAY)
    await swarm.patterns.record_use("used", success=True)
    await swarm.tasks.create({"id": "new"})
    await swarm.tasks.set_status("new", "completed")
    await swarm.communications.send("a", None, "new")
    await swarm.metrics.store("new", {})
    before = (await store.stats()).entries

    counted = await swarm.cleanup(dry_run=True, keep_patterns=False, keep_consensus=False)
    assert (counted.communications, counted.tasks, counted.metrics, counted.patterns, counted.consensus) == (1,) * 5
    assert (counted.dry_run, (await store.stats()).entries) == (True, before)

    done = await swarm.cleanup()
    assert (done.communications, done.tasks, done.metrics, done.patterns, done.consensus) == (1, 1, 1, 0, 0)
    assert {record.id for record in (await swarm.tasks.list()).records} == {"failed", "new"}
    done = await swarm.cleanup(keep_patterns=False, keep_consensus=False)
    assert (done.total, done.patterns, done.consensus) == (2, 1, 1)
    assert [record.id for record in (await swarm.patterns.list()).records] == ["used"]
    assert [record.id for record in (await swarm.consensus.list()).records] == ["open"]
    assert (await swarm.cleanup(keep_patterns=False, keep_consensus=False)).total == 0


async def test_a_task_that_another_one_waits_for_stays(swarm, clock):
    await swarm.tasks.create({"id": "a"})
    await swarm.tasks.create({"id": "b"})
    await swarm.tasks.create({"id": "c", "dependencies": ["a", "b"]})
    await swarm.tasks.set_status("a", "completed")
    clock.advance(30 * DAY)
    assert (await swarm.cleanup()).tasks == 0
    await swarm.tasks.set_status("b", "completed")
    assert (await swarm.tasks.claim_next("x")).id == "c"


async def test_a_task_that_was_completed_when_it_was_named_need_not_be_there_any_more(swarm, clock):
    await swarm.tasks.create({"id": "a"})
    await swarm.tasks.set_status("a", "completed")
    await swarm.tasks.create({"id": "b", "dependencies": ["a"]})
    await swarm.tasks.create({"id": "c"})
    await swarm.tasks.update("c", {"dependencies": ["a"]})
    await swarm.tasks.delete("a")
    assert {(await swarm.tasks.claim_next("x")).id for _ in range(2)} == {"b", "c"}


async def test_everything_that_is_done_is_old_at_the_age_of_nothing(swarm):
    await swarm.tasks.create({"id": "a"})
    await swarm.tasks.set_status("a", "completed")
    await swarm.communications.send("a", None, 1)
    done = await swarm.cleanup(max_age=0)
    assert (done.tasks, done.communications) == (1, 1)


async def test_more_than_a_page_is_cleaned_up(store, clock):
    swarm = Swarm(store)
    for number in range(450):
        await swarm.communications.send("a", None, number)
    clock.advance(60)
    assert (await swarm.cleanup(max_age=60)).communications == 450
    assert (await store.stats()).entries == 0


@pytest.mark.parametrize("value", [None, [], {"status": "completed"}, {"status": "completed", "completedAt": {}}])
async def test_odd_records_of_older_clients_do_not_stop_it(swarm, store, clock, value):
    for namespace in ("swarm:tasks", "swarm:communications", "swarm:metrics", "swarm:patterns", "swarm:consensus"):
        await store.put(namespace, "task:odd", value)
    clock.advance(8 * DAY)
    await swarm.cleanup(keep_patterns=False, keep_consensus=False)
    left = {entry.key for entry in (await store.list("swarm:tasks")).entries}
    assert left == (set() if isinstance(value, dict) else {"task:odd"})


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_age": -1}, "max_age"), ({"max_age": float("nan")}, "max_age"), ({"max_age": True}, "max_age"),
        ({"max_age": False}, "max_age"), ({"dry_run": "no"}, "dry_run"), ({"keep_patterns": 0}, "keep_patterns"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(swarm, options, field):
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        await swarm.cleanup(**options)


async def test_what_is_written_again_while_it_goes_on_stays(swarm, store, clock, monkeypatch):
    await swarm.metrics.store("a", {})
    await swarm.metrics.store("b", {})
    clock.advance(60)
    batch = store.batch

    async def after_another_write(writes, **options):
        if writes:
            await swarm.metrics.store("a", {"fresh": True})
        return await batch(writes, **options)

    monkeypatch.setattr(store, "batch", after_another_write)
    assert (await swarm.cleanup(max_age=60)).metrics == 1
    assert [record.id for record in (await swarm.metrics.list()).records] == ["a"]
