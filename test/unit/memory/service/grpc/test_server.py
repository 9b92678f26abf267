"""The port: tokens, limits, health, reflection, starting and stopping."""

import asyncio
import signal

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from swarm_operator.memory.core.errors import DiskFullError, ReadOnlyError
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

SERVICE = "swarm.memory.v1.Memory"


@pytest.mark.parametrize("token", [None, "wrong", "client-0123456789abcde", "x" * 4000])
async def test_without_a_valid_token_nothing_is_answered(served, connecting, token):
    async with connecting(served.server.port, token) as channel:
        stub = MemoryStub(channel)
        status, problem = await served.problem(stub.Get(pb.GetRequest(namespace="n", key="k")))
        assert (status, problem.code) == (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")
        status, _ = await served.problem(stub.Watch(pb.WatchRequest()).read())
        assert status is grpc.StatusCode.UNAUTHENTICATED


async def test_a_message_over_the_limit_is_refused(start_grpc):
    async with start_grpc(max_grpc_message_bytes=1000) as served:
        await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b'"' + b"x" * 500 + b'"'))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b'"' + b"x" * 1500 + b'"'))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # gRPC itself refuses it, before it copies the message.
        assert "swarm-problem-bin" not in dict(caught.value.trailing_metadata())


async def test_who_has_no_token_is_refused_before_the_message_is_taken_in(served, connecting):
    async with connecting(served.server.port, None) as channel:
        put = channel.stream_unary(
            f"/{SERVICE}/Put", request_serializer=pb.PutRequest.SerializeToString, response_deserializer=bytes
        )
        call = put()  # it is begun, and the message never comes
        async with asyncio.timeout(60):
            status, problem = await served.problem(call)
        assert (status, problem.code) == (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")


async def test_health_needs_no_token_and_follows_readiness(served, connecting, eventually, monkeypatch):
    async with connecting(served.server.port, None) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def says(status):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
            return answer.status == status

        await eventually(lambda: says(health_pb2.HealthCheckResponse.SERVING))
        monkeypatch.setattr(type(served.store), "fault", ReadOnlyError("no writes"))
        await eventually(lambda: says(health_pb2.HealthCheckResponse.NOT_SERVING))
        monkeypatch.setattr(type(served.store), "fault", DiskFullError("full"))
        await eventually(lambda: says(health_pb2.HealthCheckResponse.SERVING))


async def test_reflection_tells_the_api(served, connecting):
    def reflect():
        with grpc.insecure_channel(f"127.0.0.1:{served.server.port}") as plain:
            database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(plain, _WithToken()))
            services = set(database.get_services())
            return services, DescriptorPool(database).FindServiceByName(SERVICE).methods_by_name.keys()

    services, methods = await asyncio.to_thread(reflect)
    assert services == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert {"Put", "Get", "Watch"} <= set(methods)


class _WithToken(grpc.StreamStreamClientInterceptor):
    def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
        metadata = (("authorization", "Bearer client-0123456789abcdef"),)
        return continuation(client_call_details._replace(metadata=metadata), request_iterator)


async def test_calls_and_their_times_are_counted(served):
    await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
    assert (served.handled("Put", "OK"), served.handled("Get", "OK")) == (1, 0)
    name = "swarm_memory_operation_duration_seconds_count"
    assert served.metrics.registry.get_sample_value(name, {"operation": "put"}) == 1


async def test_a_defect_is_logged_and_told_without_its_details(served, monkeypatch):
    async def broken(*_, **__):
        raise LookupError("secret")

    monkeypatch.setattr(type(served.store), "get", broken)
    status, problem = await served.problem(served.memory.Get(pb.GetRequest(namespace="n", key="k")))
    assert (status, problem.code) == (grpc.StatusCode.INTERNAL, "internal")
    assert "secret" not in problem.message


async def _answer(call):
    return await call


async def test_calls_under_way_are_answered_and_new_ones_are_not(served, monkeypatch):
    reached, gate = asyncio.Event(), asyncio.Event()
    original = type(served.store).get

    async def slow(*arguments):
        reached.set()
        await gate.wait()
        return await original(*arguments)

    await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
    monkeypatch.setattr(type(served.store), "get", slow)
    call = served.memory.Get(pb.GetRequest(namespace="n", key="k"))
    answering = asyncio.ensure_future(_answer(call))
    await reached.wait()
    served.server.stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=b"2"), timeout=5)
    refusals = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert caught.value.code() in refusals
    gate.set()
    assert (await answering).value == b"1"


async def test_a_process_serves_it_and_sigterm_ends_its_watches(fork_process, connecting):
    process = await fork_process()
    port = process.log[-1]["grpc_port"]
    async with connecting(port, process.token) as channel:
        stub = MemoryStub(channel)
        await stub.Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
        watch = stub.Watch(pb.WatchRequest(since=0))
        assert (await watch.read()).HasField("ready")
        async with asyncio.timeout(15):  # less than the grace that requests get
            assert await process.stop(signal.SIGTERM) == 0


async def test_a_port_that_is_taken_ends_it_with_a_clear_message(start_process, tmp_path):
    port = (await start_process()).log[-1]["grpc_port"]
    second = await start_process("--grpc-port", str(port), data_dir=tmp_path / "second")
    assert await second.stop(signal.SIGTERM) == 1
    assert f"cannot listen on 127.0.0.1 port {port} for gRPC" in second.log[-1]["reason"]


async def test_it_can_be_switched_off_and_is_then_not_loaded(fork_process):
    process = await fork_process("--grpc-port", "off")
    assert process.log[-1]["grpc_port"] is None
