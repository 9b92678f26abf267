"""The memory as an MCP server, by the official clients: Python's, npm's SDK, and the inspector's command line.

The service runs on this host; the clients of npm are installed with the versions of node/package-lock.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.page_runs import to_run
from support.pages import blocks
from unit.memory.wire import steps
from unit.memory.wire.service import Service, serving

from swarm_operator.memory.service.mcp.tools import TOOLSETS
from swarm_operator.memory.service.mcp.toolsets import Toolset

pytestmark = pytest.mark.timeout(900)
HERE = Path(__file__).parent / "node"
CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    Toolset.CORE: ("memory_store", {"key": "plan", "value": {"step": 1}}, {"key": "plan"}),
    Toolset.TASKS: ("task_claim_next", {"agent": "ada"}, {"task": None}),
    Toolset.SWARM: ("pattern_best", {"tags": ["review"], "limit": 3}, {"patterns": []}),
    Toolset.CLASSIC: ("memory_usage", {"action": "store", "key": "k", "value": "v"}, {"stored": True}),
    Toolset.ADMIN: ("memory_compress", {}, {"collected": 0}),
    Toolset.ALL: ("agent_list", {}, {"agents": []}),
}
"""A tool of each toolset, its arguments, and what its answer has among other things."""


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder in which the packages of npm are installed."""
    done = subprocess.run([HERE / "install.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as running:
        yield running


def run(packages: Path, *command: str, **environment: str) -> str:
    path = f"{packages / 'node_modules' / '.bin'}:{os.environ['PATH']}"
    # The inspector leaves a folder in HOME.
    environment = {**os.environ, **environment, "PATH": path, "HOME": str(packages)}
    done = subprocess.run(command, check=False, cwd=packages, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_python(url: str, tool: str, arguments: dict[str, Any], _: Path, *, mode: str) -> tuple[list[str], Any]:
    async def use() -> tuple[list[str], Any]:
        async with (
            httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {steps.ADMIN}"}, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            names = [each.name for each in (await client.list_tools()).tools]
            answer = await client.call_tool(tool, arguments)
            return names, answer.model_dump(mode="json", by_alias=True)

    return asyncio.run(use())


def with_npm(url: str, tool: str, arguments: dict[str, Any], packages: Path) -> tuple[list[str], Any]:
    script = (HERE / "list.mjs").read_text()
    shown = run(
        packages, "node", "--input-type=module", "--eval", script, url, steps.ADMIN, tool, json.dumps(arguments)
    )
    found = json.loads(shown)
    return found["names"], found["answer"]


def with_inspector(url: str, tool: str, arguments: dict[str, Any], packages: Path) -> tuple[list[str], Any]:
    there = ("mcp-inspector", "--cli", url, "--transport", "http", "--header", f"Authorization: Bearer {steps.ADMIN}")
    listed = json.loads(run(packages, *there, "--method", "tools/list"))
    given = [part for name, value in arguments.items() for part in ("--tool-arg", f"{name}={_text(value)}")]
    answer = json.loads(run(packages, *there, "--method", "tools/call", "--tool-name", tool, *given))
    return [each["name"] for each in listed["tools"]], answer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def with_python_s_sessions(url: str, tool: str, arguments: dict[str, Any], packages: Path) -> tuple[list[str], Any]:
    return with_python(url, tool, arguments, packages, mode="legacy")


def with_python_alone(url: str, tool: str, arguments: dict[str, Any], packages: Path) -> tuple[list[str], Any]:
    return with_python(url, tool, arguments, packages, mode="2026-07-28")


@pytest.mark.parametrize("use", [with_python_s_sessions, with_python_alone, with_npm, with_inspector])
def test_official_clients_work_with_every_toolset(service, packages, use):
    assert CALLS.keys() == set(Toolset)
    for toolset, (tool, arguments, expected) in CALLS.items():
        names, answer = use(f"http://127.0.0.1:{service.port}/mcp?toolsets={toolset}", tool, arguments, packages)
        assert set(names) == {each.name for each in TOOLSETS[toolset]}
        assert not answer.get("isError"), answer
        (content,) = answer["content"]
        assert expected.items() <= json.loads(content["text"]).items()


def test_the_examples_for_npm_and_the_inspector_are_what_the_page_says(service, packages):
    environment = {"SWARM_MEMORY_URL": f"http://127.0.0.1:{service.port}", "SWARM_MEMORY_TOKEN": steps.CLIENT}
    (code,) = [block for block in blocks("mcp.md") if block.startswith("import { Client }")]
    assert run(packages, "node", "--input-type=module", "--eval", code, **environment).strip() == "[]"
    (command,) = to_run("docs/mcp.md", __file__)
    listed = json.loads(run(packages, "bash", "-c", command.text, **environment))
    assert {each["name"] for each in listed["tools"]} == {tool.name for tool in TOOLSETS[Toolset.TASKS]}
