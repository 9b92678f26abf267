"""The memory of a running pod as an MCP server, by the official client through a port-forward."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from e2e.access import forwarded, token
from e2e.cluster import eventually
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

pytestmark = pytest.mark.timeout(900)


def answer(result: Any) -> Any:
    return json.loads(result.content[0].text)


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_an_agent_s_host_works_with_the_memory_of_a_pod(example, era):
    key, copy = f"plan-{era}", f"{era}.db"

    def told() -> bool:
        endpoints = example.get("swarmmemorystore/my-cluster-memory")["status"]["endpoints"]
        return endpoints["mcp"] == f"http://my-cluster-memory.{example.name}.svc:8080/mcp"

    eventually(told)

    @contextlib.asynccontextmanager
    async def connected(url: str, holder: str) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token(example, holder=holder)}"}
        async with (
            httpx2.AsyncClient(verify=False, headers=headers, timeout=30) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=era) as client,
        ):
            yield client

    async def work(url: str) -> None:
        async with connected(url, "client") as client:
            stored = await client.call_tool("memory_store", {"key": key, "value": {"step": 1}})
            assert answer(stored)["created"] is True
            await client.call_tool("task_create", {"id": era, "type": era, "description": "try it"})
            claimed = await client.call_tool("task_claim_next", {"agent": "a1", "types": [era]})
            assert answer(claimed)["task"]["claimedBy"] == "a1"
            (content,) = (await client.read_resource(f"memory://default/{key}")).contents
            assert json.loads(content.text)["value"] == {"step": 1}
            refused = await client.call_tool("memory_store", {"key": "", "value": 1})
            assert refused.is_error
        async with connected(url, "admin") as client:
            made = await client.call_tool("memory_backup", {"path": copy})
            assert not made.is_error, made.content
            await client.call_tool("memory_delete", {"key": key})
            restored = await client.call_tool("memory_restore", {"backupPath": copy})
            assert answer(restored)["created"] == 1, restored.content

    with forwarded(example) as url:
        asyncio.run(work(url))
    # What one protocol stores the others find.
    assert example.memory("get", "default", key)["value"] == {"step": 1}


def test_a_store_without_mcp_mode_has_no_such_path(space):
    space.kubectl(
        "apply", "-f", "-", stdin="""
apiVersion: swarm.claudeflow.io/v1alpha1
kind: SwarmMemoryStore
metadata:
  name: plain
spec:
  storageSize: 1Gi
  mcpMode: false
""",
    )  # fmt: skip
    space.kubectl("wait", "--for=condition=Ready", "swarmmemorystore/plain", "--timeout=180s")
    assert "mcp" not in space.get("swarmmemorystore/plain")["status"]["endpoints"]
    with forwarded(space, "plain") as url:
        headers = {"Authorization": f"Bearer {token(space, 'plain')}"}
        assert httpx2.post(f"{url}/mcp", json={}, headers=headers, timeout=30).status_code == 404
        assert httpx2.get(f"{url}/v1/stats", headers=headers, timeout=30).status_code == 200
