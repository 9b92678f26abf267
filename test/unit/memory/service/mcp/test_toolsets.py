"""Which tools are listed: the toolsets that the URL names, as far as the token can use them."""

import json
import re

import orjson
import pytest

from swarm_operator.cmd.memory import values
from swarm_operator.memory.service.mcp.tools import TOOLS, TOOLSETS
from swarm_operator.memory.service.mcp.toolsets import Toolset

CORE = [
    "memory_store", "memory_retrieve", "memory_list", "memory_search", "memory_delete", "memory_stats",
    "task_create", "task_claim_next", "task_set_status", "message_send", "message_read",
]  # fmt: skip
ADMIN = "admin-0123456789abcdef"
READER, TEAM, WORKER = "reader-0123456789", "team-0123456789abc", "worker-0123456789"
FURTHER = [
    {"name": "reader", "token": READER, "access": "read"},
    {"name": "team", "token": TEAM, "access": "write", "namespaces": ["team"]},
    {"name": "worker", "token": WORKER, "access": "write", "namespaces": ["swarm:tasks"]},
]
HEADERS = {"content_type": "application/json", "accept": "application/json, text/event-stream"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
async def service(start_service, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps({"tokens": FURTHER}))
    async with start_service(mcp=True) as running:
        yield running


async def request(service, method, query="", **options):
    """A request that stands alone, and its answer as it is sent."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META}}
    return await service.call(
        "POST", f"/mcp{query}", message, mcp_protocol_version="2026-07-28", mcp_method=method, **HEADERS, **options
    )


async def test_core_is_listed_unless_the_url_names_toolsets(service, connecting, era):
    async with connecting(service.port, era=era) as mcp:
        assert list(await mcp.tools()) == CORE
    async with connecting(service.port, era=era, query="?toolsets=core") as mcp:
        assert list(await mcp.tools()) == CORE
    async with connecting(service.port, era=era, query="?toolsets=tasks,core") as mcp:
        listed = list(await mcp.tools())
    assert listed == [tool.name for tool in TOOLS if tool.name in CORE or tool.name.startswith("task_")]
    async with connecting(service.port, era=era, query="?toolsets=all", token=ADMIN) as mcp:
        assert list(await mcp.tools()) == [tool.name for tool in TOOLS]


async def test_a_setting_says_which_are_listed_by_default(start_service, connecting, era):
    async with start_service(mcp=True, mcp_toolsets=values.toolsets("swarm, classic")) as service:
        async with connecting(service.port, era=era, token=ADMIN) as mcp:
            names = {tool.name for each in (Toolset.SWARM, Toolset.CLASSIC) for tool in TOOLSETS[each]}
            assert (await mcp.tools()).keys() == names
        async with connecting(service.port, era=era, query="?toolsets=core") as mcp:
            assert list(await mcp.tools()) == CORE


@pytest.mark.parametrize(
    ("query", "field", "wrong"),
    [
        ("?toolsets=core,jobs", "toolsets", "one or more of core, tasks, swarm, classic, admin, all, separated"),
        ("?toolsets=core,jobs", "toolsets", "; 'jobs' is none of them"),
        ("?toolsets=", "toolsets", "; '' is none of them"),
        ("?toolsets=CORE", "toolsets", "; 'CORE' is none of them"),
        ("?toolsets=core&toolsets=tasks", "toolsets", "at most once"),
        ("?toolset=tasks", "query parameter 'toolset'", "one of toolsets"),
    ],
)
async def test_what_is_no_toolset_is_refused_with_those_that_there_are(service, query, field, wrong):
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    for answer in (
        await service.call("POST", f"/mcp{query}", hello, **HEADERS), await request(service, "tools/list", query)
    ):  # fmt: skip
        assert (answer.status, answer.json["field"]) == (400, field)
        assert wrong in answer.json["detail"]


async def test_a_tool_that_is_not_listed_can_be_called(service, connecting, era):
    async with connecting(service.port, era=era) as mcp:
        assert "pattern_store" not in await mcp.tools()
        assert (await mcp.call("pattern_store", id="p"))["version"] == 1


async def listed(service, connecting, token):
    async with connecting(service.port, token=token, query="?toolsets=all") as mcp:
        return await mcp.tools()


async def test_a_token_sees_the_tools_that_it_can_use(service, connecting):
    client, reader, team, worker = [
        await listed(service, connecting, token) for token in ("client-0123456789abcdef", READER, TEAM, WORKER)
    ]
    assert client.keys() == {tool.name for tool in TOOLS} - {tool.name for tool in TOOLSETS[Toolset.ADMIN]}
    assert reader.keys() == {tool.name for tool in TOOLS if tool.read_only}
    own = {
        "memory_store", "memory_retrieve", "memory_list", "memory_search", "memory_delete", "memory_usage",
        "memory_namespace",
    }  # fmt: skip
    assert team.keys() == own
    assert worker.keys() == own | {tool.name for tool in TOOLSETS[Toolset.TASKS]}


async def test_core_fits_in_12_kilobytes(service):
    answer = await request(service, "tools/list")
    assert [tool["name"] for tool in answer.json["result"]["tools"]] == CORE
    assert len(orjson.dumps(answer.json["result"]["tools"])) < 12_000
    assert len(answer.body) < 12_288


async def test_instructions_name_tools_of_core_only(service):
    answer = await request(service, "server/discover")
    instructions = answer.json["result"]["instructions"]
    named = set(re.findall(r"\w+", instructions)) & {tool.name for tool in TOOLS}
    assert named
    assert named <= set(CORE)


def test_descriptions_name_tools_that_there_are_and_are_not_alike():
    names = {tool.name for tool in TOOLS}
    words = {word for tool in TOOLS for word in re.findall(r"\w+", tool.description)}
    assert {word for word in words if word.partition("_")[0] in {"memory", "task", "agent"} and "_" in word} <= names
    assert len({tool.description for tool in TOOLS}) == len(TOOLS)


def test_every_tool_is_in_a_toolset_besides_all():
    assert set(TOOLSETS) == set(Toolset)
    topics = [tool.name for name, tools in TOOLSETS.items() if name is not Toolset.ALL for tool in tools]
    assert set(topics) == {tool.name for tool in TOOLSETS[Toolset.ALL]} == {tool.name for tool in TOOLS}
