"""Clients with the token of their pod, over each protocol: what ends with the token, and what its renewal prolongs."""

import asyncio
import contextlib
import time

import grpc
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.service_accounts import Issuer
from unit.memory.service.http.requests import request, response

from swarm_operator.memory.service.access.service_accounts import SKEW_SECONDS, ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

DEADLINE = 60
LIFETIME = 600


class Clock:
    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


class Cluster:
    """An issuer of tokens, and the clock by which they expire."""

    def __init__(self, file):
        self.file = file
        self.issuer = Issuer()
        self.clock = Clock()
        self.issuer.write(file)

    def token(self, **claims):
        """A token that was issued at this clock's time, which can only be later than PyJWT's by less than the skew."""
        return self.issuer.token(lifetime=LIFETIME, **claims)

    def expire(self):
        self.clock.now += LIFETIME + SKEW_SECONDS + 1


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    return Cluster(tmp_path / "service-accounts.json")


@pytest.fixture
async def service(start_service, cluster):
    async with start_service(
        mcp=True, service_accounts=cluster.file, token_clock=cluster.clock, watch_heartbeat=0.05
    ) as running:
        yield running


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def grpc_memory(service, cluster):
    settings = ServiceSettings(grpc_port=0, watch_heartbeat=0.05)
    tokens = Tokens(service.tokens, service_accounts=ServiceAccounts(cluster.file), clock=cluster.clock)
    server = GrpcServer(
        service.store, tokens=tokens, metrics=ServiceMetrics(), settings=settings, quotas=Quotas(settings)
    )
    async with server.running(), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield MemoryStub(channel)


async def read_to_the_end(watch):
    while (await watch.read()) is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("end", ["expired", "key rotated away", "access taken away"])
async def test_streams_end_with_the_token_though_nothing_changes(service, cluster, monkeypatch, end):
    monkeypatch.setattr("swarm_operator.memory.service.mcp.subscriptions._CHECK_SECONDS", 0.05)
    token = cluster.token()
    async with (
        httpx2.AsyncClient(verify=False, headers=bearer(token), timeout=DEADLINE) as http,
        grpc_memory(service, cluster) as memory,
        http.stream("GET", f"http://127.0.0.1:{service.port}/v1/watch") as answer,
        Client(
            streamable_http_client(f"http://127.0.0.1:{service.port}/mcp", http_client=http), mode="2026-07-28"
        ) as client,
        client.listen(resource_subscriptions=["memory://team"]) as events,
    ):
        watch = memory.Watch(pb.WatchRequest(), metadata=(("authorization", f"Bearer {token}"),))
        assert (await watch.read()).HasField("ready")
        lines = answer.aiter_lines()
        while "ready" not in await anext(lines):
            pass
        if end == "expired":
            cluster.expire()
        elif end == "key rotated away":
            Issuer(kid="other").write(cluster.file)
        else:
            cluster.issuer.write(cluster.file, ("swarm", "other", "write"))
        async with asyncio.timeout(DEADLINE):
            async for line in lines:
                assert "change" not in line
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_to_the_end(watch)
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        assert (await service.call("GET", "/v1/namespaces", token=token)).status == 401


async def test_a_connection_outlives_its_token_and_no_request_does(service, cluster):
    """Of the direct path, which knows the header fields of a connection's former requests."""
    await service.store.put("team", "k", 1)
    token = cluster.token()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)

    async def status(token):
        writer.write(request(b"GET", b"/v1/entries/team/k", b"Host: x", b"Authorization: Bearer " + token.encode()))
        async with asyncio.timeout(DEADLINE):
            return (await response(reader, b"GET")).split()[1]

    assert [await status(token) for _ in range(3)] == [b"200"] * 3
    cluster.expire()
    assert await status(token) == b"401"
    renewed = cluster.issuer.token(lifetime=3 * LIFETIME)
    assert await status(renewed) == b"200"
    assert await status(token) == b"401"
    writer.close()


async def test_a_cursor_is_of_the_pod_and_outlives_the_renewal_of_its_token(service, cluster):
    for key in ("a", "b"):
        await service.store.put("team", key, 1)
    path = "/v1/entries?namespace=team&limit=1"
    first = (await service.call("GET", path, token=cluster.token())).json
    path += f"&cursor={first['next_cursor']}"
    renewed = await service.call("GET", path, token=cluster.token(jti="2"))
    assert [entry["key"] for entry in renewed.json["entries"]] == ["b"]
    for other in (cluster.token(pod="agent-1"), cluster.token(pod=None)):
        assert (await service.call("GET", path, token=other)).status == 400


async def test_each_pod_has_a_share_of_its_own(start_service, cluster):
    async with (
        start_service(service_accounts=cluster.file, max_watches=4) as service,
        contextlib.AsyncExitStack() as on,
    ):
        http = await on.enter_async_context(httpx2.AsyncClient(verify=False, timeout=DEADLINE))

        async def watch(token):
            stream = http.stream("GET", f"http://127.0.0.1:{service.port}/v1/watch", headers=bearer(token))
            return await on.enter_async_context(stream)

        first = [await watch(cluster.token(jti=str(number))) for number in range(3)]
        assert [answer.status_code for answer in first] == [200, 200, 429]
        assert "the token swarm:agent:agent-0 holds 2" in (await first[2].aread()).decode()
        assert (await watch(cluster.token(pod="agent-1"))).status_code == 200


async def test_a_session_goes_on_with_the_renewed_token(service, cluster):
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    short, renewed = cluster.token(), cluster.issuer.token(lifetime=3 * LIFETIME)
    async with httpx2.AsyncClient(
        verify=False, base_url=f"http://127.0.0.1:{service.port}", timeout=DEADLINE,
        headers={"Accept": "application/json, text/event-stream"},
    ) as http:  # fmt: skip

        async def begin():
            opened = await http.post("/mcp", json=hello, headers=bearer(short))
            return {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}

        async def ask(session, token):
            return (await http.post("/mcp", json=listing, headers={**bearer(token), **session})).status_code

        prolonged, forgotten = await begin(), await begin()
        assert await ask(prolonged, renewed) == 200
        cluster.expire()
        assert await ask(prolonged, renewed) == 200
        assert await ask(prolonged, short) == 401
        assert await ask(forgotten, renewed) == 404
