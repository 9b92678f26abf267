"""Every tool: its schema says what it takes, it does what it says, and it refuses the rest by name."""

import asyncio
import json
import resource

import pytest
from jsonschema import Draft202012Validator

from swarm_operator.memory.service.mcp.tools import TOOLS

READ_ONLY = {
    "memory_retrieve", "memory_list", "memory_search", "memory_stats", "memory_analytics", "agent_get", "agent_list",
    "task_get", "task_list", "pattern_best", "pattern_get", "pattern_list", "consensus_result", "consensus_list",
    "message_read", "lease_get",
}  # fmt: skip
DESTRUCTIVE = {
    "memory_store", "memory_delete", "memory_usage", "memory_namespace", "agent_register", "agent_deregister",
    "memory_restore", "memory_sync", "task_update", "task_delete", "pattern_store", "pattern_delete",
    "consensus_delete",
}  # fmt: skip

# Each tool once, each after what it needs: its arguments, and what the answer has among other things.
HAPPY = [
    ("memory_store", {"key": "k", "value": [1]}, {"created": True}),
    ("memory_retrieve", {"key": "k"}, {"found": True, "value": [1]}),
    ("memory_list", {"namespace": "default"}, {"next_cursor": None}),
    ("memory_search", {"pattern": "k"}, {"next_cursor": None}),
    ("memory_stats", {}, {"entries": 1}),
    ("memory_usage", {"action": "retrieve", "key": "k"}, {"success": True, "value": [1]}),
    ("memory_namespace", {"namespace": "default", "action": "info"}, {"count": 1}),
    ("memory_persist", {"sessionId": "s"}, {"persisted": True}),
    ("memory_analytics", {"timeframe": "1h"}, {"entries": 2}),
    ("memory_compress", {}, {"collected": 0}),
    ("memory_backup", {"path": "b"}, {"path": "b"}),
    ("memory_restore", {"backupPath": "b", "existing": "keep"}, {"unchanged": 2, "created": 0}),
    ("memory_sync", {"target": "itself"}, {"target": "itself"}),
    ("agent_register", {"id": "a", "type": "coder", "details": {"team": "x"}}, {"version": 1}),
    ("agent_heartbeat", {"id": "a", "status": "busy"}, {"version": 2}),
    ("agent_get", {"id": "a"}, {"version": 2}),
    ("agent_list", {"type": "coder", "stale": False}, {"next_cursor": None}),
    ("task_create", {"id": "t", "description": "do it", "priority": 9}, {"version": 1}),
    ("task_claim", {"id": "t", "agent": "a", "lease": 10}, {"version": 2}),
    ("task_renew", {"id": "t", "agent": "a", "lease": 20}, {"version": 3}),
    ("task_release", {"id": "t", "agent": "a", "reason": "lunch"}, {"version": 4}),
    ("task_assign", {"id": "t", "agents": ["a"]}, {"version": 5}),
    ("task_claim_next", {"agent": "a"}, {"version": 6}),
    ("task_set_status", {"id": "t", "status": "completed", "agent": "a", "result": {"ok": True}}, {"version": 7}),
    ("task_update", {"id": "t", "details": {"note": "x"}}, {"version": 8}),
    ("task_get", {"id": "t"}, {"version": 8}),
    ("task_list", {"status": "completed"}, {"next_cursor": None}),
    ("pattern_store", {"id": "p", "confidence": 0.5, "tags": ["x"]}, {"version": 1}),
    ("pattern_use", {"id": "p", "success": True}, {"version": 2}),
    ("pattern_best", {"tags": ["x"]}, {"considered": 1, "left_out": 0}),
    ("pattern_get", {"id": "p"}, {"version": 2}),
    ("pattern_list", {}, {"next_cursor": None}),
    ("consensus_propose", {"id": "c", "voters": ["a", "b"], "details": {"why": "x"}}, {"version": 1}),
    ("consensus_vote", {"id": "c", "agent": "a", "choice": "approve", "reason": "yes"}, {"version": 2}),
    ("consensus_result", {"id": "c"}, {"version": 2}),
    ("consensus_list", {"status": "open"}, {"next_cursor": None}),
    ("consensus_close", {"id": "c"}, {"version": 3}),
    ("lease_claim", {"id": "queen", "agent": "a", "lease": 10}, {"version": 1}),
    ("lease_renew", {"id": "queen", "agent": "a"}, {"version": 2}),
    ("lease_get", {"id": "queen"}, {"version": 2}),
    ("lease_release", {"id": "queen", "agent": "a"}, {"version": 3}),
    ("message_send", {"from": "a", "to": "b", "message": {"type": "hi"}}, {}),
    ("message_read", {"agent": "b", "type": "hi"}, {"more": False}),
    ("memory_delete", {"key": "k"}, {"deleted": True}),
    ("agent_deregister", {"id": "a"}, {"deleted": True}),
    ("task_delete", {"id": "t"}, {"deleted": True}),
    ("pattern_delete", {"id": "p"}, {"deleted": True}),
    ("consensus_delete", {"id": "c"}, {"deleted": True}),
]


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_every_tool_does_what_it_says(service, connecting, era):
    itself = {"name": "itself", "url": f"http://127.0.0.1:{service.port}", "token": "client-0123456789abcdef"}
    (service.tokens / "peers.json").write_text(json.dumps({"peers": [itself]}))
    async with connecting(service.port, era=era, token="admin-0123456789abcdef") as mcp:
        for name, arguments, expected in HAPPY:
            answer = await mcp.call(name, **arguments)
            assert {member: answer.get(member) for member in expected} == expected, name
    metrics = await service.metrics()
    for name, *_ in HAPPY:
        assert f'swarm_memory_mcp_calls_total{{outcome="ok",tool="{name}"}} 1.0' in metrics


def test_every_tool_is_tried():
    assert sorted(name for name, *_ in HAPPY) == sorted(tool.name for tool in TOOLS)


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_every_tool_is_listed_with_its_schema_description_and_hints(service, connecting, era):
    async with connecting(service.port, era=era, token="admin-0123456789abcdef", query="?toolsets=all") as mcp:
        listed = await mcp.tools()
    assert list(listed) == [tool.name for tool in TOOLS]
    for name, tool in listed.items():
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.output_schema is None
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description.endswith(".")
        hints = tool.annotations
        assert hints.read_only_hint is (name in READ_ONLY), name
        assert hints.destructive_hint is (name in DESTRUCTIVE), name
        assert hints.open_world_hint is False
        if hints.read_only_hint:
            assert not hints.destructive_hint


def wrong_values(schema):
    """Values that this schema doesn't allow."""
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if not kinds:
        return []
    samples = {
        "string": "text", "integer": 7, "boolean": True, "array": [None], "object": {"x": 1}, "null": None,
    }  # fmt: skip
    allowed = kinds | ({"integer"} if "number" in kinds else set())
    wrong = [value for kind, value in samples.items() if kind not in allowed]
    if "maxLength" in schema:
        wrong += ["x" * (schema["maxLength"] + 1), *([""] if schema["minLength"] else [])]
    if "maximum" in schema:
        wrong.append(schema["maximum"] + 1)
    if "minimum" in schema:
        wrong.append(schema["minimum"] - 1)
    if "enum" in schema:
        wrong.append("none of these")
    return wrong


async def test_every_tool_names_each_argument_that_is_wrong_missing_or_unknown(service, connecting):
    async with connecting(service.port, token="admin-0123456789abcdef") as mcp:
        for tool in TOOLS:
            happy = next(arguments for name, arguments, _ in HAPPY if name == tool.name)
            unknown = await mcp.fail(tool.name, **happy, surprise=1)
            assert (unknown["code"], unknown["field"]) == ("invalid-input", "surprise"), tool.name
            for name in tool.input.get("required", ()):
                rest = {key: value for key, value in happy.items() if key != name}
                assert (await mcp.fail(tool.name, **rest))["field"] == name, tool.name
            for name, schema in tool.input["properties"].items():
                for value in wrong_values(schema):
                    error = await mcp.fail(tool.name, **{**happy, name: value})
                    told = (tool.name, name, str(value)[:50])
                    assert (error["code"], error["field"]) == ("invalid-input", name), told
                    assert error["allowed"], told
                    assert len(str(error)) < 2000, told
            assert (await service.store.stats()).entries == 0, tool.name
        await mcp.call("memory_stats")  # the session goes on


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_list_s_length_is_checked_before_its_items(tool):
    """Else a million tags, each of them good, would hold everyone up for seconds."""
    for schema in tool.input["properties"].values():
        if schema.get("type") == "array":
            assert list(schema).index("maxItems") < list(schema).index("items")


async def test_states_and_missing_records_are_told_apart(mcp):
    await mcp.call("task_create", id="t")
    await mcp.call("task_claim", id="t", agent="a")
    claimed = await mcp.fail("task_claim", id="t", agent="b")
    assert (claimed["code"], claimed["reason"]) == ("state-conflict", "claimed")
    assert (await mcp.fail("task_get", id="none"))["code"] == "not-found"
    assert (await mcp.fail("agent_heartbeat", id="none"))["code"] == "not-found"
    assert (await mcp.fail("agent_register", id="a", type="x", details={"type": "y"}))["field"] == "details.type"
    assert await mcp.call("task_claim_next", agent="b") == {"task": None}


async def test_of_many_that_claim_a_task_one_gets_it(service, connecting):
    async with connecting(service.port) as one, connecting(service.port, era="2026-07-28") as two:
        for number in range(10):
            await one.call("task_create", id=f"t{number}")
        claims = await asyncio.gather(*(
            mcp.call("task_claim_next", agent=f"a{number}") for number in range(10) for mcp in (one, two)
        ))  # fmt: skip
    got = [claim["task"]["id"] for claim in claims if claim["task"]]
    assert sorted(got) == [f"t{number}" for number in range(10)]


async def test_a_huge_value_is_refused_by_its_limit_and_one_below_it_is_stored(service, connecting):
    async with connecting(service.port) as mcp:
        await mcp.call("memory_store", key="big", value="x" * 4_000_000)
        assert (await service.store.get("default", "big")).size == 4_000_002
    answer = await service.call(
        "POST", "/mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b"y" * 4_200_000 + b'"}}',
        content_type="application/json",
    )  # fmt: skip
    assert answer.status == 413


async def test_what_the_disk_refuses_is_the_service_s_fault_and_says_whether_to_try_again(start_process, connecting):
    def limits():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400 * 1024, resource.RLIM_INFINITY))

    process = await start_process("--mcp", "true", limits=limits)
    port = int(process.url.rsplit(":", 1)[1])
    async with connecting(port, token=process.token) as mcp:
        for number in range(100):
            result = await mcp.client.call_tool("memory_store", {"key": f"{number}", "value": "x" * 20_000})
            if result.is_error:
                break
        error = await mcp.fail("memory_store", key="k", value="x" * 20_000)
        assert error["code"] in {"disk-full", "io-error"}
        assert error["retry"] is (error["code"] == "io-error")
        assert (await mcp.call("memory_retrieve", key="0"))["found"] is True


async def test_error_names_the_argument_and_not_the_field_of_http(mcp):
    assert (await mcp.fail("consensus_list", taskId="\0"))["field"] == "taskId"
    assert (await mcp.fail("message_send", **{"from": "\0", "message": 1}))["field"] == "from"
