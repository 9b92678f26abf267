"""Health needs no token, so it is bounded: nobody uses it up, and it uses up nothing of the calls."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from swarm_operator.memory.service.grpc import health, pause
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.servicer import SERVICE

SERVING = health_pb2.HealthCheckResponse.SERVING


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


@pytest.fixture
async def served(start_grpc, eventually):
    async with start_grpc() as started:
        yield started


@pytest.fixture
async def channel(served, connecting):
    async with connecting(served.server.port, None) as opened:
        yield opened


async def test_health_watches_take_no_calls_and_one_more_ends_the_oldest(served, channel, monkeypatch, eventually):
    monkeypatch.setattr(health, "_MOST_WATCHES", 3)
    stub = health_pb2_grpc.HealthStub(channel)
    watches = []
    for _ in range(5):
        watches.append(stub.Watch(request()))
        assert (await watches[-1].read()).status == SERVING
    assert len(served.server._health._watches) == 3
    for ended in watches[:2]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ended.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert served.quotas.calls.held == 0
    assert not any(watch.done() for watch in watches[2:])
    assert (await stub.Check(request())).status == SERVING
    await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
    for watch in watches:
        watch.cancel()

    async def gone():
        return not served.server._health._watches

    await eventually(gone)


async def test_a_service_that_is_not_there_is_not_found(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(request("nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request("nothing"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_requests_that_do_not_come_keep_nobody_from_an_answer(channel, monkeypatch, method, served, eventually):
    monkeypatch.setattr(health, "_READ_SECONDS", 1e6)
    begin = channel.stream_stream(f"/grpc.health.v1.Health/{method}", request_serializer=bytes)
    slow = [begin() for _ in range(health._MOST_READS)]

    async def reading():
        return served.server._health._reads == health._MOST_READS

    await eventually(reading)
    stub = health_pb2_grpc.HealthStub(channel)
    assert (await stub.Check(request())).status == SERVING
    assert (await stub.Watch(request()).read()).status == SERVING
    for call in slow:
        call.cancel()


async def test_a_request_that_does_not_come_ends(channel, monkeypatch):
    monkeypatch.setattr(health, "_READ_SECONDS", 0.01)
    call = channel.stream_unary("/grpc.health.v1.Health/Check", request_serializer=bytes)()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_request_that_is_none_is_refused(channel, monkeypatch):
    monkeypatch.setattr(health, "_READ_SECONDS", 60.0)
    call = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_all_statuses_are_listed(channel):
    listed = await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
    assert {name: status.status for name, status in listed.statuses.items()} == {"": SERVING, SERVICE: SERVING}


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/x", f"/{SERVICE}/x", "/x/y", "/x"])
@pytest.mark.parametrize("token", [None, "client-0123456789abcdef"])
async def test_an_unknown_method_is_refused_without_a_line_in_the_log(served, connecting, caplog, path, token):
    async with connecting(served.server.port, token) as channel:
        call = channel.unary_unary(path, request_serializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
    known = token is not None or "health" in path
    assert caught.value.code() is (grpc.StatusCode.UNIMPLEMENTED if known else grpc.StatusCode.UNAUTHENTICATED)
    assert caplog.records == []


async def test_health_watches_end_when_the_server_stops(start_grpc, connecting):
    async with start_grpc(grace=600) as served, connecting(served.server.port, None) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(request())
        await watch.read()
        async with asyncio.timeout(60):
            served.server.stop()
            with pytest.raises(grpc.aio.AioRpcError):
                await watch.read()


async def test_after_a_large_request_the_next_ones_are_answered_unread(channel, monkeypatch):
    monkeypatch.setattr(pause, "BYTES_PER_SECOND", 1)
    check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(b"\xff" * 64 * 1024)  # not large
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(request("x" * 2 * 1024 * 1024).SerializeToString())
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    stub = health_pb2_grpc.HealthStub(channel)
    assert (await stub.Check(request("nothing"))).status == SERVING, "as of the server: the request is not read"
