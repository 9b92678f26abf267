"""claude-flow's names do what they say."""

import pytest

from swarm_operator.memory.service.mcp.tools import TOOLS

SEED = {
    "memory_usage": ({"action", "key", "value", "namespace", "ttl"}, ["action"]),
    "memory_search": ({"pattern", "namespace", "limit"}, None),
    "memory_persist": ({"sessionId"}, None),
    "memory_namespace": ({"namespace", "action"}, ["namespace", "action"]),
    "memory_compress": ({"namespace"}, None),
    "memory_analytics": ({"timeframe"}, None),
    "memory_backup": ({"path"}, None),
    "memory_sync": ({"target"}, ["target"]),
    "memory_restore": ({"backupPath"}, ["backupPath"]),
}
"""Its arguments, and those that are required."""


async def test_its_names_are_there_with_its_arguments_and_defaults(service, connecting, era):
    async with connecting(service.port, era=era, token="admin-0123456789abcdef", query="?toolsets=classic") as mcp:
        tools = await mcp.tools()
    assert tools.keys() == SEED.keys()
    for name, (arguments, required) in SEED.items():
        schema = tools[name].input_schema
        assert arguments <= schema["properties"].keys(), name
        assert schema.get("required") == required, name
    usage = tools["memory_usage"].input_schema["properties"]
    assert usage["action"]["enum"] == ["store", "retrieve", "list", "delete", "search"]
    assert usage["namespace"]["default"] == "default"
    assert usage["value"]["type"] == "string"
    assert tools["memory_search"].input_schema["properties"]["limit"]["default"] == 10


def test_what_the_service_cannot_do_has_no_tool():
    assert not {tool.name for tool in TOOLS} & {"cache_manage", "state_snapshot", "context_restore"}


async def test_memory_usage_stores_retrieves_lists_searches_and_deletes(mcp, service, clock):
    stored = await mcp.call("memory_usage", action="store", key="auth/plan", value='{"text": 1}', ttl=60)
    assert (stored["success"], stored["stored"], stored["namespace"]) == (True, True, "default")
    # A text that looks like JSON stays the text that it is.
    assert (await service.store.get("default", "auth/plan")).value == '{"text": 1}'
    found = await mcp.call("memory_usage", action="retrieve", key="auth/plan")
    assert (found["success"], found["found"], found["value"]) == (True, True, '{"text": 1}')
    listed = await mcp.call("memory_usage", action="list")
    assert [entry["key"] for entry in listed["entries"]] == ["auth/plan"]
    for pattern in ("plan", "auth/*"):
        hits = await mcp.call("memory_usage", action="search", value=pattern)
        assert ([hit["key"] for hit in hits["entries"]], hits["more"]) == (["auth/plan"], False)
    assert (await mcp.call("memory_usage", action="search", value="plan", namespace="other"))["entries"] == []
    clock.advance(60)
    gone = await mcp.call("memory_usage", action="retrieve", key="auth/plan")
    assert (gone["success"], gone["found"], gone["value"]) == (True, False, None)
    await mcp.call("memory_usage", action="store", key="k", value="v", namespace="n")
    assert (await mcp.call("memory_usage", action="delete", key="k", namespace="n"))["deleted"] is True
    assert (await mcp.call("memory_usage", action="delete", key="k", namespace="n"))["deleted"] is False


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "store", "value": "v"}, "key"),
        ({"action": "store", "key": "k"}, "value"),
        ({"action": "store", "key": "k", "value": {"not": "text"}}, "value"),
        ({"action": "store", "key": "k", "value": "v", "ttl": -1}, "ttl"),
        ({"action": "store", "key": "k\0", "value": "v"}, "key"),
        ({"action": "retrieve"}, "key"),
        ({"action": "delete"}, "key"),
        ({"action": "search"}, "value"),
        ({"action": "list", "namespace": ""}, "namespace"),
        ({"action": "list", "Namespace": "n"}, "Namespace"),
    ],
)
async def test_memory_usage_says_what_is_missing(mcp, service, arguments, field):
    error = await mcp.fail("memory_usage", **arguments)
    assert (error["code"], error["field"]) == ("invalid-input", field)
    assert (await service.store.stats()).entries == 0


async def test_a_namespace_is_listed_counted_and_emptied(mcp, service):
    for number in range(3):
        await service.store.put("n", f"k{number}", number)
    await service.store.put("other", "k", 1)
    listed = await mcp.call("memory_namespace", namespace="n", action="list")
    assert [entry["key"] for entry in listed["entries"]] == ["k0", "k1", "k2"]
    assert (await mcp.call("memory_namespace", namespace="n", action="info"))["count"] == 3
    assert (await mcp.call("memory_namespace", namespace="n", action="clear"))["deleted"] == 3
    assert (await mcp.call("memory_namespace", namespace="n", action="info"))["count"] == 0
    assert (await service.store.stats()).entries == 1
    assert (await mcp.fail("memory_namespace", namespace="n", action="create"))["field"] == "action"


async def test_persisting_leaves_a_mark(mcp, service):
    await service.store.put("n", "k", [1])
    mark = await mcp.call("memory_persist", sessionId="s-1")
    assert (mark["persisted"], mark["entries"], mark["valueBytes"]) == (True, 1, 3)
    found = await mcp.call("memory_retrieve", namespace=mark["namespace"], key=mark["key"])
    assert found["value"] == {
        "sessionId": "s-1", "savedAt": "2027-01-15T08:00:00.000Z", "entries": 1, "valueBytes": 3
    }  # fmt: skip


async def test_compressing_collects_and_takes_the_admin_token(service, connecting, clock):
    await service.store.put("n", "k", 1, ttl=1)
    await service.store.put("n", "long", ["x" * 50_000])
    clock.advance(1)
    async with connecting(service.port) as client:
        assert (await client.fail("memory_compress"))["code"] == "forbidden"
    async with connecting(service.port, token="admin-0123456789abcdef") as admin:
        assert (await admin.fail("memory_compress", namespace="n"))["field"] == "namespace"
        done = await admin.call("memory_compress")
        assert (done["collected"], done["compressed_entries"]) == (1, 1)
        assert 0 < done["compression_ratio"] < 0.1
        assert (await admin.call("memory_compress"))["collected"] == 0


async def test_analytics_count_what_was_written_within_the_time(mcp, service, clock):
    await service.store.put("old", "k", 1)
    clock.advance(3600)
    for number in range(3):
        await service.store.put("new", f"k{number}", "x" * 10)
    seen = await mcp.call("memory_analytics", timeframe="30m")
    assert seen["updated"] == {
        "entries": 3, "at_least": False, "by_namespace": [{"namespace": "new", "entries": 3}]
    }  # fmt: skip
    assert (seen["since"], seen["entries"]) == ("2027-01-15T08:30:00.000Z", 4)
    assert seen["largest_namespaces"][0] == {"namespace": "new", "entries": 3, "bytes": 36}
    assert (await mcp.call("memory_analytics"))["updated"]["entries"] == 4
    await mcp.call("memory_retrieve", key="k")
    operations = {each["operation"]: each for each in (await mcp.call("memory_analytics"))["operations_since_start"]}
    assert operations["get"]["count"] == 1
    assert operations["get"]["mean_ms"] > 0
    assert "put" not in operations
    for bad in ("yesterday", "", "5 m", "1w", "-1h"):
        assert (await mcp.fail("memory_analytics", timeframe=bad))["field"] == "timeframe"


async def test_analytics_say_when_there_is_more_than_they_count(mcp, service):
    for number in range(1001):
        await service.store.put("n", f"k{number}", number)
    updated = (await mcp.call("memory_analytics"))["updated"]
    assert (updated["entries"], updated["at_least"]) == (1000, True)
