"""MemoryClient, against the real service."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from unit.memory.client.scripted import answer, scripted

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryClient,
    MemoryConflictError,
    MemoryEntry,
    MemoryProtocolError,
    MemoryRequestError,
)
from swarm_operator.memory.core import Draft, Put

TOKEN = "client-0123456789abcdef"


@pytest.fixture
async def memory(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=TOKEN) as client:
        yield client


async def test_an_entry_makes_the_round_trip(memory):
    head = await memory.put("a/b", "../k?x#\U0001f40d", {"a": None}, tags=["t"], metadata={"m": 1}, ttl=60)
    assert (head.version, head.size) == (1, 10)
    entry = await memory.get("a/b", "../k?x#\U0001f40d")
    assert (entry.namespace, entry.key, entry.value) == ("a/b", "../k?x#\U0001f40d", {"a": None})
    assert (entry.tags, entry.metadata, entry.version) == (["t"], {"m": 1}, 1)
    now = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    assert (entry.created_at, entry.updated_at, entry.expires_at) == (now, now, now.replace(minute=1))
    assert (entry.ttl, head.ttl, head.namespace, head.key) == (60, 60, "a/b", entry.key)
    assert (head.created_at, head.updated_at, head.expires_at) == (now, now, entry.expires_at)
    assert head.updated_by == entry.updated_by == "client"
    assert MemoryEntry({**entry.raw, "updated_by": None}).updated_by is None
    older = {name: value for name, value in entry.raw.items() if name != "updated_by"}
    assert MemoryEntry(older).updated_by is None
    assert await memory.delete("a/b", "../k?x#\U0001f40d")
    assert not await memory.delete("a/b", "../k?x#\U0001f40d")
    assert await memory.get("a/b", "../k?x#\U0001f40d") is None


@pytest.mark.parametrize("name", [".", "..", "%2F", "a+b c", "\n", "é"])
async def test_every_name_arrives_as_it_was_given(memory, name):
    await memory.put(name, name, 1)
    assert [entry.key async for entry in memory.iterate(name, prefix=name)] == [name]
    assert (await memory.get(name, name)).key == name


async def test_times_are_those_of_the_service_with_a_zone(memory, clock):
    await memory.put("n", "k", 1)
    clock.advance(90)
    await memory.put("n", "k", 2)
    entry = await memory.get("n", "k")
    assert entry.created_at == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    assert entry.updated_at == datetime(2027, 1, 15, 8, 1, 30, tzinfo=UTC)
    assert (entry.expires_at, entry.ttl, entry.updated_at.utcoffset().seconds) == (None, 0, 0)
    (listed,) = (await memory.list("n")).entries
    assert listed.accessed_at == entry.updated_at


async def test_a_result_without_a_value_says_how_to_read_it(memory):
    head = await memory.put("n", "k", 1)
    (result,) = await memory.batch([{"op": "put", "namespace": "n", "key": "k", "value": 2}])
    (hit,) = (await memory.search(namespace="n", values=False)).hits
    for each in (head, result.entry, hit):
        with pytest.raises(AttributeError, match=r"value: not part of this result; read the entry with get\("):
            _ = each.value


async def test_null_is_a_value(memory):
    await memory.put("n", "k", None)
    assert (await memory.get("n", "k")).value is None


async def test_conditions_are_kept_and_conflicts_tell_the_version(memory):
    await memory.put("n", "k", 1, create_only=True)
    with pytest.raises(MemoryConflictError) as caught:
        await memory.put("n", "k", 2, create_only=True)
    assert caught.value.current_version == 1
    assert (await memory.put("n", "k", 2, if_version=1)).version == 2
    with pytest.raises(MemoryConflictError):
        await memory.delete("n", "k", if_version=1)
    with pytest.raises(MemoryConflictError) as caught:
        await memory.put("n", "missing", 2, if_version=1)
    assert caught.value.current_version is None


async def test_a_list_is_walked_page_by_page(memory):
    for number in range(7):
        await memory.put("n", f"k{number}", number)
    assert [entry.value async for entry in memory.iterate("n", prefix="k", page=2)] == list(range(7))
    page = await memory.list("n", limit=5)
    assert (len(page.entries), page.next_cursor is None) == (5, False)


async def test_all_namespaces_are_named_page_by_page(memory, service):
    names = [f"n{number:04}/ü&=" for number in range(1001)]
    await service.store.batch([Put(Draft.create(name, "k", [1])) for name in names[:1000]])
    await service.store.put(names[1000], "k", [1])
    found = [each async for each in memory.namespaces()]
    assert [each.name for each in found] == names
    assert {(each.entries, each.bytes) for each in found} == {(1, 3)}


async def test_statistics_and_readiness(memory, service):
    await memory.put("swarm:agents", "a", 1)
    stats = await memory.stats()
    assert (stats.entries, stats.agents, stats.tasks, stats.patterns) == (1, 1, 0, 0)
    assert stats.cache_hit_rate is None
    assert stats.database_size_bytes > 0
    assert stats.settings["cache_size"] == 1000
    assert stats.swarm_id == "default"
    readiness = await memory.ready()
    assert (readiness.ready, readiness.reason) == (True, "ok")


async def test_bad_input_names_the_field(memory):
    with pytest.raises(MemoryRequestError) as caught:
        await memory.put("n", "k", 1, tags=[""])
    assert (caught.value.status, caught.value.problem["field"]) == (400, "tags[0]")
    assert not caught.value.transient


async def test_a_wrong_token_is_an_error_of_its_own(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token="wrong") as client:
        with pytest.raises(MemoryAuthError):
            await client.stats()
        assert (await client.ready()).ready


async def test_statistics_of_something_else_are_an_error():
    async with scripted(answer(200, {"entries": 1})) as client:
        with pytest.raises(MemoryProtocolError, match="agents"):
            await client.stats()


NOT_JSON = [
    ({1, 2}, "value: a set is not JSON"),
    ({"a": [0, {"b": {1, 2}}]}, r"value\.a\[1\]\.b: a set is not JSON"),
    ({1: 2}, "value: the key 1 is not text"),
    ([{"a": {None: 2}}], r"value\[0\]\.a: the key None is not text"),
    ({True: 2}, "value: the key True is not text"),
    ({(1, 2): 2}, r"value: the key \(1, 2\) is not text"),
    (float("nan"), "value: nan is not JSON; a finite number is allowed"),
    ([1, -float("inf")], r"value\[1\]: -inf is not JSON"),
    (b"bytes", "value: a bytes is not JSON"),
    ("\ud800", "value: a lone surrogate"),
    ({"\ud800": 1}, "value: a key: a lone surrogate"),
]
ENDLESS = []
ENDLESS.append(ENDLESS)
NOT_JSON.append((ENDLESS, "nested too deep, or within itself"))


@pytest.mark.parametrize(("value", "said"), NOT_JSON, ids=[said for _, said in NOT_JSON])
async def test_what_is_not_json_is_a_value_error_that_names_the_part(value, said):
    async with scripted() as client:
        with pytest.raises(ValueError, match=f"^{said}" if said.startswith("value") else said):
            await client.put("n", "k", value)
        with pytest.raises(ValueError, match=said.replace("value", r"operations\[0\]\.value", 1)):
            await client.batch([{"op": "put", "namespace": "n", "key": "k", "value": value}])
        with pytest.raises(ValueError, match=said.replace("value", r"metadata\.m", 1)):
            await client.put("n", "k", 1, metadata={"m": value})
        with pytest.raises(ValueError, match=said.removeprefix("value").removeprefix(r"\.")):
            await client.coordination.put("k", value)
        assert client.requests == []


async def test_other_python_values_are_json(memory):
    value = {"a": (1, 2.5, True, None), "é": ["\U0001f40d", {}], "": []}
    await memory.put("n", "k", value)
    assert (await memory.get("n", "k")).value == {**value, "a": [1, 2.5, True, None]}


def test_the_client_brings_neither_engine_nor_service():
    code = (
        "import sys, swarm_operator.memory.client;"
        "heavy = ('swarm_operator.memory.core', 'swarm_operator.memory.sqlite', 'swarm_operator.memory.service',"
        " 'aiosqlite', 'sqlite3', 'starlette', 'uvicorn', 'pydantic', 'lz4', 'orjson', 'grpc', 'mcp');"
        "bad = [m for m in sys.modules if m.startswith(heavy)];"
        "sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
