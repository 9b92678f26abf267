"""Communications: order, cursors, receivers, and the day that they live."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.swarm import Swarm

NOW = "2027-01-15T08:00:00.000Z"


async def texts(read):
    page = await read
    return [record.document["message"] for record in page.messages]


async def test_a_message_is_stored_as_the_seed_stores_it(swarm, store):
    record = await swarm.communications.send("a1", "a2", {"type": "question", "text": "?"})
    entry = await store.get("swarm:communications", record.id)
    assert record.id.startswith("comm:1800000000000-")
    assert entry.tags == ["communication", "question"]
    assert entry.metadata == {"fromAgent": "a1", "toAgent": "a2", "messageType": "question"}
    assert entry.ttl == 86_400
    assert entry.value == {
        "id": record.id, "fromAgent": "a1", "toAgent": "a2", "message": {"type": "question", "text": "?"},
        "swarmId": "default", "timestamp": NOW,
    }  # fmt: skip


async def test_an_agent_reads_what_is_for_it_and_what_others_say_to_everyone(swarm):
    say = swarm.communications.send
    await say("a", "b", "to b")
    await say("a", "c", "to c")
    await say("a", None, "to all")
    await say("b", "*", "b to all")
    read = swarm.communications.read
    assert await texts(read(agent="b")) == ["to b", "to all"]
    assert await texts(read(agent="c")) == ["to c", "to all", "b to all"]
    assert await texts(read(from_agent="b")) == ["b to all"]
    assert await texts(read()) == ["to b", "to c", "to all", "b to all"]


async def test_reading_on_from_a_cursor_misses_nothing_and_repeats_nothing(swarm, clock):
    seen, cursor = [], None

    async def reader():
        nonlocal cursor
        while len(seen) < 300:
            page = await swarm.communications.read(agent="b", since=cursor, limit=7)
            seen.extend(record.document["message"] for record in page.messages)
            cursor = page.cursor
            await asyncio.sleep(0)

    reading = asyncio.create_task(reader())
    for start in range(0, 300, 30):
        # Long values take another way to the writer's queue than short ones.
        await asyncio.gather(
            *(
                swarm.communications.send("a", "b", [n, "x" * (200_000 if n % 7 == 0 else 1)])
                for n in range(start, start + 30)
            )
        )
        clock.advance(-0.5 if start % 60 else 0.001)
    await reading
    assert [number for number, _ in seen] == list(range(300))
    page = await swarm.communications.read(agent="b", since=cursor)
    assert (page.messages, page.cursor, page.more) == ([], cursor, False)


async def test_keys_grow_also_after_a_restart_with_a_clock_that_was_set_back(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        for number in range(3):
            await Swarm(store).communications.send("a", "b", number)
    clock.advance(-3600)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        first, second = Swarm(store).communications, Swarm(store).communications
        page = await first.read()
        await asyncio.gather(first.send("a", "b", 3), second.send("a", "b", 4))
        assert await texts(first.read(since=page.cursor)) == [3, 4]


@pytest.mark.parametrize("key", ["comm:1800003600000-fff", "comm:1800000000000-zzzzzzzzz"])
async def test_keys_that_others_made_ahead_of_time_hide_no_message(swarm, store, key):
    await swarm.communications.send("a", "b", 1)
    await store.put("swarm:communications", key, {"fromAgent": "a", "toAgent": "b", "message": 2}, ttl=60)
    page = await swarm.communications.read(agent="b")
    assert page.cursor == key
    await swarm.communications.send("a", "b", 3)
    await swarm.communications.send("a", "b", 4)
    assert await texts(swarm.communications.read(agent="b", since=page.cursor)) == [3, 4]


@pytest.mark.parametrize(
    "key", ["zzz", "comm:zzz", "comm:99-x", "comm:9999999999999-x", "comm:18000000000001-x", "comm:"]
)
async def test_entries_that_are_no_messages_are_no_place_to_read_on_from(swarm, store, key):
    await store.put("swarm:communications", key, {"toAgent": "b", "message": "?"})
    await swarm.communications.send("a", "b", 1)
    page = await swarm.communications.read(agent="b")
    assert [record.document["message"] for record in page.messages] == [1]
    await swarm.communications.send("a", "b", 2)
    assert await texts(swarm.communications.read(agent="b", since=page.cursor)) == [2]


async def test_more_messages_than_a_millisecond_has_numbers_for_keep_their_order(swarm, monkeypatch):
    from swarm_operator.memory.swarm import messages

    monkeypatch.setattr(messages, "_MOST_IN_ONE_MILLISECOND", 2)
    for number in range(10):
        await swarm.communications.send("a", "b", number)
    assert await texts(swarm.communications.read()) == list(range(10))


async def test_messages_live_for_a_day(swarm, clock):
    await swarm.communications.send("a", "b", 1)
    clock.advance(86_399.999)
    assert await texts(swarm.communications.read()) == [1]
    clock.advance(0.001)
    page = await swarm.communications.read()
    assert (page.messages, page.cursor, page.more) == ([], None, False)


async def test_a_page_looks_at_a_bounded_number_of_messages_and_goes_on(swarm, monkeypatch):
    from swarm_operator.memory.swarm import messages

    monkeypatch.setattr(messages, "_MOST_SCANNED", 200)
    await asyncio.gather(*(swarm.communications.send("a", "b", number) for number in range(250)))
    await swarm.communications.send("a", "c", "rare")
    page = await swarm.communications.read(agent="c")
    assert (page.messages, page.more) == ([], True)
    assert await texts(swarm.communications.read(agent="c", since=page.cursor)) == ["rare"]


@pytest.mark.parametrize("value", [None, 5, {"message": 5}, {"fromAgent": 1, "toAgent": [], "message": {"type": {}}}])
async def test_what_older_clients_wrote_is_read_as_far_as_it_goes(swarm, store, value):
    await store.put("swarm:communications", "comm:1700000000000-abc", value)
    assert len((await swarm.communications.read()).messages) == 1
    await swarm.communications.send("a", "b", "new")
    assert await texts(swarm.communications.read(agent="b", type=None, from_agent="a")) == ["new"]


async def test_what_is_wrong_is_named(swarm):
    for arguments, field in (
        (("", "b", 1), "fromAgent"), (("a", 5, 1), "toAgent"), (("a", "b", {"type": 5}), "message.type"),
        (("a", "b", "x" * 2**20), "message"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=rf"^{field}: "):
            await swarm.communications.send(*arguments)
    with pytest.raises(InvalidInputError, match=r"^limit: "):
        await swarm.communications.read(limit=0)
    with pytest.raises(InvalidInputError, match=r"^agent: "):
        await swarm.communications.read(agent="")


class View:
    """A store that passes everything on to another one, as the service has one for each request."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)


async def test_messages_that_go_through_several_views_of_a_store_keep_their_order(store):
    for start in range(0, 100, 10):
        views = [Swarm(View(store)).communications for _ in range(10)]
        sent = await asyncio.gather(*(view.send("a", "b", start + number) for number, view in enumerate(views)))
        keys = [record.id for record in sent]
        assert keys == sorted(keys)
    assert await texts(Swarm(store).communications.read()) == list(range(100))
