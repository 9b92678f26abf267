"""No answer is longer than its limit, and what was cut can be had."""

import json

import orjson
import pytest

LIMIT = 16_384


@pytest.fixture
async def service(start_service, clock):
    async with start_service(clock=clock, mcp=True, mcp_max_answer_bytes=LIMIT) as running:
        yield running


def size(answer):
    return len(orjson.dumps(answer))


async def in_parts(mcp, **which):
    """A value from its parts, and how many there were."""
    text, offset, parts = "", 0, 0
    while offset is not None:
        answer = await mcp.call("memory_retrieve", offset=offset, **which)
        assert size(answer) <= LIMIT
        assert answer["offset"] == offset
        text += answer["part"]
        offset = answer["next_offset"]
        parts += 1
    return json.loads(text), parts


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        "ü€😀" * 10_000,
        '\x01\\"\n' * 10_000,
        list(range(20_000)),
        {"a": [{"b": "日本語" * 50} for _ in range(300)]},
    ],
    ids=["ascii", "wide", "escapes", "numbers", "nested"],
)  # fmt: skip
async def test_a_long_value_comes_in_parts_that_make_it_whole(mcp, service, value):
    await service.store.put("default", "k", value)
    first = await mcp.call("memory_retrieve", key="k")
    assert "value" not in first
    assert "call again with offset" in first["cut"]
    whole, parts = await in_parts(mcp, key="k")
    assert whole == value
    assert parts < 60


async def test_a_part_never_begins_within_a_character(mcp, service):
    await service.store.put("default", "k", "€" * 10)  # its JSON text: a quote, then three bytes each
    for asked, begins in ((1, 1), (2, 1), (3, 1), (4, 4), (31, 31), (32, 32), (1000, 32)):
        answer = await mcp.call("memory_retrieve", key="k", offset=asked)
        assert answer["offset"] == begins
        assert answer["part"] == ('"' + "€" * 10 + '"').encode()[begins:].decode()
        assert answer["next_offset"] is None


async def test_the_longest_names_and_metadata_fit_too(mcp, service):
    name = "\x01" * 1024
    await service.store.put(
        name[:255], name, "x" * 20_000, tags=[f"{number:02}" + "\x01" * 254 for number in range(64)],
        metadata={"m": "y" * 65_000},
    )  # fmt: skip
    answer = await mcp.call("memory_retrieve", namespace=name[:255], key=name)
    assert size(answer) <= LIMIT
    assert answer["metadata_bytes"] > 65_000
    whole, _ = await in_parts(mcp, namespace=name[:255], key=name)
    assert whole == "x" * 20_000
    for tool, arguments in (
        ("memory_list", {"namespace": name[:255]}), ("memory_list", {}), ("memory_search", {"prefix": "\x01"}),
    ):  # fmt: skip
        assert size(await mcp.call(tool, **arguments)) <= LIMIT


async def test_long_lists_and_searches_are_cut_and_go_on_where_they_were_cut(mcp, service):
    for number in range(300):
        await service.store.put("n", f"k{number:03}" + "-" * 200, ["word", number], tags=["t" * 60])
    for tool, question in (
        ("memory_list", {"namespace": "n"}), ("memory_search", {"tags": ["t" * 60]}),
        ("memory_search", {"text": "word"}),
        ("memory_search", {"updated_since": "2020-01-01T00:00:00Z"}),
    ):  # fmt: skip
        keys, cursor, pages = [], None, 0
        while True:
            page = await mcp.call(tool, limit=1000, **question, **({"cursor": cursor} if cursor else {}))
            assert size(page) <= LIMIT
            keys += [entry["key"] for entry in page["entries"]]
            pages += 1
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(keys) == len(set(keys)) == 300, (tool, question)
        assert pages > 3


async def test_long_records_are_listed_by_their_short_members(mcp, service):
    details = {"plan": ["p" * 20_000], "one": "1" * 200, "two": "2" * 200}
    for number in range(40):
        await mcp.call("task_create", id=f"t{number:02}", description="d" * 5000, details=details)
    page = await mcp.call("task_list")
    assert size(page) <= LIMIT
    assert 1 < len(page["tasks"]) < 40
    assert page["tasks"][0]["left_out"] == ["description", "plan"]
    assert page["tasks"][0]["status"] == "pending"
    ids = [task["id"] for task in page["tasks"]]
    while page["next_cursor"]:
        page = await mcp.call("task_list", cursor=page["next_cursor"])
        assert size(page) <= LIMIT
        ids += [task["id"] for task in page["tasks"]]
    assert ids == [f"t{number:02}" for number in range(40)]
    task = await mcp.call("task_get", id="t00")
    assert size(task) <= LIMIT
    assert "plan" in task["cut"]
    assert "plan" not in task["task"]
    assert "memory_retrieve with namespace swarm:tasks and key task:t00" in task["cut"]
    whole, _ = await in_parts(mcp, namespace="swarm:tasks", key="task:t00")
    assert whole["plan"] == ["p" * 20_000]


async def test_long_messages_are_read_a_few_at_a_time(mcp):
    for number in range(12):
        await mcp.call("message_send", **{"from": "a", "message": {"n": number, "text": "m" * 6000}})
    await mcp.call("message_send", **{"from": "a", "message": "x" * 50_000})
    numbers, cursor, more = [], None, True
    while more:
        page = await mcp.call("message_read", **({"cursor": cursor} if cursor else {}))
        assert size(page) <= LIMIT
        numbers += [message["message"]["n"] for message in page["messages"] if "message" in message]
        cut = [message for message in page["messages"] if "cut" in message]
        cursor, more = page["cursor"], page["more"]
    assert numbers == list(range(12))
    assert "memory_retrieve with namespace swarm:communications" in cut[0]["cut"]
    assert (await mcp.call("message_read", cursor=cursor))["messages"] == []


async def test_resources_are_cut_as_well_and_name_what_follows(mcp, service):
    await service.store.put("n", "long", list(range(20_000)))
    text, uri = "", "memory://n/long"
    while uri:
        part = await mcp.read(uri)
        assert size(part) <= LIMIT
        text += part["part"]
        uri = part.get("next")
    assert json.loads(text) == list(range(20_000))
    for number in range(250):
        await service.store.put("keys", f"k{number:03}" + "-" * 200, number)
    keys, uri = [], "memory://keys"
    while uri:
        page = await mcp.read(uri)
        assert size(page) <= LIMIT
        keys += [entry["key"][:4] for entry in page["entries"]]
        uri = page["next"]
    assert keys == [f"k{number:03}" for number in range(250)]
