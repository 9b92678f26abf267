"""HTTP, gRPC, MCP, watches and pages during a restore."""

import asyncio
import json

import grpc
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.restores import ADMIN, TOKEN, backed_up, ended

from swarm_operator.memory.client import (
    MemoryBusyError,
    MemoryClient,
    MemoryGoneError,
)
from swarm_operator.memory.service.grpc.memory_pb2 import Problem, PutRequest, WatchRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub


async def test_what_protocols_say_while_writes_wait(service, admin, held):
    """HTTP 503 with Retry-After, UNAVAILABLE, an error to retry; and reads go on from the old data."""
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    await admin.put("n", "k", "new")
    url = f"http://127.0.0.1:{service.port}"
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as mcp,
    ):
        await admin.restores.ask("back", backup="monday")
        await held.reached.wait()
        assert (await admin.restores.get("back")).phase == "Swapping"
        for method, path, body in (
            ("PUT", "/v1/entries/n/k", {"value": 1}),
            ("DELETE", "/v1/entries/n/k", None),
            ("POST", "/v1/batch", {"operations": [{"op": "delete", "namespace": "n", "key": "k"}]}),
            ("PUT", "/v1/agents/a", {"type": "x"}),
        ):
            answer = await service.call(method, path, body)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
            assert answer.json["type"] == "urn:swarm-memory:problem:restoring"
        assert (await service.call("POST", "/admin/gc", token=ADMIN)).status == 503
        assert (await service.call("GET", "/readyz", token=None)).status == 200
        assert (await service.call("GET", "/healthz", token=None)).status == 200
        with pytest.raises(MemoryBusyError) as caught:
            await admin.put("n", "k", 1)
        assert (caught.value.code, caught.value.retry_after) == ("restoring", 1.0)
        refused = await mcp.call_tool("memory_store", {"namespace": "n", "key": "k", "value": 1})
        error = json.loads(refused.content[0].text)["error"]
        assert (error["code"], error["retry"]) == ("restoring", True)
        read = await mcp.call_tool("memory_retrieve", {"namespace": "n", "key": "k"})
        assert json.loads(read.content[0].text)["value"] == "new"
        assert (await admin.get("n", "k")).value == "new"
        assert [hit.key for hit in (await admin.search(text="new")).hits] == ["k"]
        assert (await admin.stats()).entries == 1
        held.opened.set()
        assert (await ended(admin, "back")).phase == "Completed"
        read = await mcp.call_tool("memory_retrieve", {"namespace": "n", "key": "k"})
        assert json.loads(read.content[0].text)["value"] == "old"
        stored = await mcp.call_tool("memory_store", {"namespace": "n", "key": "k", "value": 1})
        assert not stored.is_error


async def test_grpc_says_unavailable_and_its_watches_miss_changes(fork_process, root):
    """In a process of its own: writes by gRPC meet the pause, and a watch from before is told."""
    process = await fork_process("--backups", f"file://{root}")
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    metadata = (("authorization", f"Bearer {process.token}"),)
    async with (
        MemoryClient(process.url, token=token, retries=0) as admin,
        grpc.aio.insecure_channel(f"127.0.0.1:{process.log[-1]['grpc_port']}") as channel,
    ):
        stub = MemoryStub(channel)
        await admin.put("n", "k", "old")
        await backed_up(admin, "monday")
        watch = stub.Watch(WatchRequest(since=0), metadata=metadata)
        assert (await watch.read()).WhichOneof("event") == "ready"
        await admin.restores.ask("back", backup="monday")
        codes = set()
        while not (await admin.restores.get("back")).ended:
            try:
                await stub.Put(PutRequest(namespace="n", key="x", value=b"1"), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                problem = Problem.FromString(dict(error.trailing_metadata())["swarm-problem-bin"])
                codes.add((error.code(), problem.code))
        assert codes <= {(grpc.StatusCode.UNAVAILABLE, "restoring")}
        kinds = []
        while "missed" not in kinds:
            kinds.append((await watch.read()).WhichOneof("event"))
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(WatchRequest(since=1), metadata=metadata).read()
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_watches_and_subscribers_are_told_to_list_anew(service, admin):
    await admin.put("n", "k", 1)
    await backed_up(admin, "monday")
    url, ready = f"http://127.0.0.1:{service.port}", asyncio.Event()

    async def follow(since):
        async for _ in admin.watch(since=since, on_ready=lambda _: ready.set()):
            pass

    watching = asyncio.ensure_future(follow(None))
    await ready.wait()
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="2026-07-28") as mcp,
        mcp.listen(resource_subscriptions=["memory://n/nowhere"]) as events,
    ):
        # The entry is neither in the backup nor in the store: any address may have changed.
        await admin.restores.ask("back", backup="monday")
        assert (await ended(admin, "back")).phase == "Completed"
        async with asyncio.timeout(60):
            assert (await anext(aiter(events))).uri == "memory://n/nowhere"
    with pytest.raises(MemoryGoneError):
        await watching
    for since in (0, 1, 2):
        answer = await service.call("GET", f"/v1/watch?since={since}")
        assert (answer.status, answer.json["type"]) == (410, "urn:swarm-memory:problem:gone")


async def test_pages_that_were_begun_go_on_right(service, admin):
    """Their cursors are places in the order of keys, and none of a row that is another one now."""
    for number in range(6):
        await admin.put("n", f"k{number}", "word " * (number + 1), tags=["t"])
    await backed_up(admin, "monday")
    await admin.delete("n", "k0")
    await admin.put("n", "k0", "word")
    first = await admin.list("n", limit=3)
    found = await admin.search(text="word", limit=3)
    tagged = await admin.search(tags=["t"], limit=2)
    await admin.restores.ask("back", backup="monday")
    assert (await ended(admin, "back")).phase == "Completed"
    rest = await admin.list("n", limit=100, cursor=first.next_cursor)
    assert [entry.key for entry in rest.entries] == ["k3", "k4", "k5"]
    rest = await admin.search(tags=["t"], limit=100, cursor=tagged.next_cursor)
    assert [entry.key for entry in rest.hits] == [f"k{number}" for number in range(6)][-len(rest.hits) :]
    again = await admin.search(text="word", limit=100, cursor=found.next_cursor)
    assert {hit.key for hit in found.hits} | {hit.key for hit in again.hits} == {f"k{number}" for number in range(6)}
