"""docs/mcp.md says what is so: its examples run, its tables are complete."""

import json
import re
import textwrap

import httpx2
import orjson
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.pages import DOCS, blocks

from swarm_operator.memory.service.mcp.subscriptions import MAX_ADDRESSES
from swarm_operator.memory.service.mcp.tools import TOOLS, TOOLSETS
from swarm_operator.memory.service.mcp.toolsets import Toolset
from swarm_operator.memory.service.settings import ServiceSettings

PAGE = (DOCS / "mcp.md").read_text()


def block(start):
    (found,) = (each for each in blocks("mcp.md") if each.startswith(start))
    return found


def expanded(text, variables):
    """As hosts expand a .mcp.json: ${NAME} and ${NAME:-default}."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda match: variables.get(match[1], match[2]) or match[0], text)


async def test_the_configuration_of_a_host_leads_to_the_service(service):
    token = (service.tokens / "client-token").read_text().strip()
    variables = {"SWARM_MEMORY_URL": f"http://localhost:{service.port}", "SWARM_MEMORY_TOKEN": token}
    server = json.loads(expanded(block('{\n  "mcpServers"'), variables))["mcpServers"]["swarm-memory"]
    assert server["type"] == "http"
    async with (
        httpx2.AsyncClient(verify=False, headers=server["headers"], timeout=60) as http,
        Client(streamable_http_client(server["url"], http_client=http)) as client,
    ):
        assert (await client.list_tools()).tools
    assert "http://localhost:8080/mcp" in expanded(block('{\n  "mcpServers"'), {})


async def test_the_python_example_runs_and_prints_what_it_says(service, capsys):
    scope = {}
    code = block("import json")
    exec("async def example(url, token):\n" + textwrap.indent(code, "    "), scope)
    token = (service.tokens / "client-token").read_text().strip()
    await scope["example"](f"http://127.0.0.1:{service.port}", token)
    assert capsys.readouterr().out.strip() == block('{"error"')


async def test_the_file_of_other_memories_is_understood(service, connecting):
    (service.tokens / "peers.json").write_text(block('{"peers"'))
    async with connecting(service.port, token="admin-0123456789abcdef") as mcp:
        assert (await mcp.fail("memory_sync", target="west"))["allowed"] == "one of east"


def test_the_table_of_tools_is_complete_and_has_their_hints():
    documented = {}
    table = PAGE.partition("## Tools\n")[2].partition("### Errors")[0]
    for names, hints in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|([ rdi]*)\|.*\|$", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            documented[name] = set(hints.split())
    assert documented == {
        tool.name: {
            letter
            for letter, given in (("r", tool.read_only), ("d", tool.destructive), ("i", tool.idempotent))
            if given
        }
        for tool in TOOLS
    }


def test_the_table_of_toolsets_is_the_code_s():
    table = PAGE.partition("## Toolsets")[2].partition("## Tools\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.+) \|$", table, re.MULTILINE))
    documented = {
        toolset: {tool.name for name in re.findall(r"`(\w+)`", named) for tool in TOOLS
                  if tool.name == name or (name.endswith("_") and tool.name.startswith(name))}
        for toolset, named in rows.items()
    }  # fmt: skip
    assert documented == {
        toolset: {tool.name for tool in tools} for toolset, tools in TOOLSETS.items() if toolset is not Toolset.ALL
    }
    assert ServiceSettings().mcp_toolsets == (Toolset.CORE,)


@pytest.mark.parametrize(("toolset", "words"), [("all", "all tools take"), ("core", "`core` takes")])
async def test_the_sizes_of_the_lists_are_what_the_page_says(service, connecting, toolset, words):
    async with connecting(service.port, token="admin-0123456789abcdef", query=f"?toolsets={toolset}") as mcp:
        tools = [
            tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in (await mcp.tools()).values()
        ]
    assert f"{words} {len(orjson.dumps(tools)) / 1000:.0f} KB" in " ".join(PAGE.split())


def test_the_limits_are_the_settings():
    settings = ServiceSettings()
    assert settings.mcp_max_answer_bytes == 24 * 1024
    assert settings.mcp_max_sessions == 500
    assert settings.mcp_idle == 30 * 60
    assert f"| addresses that one client subscribes to | {MAX_ADDRESSES} |" in PAGE
