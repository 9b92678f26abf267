"""Agents: registration, heartbeats, lists, and who has gone silent."""

import asyncio

import pytest
from support.engines import ENGINES, open_store

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import RecordNotFoundError, Swarm

NOW = "2027-01-15T08:00:00.000Z"


async def ids(listing):
    return [record.id for record in (await listing).records]


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_agent_is_stored_as_the_seed_stores_it(engine, tmp_path, clock):
    async with open_store(engine, tmp_path / "db", clock=clock, swarm_id="alpha") as store:
        document = {"name": "Ada", "type": "coder", "status": "active", "capabilities": ["python"], "mood": "good"}
        record = await Swarm(store).agents.register("a1", document)
        entry = await store.get("swarm:agents", "agent:a1")
        assert entry.tags == ["agent", "coder", "active"]
        assert entry.metadata == {"swarmId": "alpha", "agentType": "coder"}
        assert entry.ttl == 0
        assert record.document == {**entry.value, "updatedBy": None}
        assert entry.value == {
            **document, "id": "a1", "swarmId": "alpha", "registeredAt": NOW, "lastUpdated": NOW, "lastHeartbeat": NOW,
        }  # fmt: skip
        assert record.created


async def test_registering_again_keeps_what_is_not_said_and_when_it_was_first(agents, clock):
    await agents.register("a1", {"type": "coder", "capabilities": ["python"], "status": "busy", "team": 1})
    clock.advance(5)
    again = await agents.register("a1", {"capabilities": ["rust"], "team": None})
    assert not again.created
    assert again.document["registeredAt"] == NOW
    assert again.document["lastHeartbeat"] == "2027-01-15T08:00:05.000Z"
    assert (again.document["type"], again.document["status"]) == ("coder", "busy")
    assert again.document["capabilities"] == ["rust"]
    assert "team" not in again.document
    clock.advance(1)
    twice = await agents.register("a1", {"capabilities": ["rust"], "team": None})
    changed = {name for name, value in twice.document.items() if again.document[name] != value}
    assert changed == {"lastHeartbeat", "lastUpdated"}


async def test_a_registration_of_many_at_once_loses_nothing(agents):
    await asyncio.gather(*(agents.register("a1", {f"member{number}": number}) for number in range(50)))
    document = (await agents.get("a1")).document
    assert [document[f"member{number}"] for number in range(50)] == list(range(50))


async def test_what_the_seed_wrote_is_an_agent_and_keeps_what_is_unknown(agents, store, clock):
    legacy = {"type": "queen", "status": "active", "swarmId": "old", "lastUpdated": NOW, "hive": {"x": [1, None]}}
    await store.put("swarm:agents", "agent:q", legacy, tags=["agent", "queen", "active", "mine"], metadata={"m": 1})
    assert (await agents.get("q")).document == {**legacy, "id": "q", "updatedBy": None}
    clock.advance(10)
    record = await agents.heartbeat("q", status="busy")
    assert record.document["hive"] == {"x": [1, None]}
    entry = await store.get("swarm:agents", "agent:q")
    assert entry.tags == ["agent", "queen", "busy", "mine"]
    assert entry.metadata["m"] == 1


@pytest.mark.parametrize("value", [None, "text", 5, [], {"status": 5, "type": [], "capabilities": "python"}])
async def test_odd_values_of_older_clients_fail_no_list(agents, store, value):
    await store.put("swarm:agents", "agent:odd", value)
    await agents.register("ok", {"type": "coder", "capabilities": ["python"]})
    assert await ids(agents.list()) == ["odd", "ok"]
    assert await ids(agents.list(capability="python", type="coder", status="idle", stale=False)) == ["ok"]
    assert (await agents.heartbeat("odd")).document["lastHeartbeat"] == NOW


async def test_a_heartbeat_of_one_who_is_not_registered_is_refused(agents):
    with pytest.raises(RecordNotFoundError, match="there is no agent 'gone'"):
        await agents.heartbeat("gone")
    await agents.register("a1", {})
    assert await agents.deregister("a1")
    assert not await agents.deregister("a1")
    with pytest.raises(RecordNotFoundError):
        await agents.heartbeat("a1")
    with pytest.raises(RecordNotFoundError):
        await agents.get("a1")


async def test_an_agent_is_stale_when_its_last_heartbeat_is_as_old_as_that(agents, clock):
    await agents.register("early", {})
    clock.advance(30)
    await agents.register("late", {})
    clock.advance(29.999)
    assert await ids(agents.list(stale=True)) == []
    clock.advance(0.001)
    assert await ids(agents.list(stale=True)) == ["early"]
    assert await ids(agents.list(stale=False)) == ["late"]
    assert await ids(agents.list(stale=True, stale_after=30)) == ["early", "late"]
    await agents.heartbeat("early")
    assert await ids(agents.list(stale=True)) == []


@pytest.mark.parametrize(
    "seen", [NOW, "2027-01-15 08:00:00", "2027-01-15T09:00:00+01:00", 1_800_000_000, 1_800_000_000_000]
)
async def test_times_are_understood_as_the_seeds_tools_wrote_them(agents, store, clock, seen):
    await store.put("swarm:agents", "agent:a", {"lastUpdated": seen})
    assert await ids(agents.list(stale=False)) == ["a"]
    clock.advance(60)
    assert await ids(agents.list(stale=True)) == ["a"]


async def test_pages_with_filters_neither_skip_nor_repeat(agents):
    await asyncio.gather(
        *(agents.register(f"a{number:03}", {"type": "even" if number % 2 == 0 else "odd"}) for number in range(450))
    )
    found, after, pages = [], None, 0
    while True:
        page = await agents.list(type="even", limit=60, after=after)
        found += [record.id for record in page.records]
        pages += 1
        after = page.next_key
        if after is None:
            break
    assert found == [f"a{number:03}" for number in range(0, 450, 2)]
    assert pages == 4


async def test_a_page_looks_at_a_bounded_number_of_entries(agents, monkeypatch):
    from swarm_operator.memory.swarm import record

    monkeypatch.setattr(record, "_MOST_SCANNED", 400)
    await asyncio.gather(*(agents.register(f"a{number:03}", {"capabilities": ["common"]}) for number in range(450)))
    await agents.register("z", {"capabilities": ["rare"]})
    first = await agents.list(capability="rare")
    assert (first.records, first.next_key) == ([], "agent:a399")
    assert await ids(agents.list(capability="rare", after=first.next_key)) == ["z"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "agent"),
        ({"type": 5}, "type"),
        ({"type": ""}, "type"),
        ({"status": "x" * 129}, "status"),
        ({"status": "a\0"}, "status"),
        ({"capabilities": "python"}, "capabilities"),
        ({"capabilities": ["ok", 1]}, r"capabilities\[1\]"),
        ({"capabilities": ["c"] * 65}, "capabilities"),
        ({"id": "other"}, "id"),
        ({"blob": "x" * 1024 * 1024}, "agent"),
    ],
)
async def test_what_is_wrong_is_named(agents, document, field):
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        await agents.register("a1", document)
    assert await ids(agents.list()) == []


@pytest.mark.parametrize("agent_id", ["", "x" * 513, "a\0", "\ud800", 5, None])
async def test_an_id_has_limits(agents, agent_id):
    for call in (agents.register(agent_id, {}), agents.get(agent_id), agents.heartbeat(agent_id)):
        with pytest.raises(InvalidInputError, match=r"^id: "):
            await call


async def test_an_id_may_be_any_text(agents):
    for agent_id in ("a/b", "ü", "agent:1", "..", "%41", "x" * 512):
        assert (await agents.register(agent_id, {"id": agent_id})).id == agent_id
        assert (await agents.get(agent_id)).document["id"] == agent_id
