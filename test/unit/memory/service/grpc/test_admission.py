"""Calls have shares, and no message is read before its caller may have it read."""

import asyncio
import contextlib

import grpc
import pytest

from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc import pause
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

SERVICE = "swarm.memory.v1.Memory"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CLIENT, ADMIN = "client-0123456789abcdef", "admin-0123456789abcdef"
READER, TEAM = "reader-0123456789abcdef", "team-0123456789abcdef"
MIB = 1024 * 1024
GET = pb.GetRequest(namespace="team", key="k")


def metadata(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
async def calling(connecting):
    """calling(served) is a channel without a token, whose windows do not grow."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(served):
            return await stack.enter_async_context(connecting(served.server.port, None, **{"grpc.http2.bdp_probe": 0}))

        yield opened


def begin(channel, token, method="Put"):
    """A call whose message never comes."""
    call = channel.stream_unary(f"/{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes)
    return call(metadata=metadata(token))


async def held_is(quota, amount, eventually):
    async def check():
        return quota.held == amount

    await eventually(check)


async def test_a_token_that_may_only_read_sends_no_large_message(start_grpc, calling):
    large = pb.GetRequest(namespace="n", key="k" * 2 * MIB)
    async with start_grpc() as served:
        memory = MemoryStub(await calling(served))
        status, problem = await served.problem(memory.Get(large, metadata=metadata(READER)))
        assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "body-too-large")
        status, problem = await served.problem(memory.Get(large, metadata=metadata(CLIENT)))
        assert (status, problem.details["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "key")


async def test_calls_have_shares_and_the_admin_gets_in(start_grpc, calling, monkeypatch, eventually):
    async with start_grpc(max_grpc_calls=8) as served:
        gate = asyncio.Event()
        entered = allowed = 0

        async def get(*_):
            nonlocal entered
            entered += 1
            if entered > allowed:
                raise LookupError("this call is one too many")
            await gate.wait()

        monkeypatch.setattr(type(served.store), "get", get)
        memory = MemoryStub(await calling(served))

        async def all_entered():
            return entered == allowed

        async def take(token, number):
            nonlocal allowed
            allowed += number
            calls = [memory.Get(GET, metadata=metadata(token)) for _ in range(number)]
            await eventually(all_entered)
            return calls

        waiting = await take(CLIENT, 4)
        status, problem = await served.problem(memory.Get(GET, metadata=metadata(CLIENT)))
        assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
        assert "gRPC calls: the token client holds 4 and asks for 1 more; the share of one token is 4 of 8" in (
            problem.message
        )
        assert served.handled("Get", "RESOURCE_EXHAUSTED") == 1
        waiting += await take(READER, 3)
        status, problem = await served.problem(memory.Get(GET, metadata=metadata(TEAM)))
        assert "gRPC calls: all tokens hold 7" in problem.message
        waiting += await take(ADMIN, 1)
        gate.set()
        for call in waiting:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await held_is(served.quotas.calls, 0, eventually)
        await memory.Namespaces(pb.NamespacesRequest(), metadata=metadata(CLIENT))


async def test_messages_that_do_not_come_take_no_more_than_a_share(start_grpc, calling, eventually):
    async with start_grpc(max_held_body_bytes=16 * MIB) as served:
        channel = await calling(served)
        calls = [begin(channel, READER, method) for method in ("Put", "Get", "List", "Watch", "Batch")]
        refusals = [asyncio.ensure_future(served.problem(call)) for call in calls]

        async def three_refused():
            return sum(refused.done() for refused in refusals) == 3

        await eventually(three_refused)
        for refused in refusals:
            if refused.done():
                status, problem = refused.result()
                assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "bytes of requests: the token reader holds 8388608" in problem.message
        assert served.quotas.bodies.held == 8 * MIB
        await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
        entry = await MemoryStub(channel).Get(pb.GetRequest(namespace="n", key="k"), metadata=metadata(READER))
        assert entry.value == b"1", "a message that comes at once needs no reservation"
        for call in calls:
            call.cancel()
        await asyncio.gather(*refusals, return_exceptions=True)
        await held_is(served.quotas.bodies, 0, eventually)
        await held_is(served.quotas.calls, 0, eventually)


async def test_a_message_that_does_not_come_in_time_ends_its_call(start_grpc, calling, eventually):
    async with start_grpc(body_timeout=0.05) as served:
        async with asyncio.timeout(60):
            status, problem = await served.problem(begin(await calling(served), CLIENT))
        assert (status, problem.code) == (grpc.StatusCode.DEADLINE_EXCEEDED, "body-timeout")
        await held_is(served.quotas.bodies, 0, eventually)


async def test_few_messages_of_one_token_are_read_at_once(start_grpc, calling, monkeypatch, eventually):
    from swarm_operator.memory.service.grpc import admission

    monkeypatch.setattr(admission, "_PROMPT_SECONDS", 1e6)
    async with start_grpc() as served:
        channel = await calling(served)
        slow = [begin(channel, READER) for _ in range(8)]
        await held_is(served.quotas.calls, 8, eventually)
        memory = MemoryStub(channel)
        waiting = asyncio.ensure_future(_answer(memory.Stats(pb.StatsRequest(), metadata=metadata(READER))))

        async def begun():
            return served.quotas.calls.held == 9 or waiting.done()

        await eventually(begun)
        await memory.Stats(pb.StatsRequest(), metadata=metadata(CLIENT))
        assert not waiting.done()
        slow[0].cancel()
        await waiting
        for call in slow:
            call.cancel()
        await held_is(served.quotas.calls, 0, eventually)


async def _answer(call):
    return await call


@pytest.mark.parametrize("method", ["Put", "Watch", "Stats"])
async def test_bytes_that_are_no_message_are_refused(served, calling, method):
    channel = await calling(served)
    call = channel.unary_unary(f"/{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes)
    status, problem = await served.problem(call(b"\xff\xff\xff", metadata=metadata(CLIENT)))
    assert (status, problem.details["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "message")
    none = channel.stream_unary(f"/{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes)
    status, problem = await served.problem(none(_nothing(), metadata=metadata(CLIENT)))
    assert (status, problem.details["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "message")


async def _nothing():
    return
    yield


async def test_responses_that_are_not_read_are_held_of_their_reader(start_grpc, calling, eventually):
    async with start_grpc(max_held_body_bytes=14 * MIB) as served:
        await served.store.put("team", "k", "x" * (3 * MIB))
        channel = await calling(served)
        get = channel.unary_stream(f"/{SERVICE}/Get", request_serializer=pb.GetRequest.SerializeToString)
        unread = [get(GET, metadata=metadata(READER)) for _ in range(2)]

        async def both_held():
            return served.quotas.bodies.held > 6 * MIB

        await eventually(both_held)
        status, problem = await served.problem(get(GET, metadata=metadata(READER)).read())
        assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
        assert len((await served.memory.Get(GET)).value) == 3 * MIB + 2
        for call in unread:
            call.cancel()
        await held_is(served.quotas.bodies, 0, eventually)
        await held_is(served.quotas.calls, 0, eventually)


async def test_reflection_has_a_reservation_and_a_deadline(start_grpc, calling, eventually):
    async with start_grpc(body_timeout=0.05) as served:
        channel = await calling(served)
        reflect = channel.stream_stream(REFLECTION, request_serializer=bytes, response_deserializer=bytes)
        status, problem = await served.problem(reflect(metadata=metadata(READER)).read())
        assert (status, problem.code) == (grpc.StatusCode.DEADLINE_EXCEEDED, "body-timeout")
        await held_is(served.quotas.calls, 0, eventually)


async def test_what_is_no_request_of_reflection_is_the_callers_error(start_grpc, calling, eventually):
    async with start_grpc() as served:
        channel = await calling(served)
        reflect = channel.stream_stream(REFLECTION, request_serializer=bytes, response_deserializer=bytes)
        for raw in (b"\xff\xff", b"\x1a\x01\xff"):
            call = reflect(iter([raw]), metadata=metadata(READER))
            status, problem = await served.problem(call.read())
            assert (status, problem.code) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid-input")
        await held_is(served.quotas.calls, 0, eventually)


async def test_a_large_request_of_reflection_is_refused_and_the_next_ones_wait(
    start_grpc, calling, monkeypatch, eventually
):
    monkeypatch.setattr(pause, "BYTES_PER_SECOND", 1)
    async with start_grpc() as served:
        channel = await calling(served)
        reflect = channel.stream_stream(REFLECTION, request_serializer=bytes, response_deserializer=bytes)
        name = b"x" * MIB
        large = b"\x1a" + bytes((0x80, 0x80, 0x40)) + name  # file_containing_symbol, of that length
        status, problem = await served.problem(reflect(iter([large]), metadata=metadata(READER)).read())
        assert (status, problem.details["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "message")
        assert "at most 65536 bytes" in problem.message
        every = b"\x3a\x00"  # list_services
        waiting = reflect(iter([every]), metadata=metadata(READER))
        await held_is(served.quotas.calls, 1, eventually)
        assert await reflect(iter([every]), metadata=metadata(CLIENT)).read()
        assert not waiting.done()
        memory = MemoryStub(channel).Stats(pb.StatsRequest(), metadata=metadata(READER))
        await held_is(served.quotas.calls, 2, eventually)
        await MemoryStub(channel).Stats(pb.StatsRequest(), metadata=metadata(CLIENT))
        assert not memory.done()
        for call in (waiting, memory):
            call.cancel()
        await held_is(served.quotas.calls, 0, eventually)


async def test_open_reflections_have_a_share(start_grpc, calling, eventually):
    async with start_grpc(max_held_body_bytes=16 * MIB) as served:
        channel = await calling(served)
        reflect = channel.stream_stream(REFLECTION, request_serializer=bytes, response_deserializer=bytes)
        calls = [reflect(metadata=metadata(READER)) for _ in range(2)]
        await held_is(served.quotas.bodies, 8 * MIB, eventually)
        status, problem = await served.problem(reflect(metadata=metadata(READER)).read())
        assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
        for call in calls:
            call.cancel()
        await held_is(served.quotas.bodies, 0, eventually)


async def test_a_large_message_that_is_refused_makes_the_next_ones_of_its_token_wait(
    start_grpc, calling, monkeypatch, eventually
):
    monkeypatch.setattr(pause, "BYTES_PER_SECOND", 1)
    large = pb.GetRequest(namespace="n", key="k" * 2 * MIB)
    async with start_grpc() as served:
        memory = MemoryStub(await calling(served))
        for _ in range(2):  # a small one is read as ever
            await served.problem(memory.Put(pb.PutRequest(namespace="n", key="k"), metadata=metadata(READER)))
        await served.problem(memory.Get(large, metadata=metadata(READER)))
        waiting = [memory.Stats(pb.StatsRequest(), metadata=metadata(READER)) for _ in range(9)]
        await held_is(served.quotas.calls, 9, eventually)
        for _ in range(10):  # another token's calls, sent after those, are answered
            await memory.Stats(pb.StatsRequest(), metadata=metadata(CLIENT))
        assert not any(call.done() for call in waiting)
        for call in waiting:
            call.cancel()
        await held_is(served.quotas.calls, 0, eventually)


@pytest.mark.parametrize("method", ["Put", "Batch"])
async def test_a_large_message_that_is_none_makes_the_next_ones_wait_too(
    start_grpc, calling, monkeypatch, eventually, method
):
    monkeypatch.setattr(pause, "BYTES_PER_SECOND", 1)
    async with start_grpc() as served:
        channel = await calling(served)
        call = channel.unary_unary(f"/{SERVICE}/{method}", request_serializer=bytes, response_deserializer=bytes)
        status, _ = await served.problem(call(b"\xff" * MIB, metadata=metadata(CLIENT)))
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        waiting = MemoryStub(channel).Stats(pb.StatsRequest(), metadata=metadata(CLIENT))
        await held_is(served.quotas.calls, 1, eventually)
        await MemoryStub(channel).Stats(pb.StatsRequest(), metadata=metadata(READER))
        assert not waiting.done()
        waiting.cancel()
        await held_is(served.quotas.calls, 0, eventually)


async def test_the_pause_after_a_refused_message_ends(start_grpc, calling, monkeypatch, eventually):
    monkeypatch.setattr(pause, "BYTES_PER_SECOND", 100 * MIB)
    large = pb.GetRequest(namespace="n", key="k" * 2 * MIB)
    async with start_grpc() as served:
        memory = MemoryStub(await calling(served))
        refused = [memory.Get(large, metadata=metadata(READER)) for _ in range(3)]
        for each in refused:
            status, problem = await served.problem(each)
            assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "body-too-large")
        await asyncio.gather(*(memory.Stats(pb.StatsRequest(), metadata=metadata(READER)) for _ in range(3)))
        await held_is(served.quotas.calls, 0, eventually)


async def test_after_a_pause_one_message_of_a_token_is_read_after_the_other(
    start_grpc, calling, monkeypatch, eventually
):
    monkeypatch.setattr(pause.Pause, "seconds", 1e-9)
    async with start_grpc() as served:
        channel = await calling(served)
        slow = [begin(channel, READER) for _ in range(3)]
        await held_is(served.quotas.calls, 3, eventually)
        await MemoryStub(channel).Stats(pb.StatsRequest(), metadata=metadata(CLIENT))
        assert len(served.server._servicer._admission._reading) == 1
        for call in slow:
            call.cancel()
        await held_is(served.quotas.calls, 0, eventually)
