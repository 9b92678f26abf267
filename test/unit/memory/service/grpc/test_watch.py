"""Watches over gRPC."""

import asyncio

import grpc

from swarm_operator.memory.service.access.rights import CLIENT
from swarm_operator.memory.service.grpc import memory_pb2 as pb


def put(key, value=b"1", namespace="n"):
    return pb.PutRequest(namespace=namespace, key=key, value=value)


async def changes(watch, number):
    """So many changes, as (kind, key, version)."""
    found = []
    while len(found) < number:
        event = await watch.read()
        assert event.WhichOneof("event") == "change"
        found.append((pb.WatchResponse.Op.Name(event.change.op), event.change.key, event.change.version))
    return found


async def test_it_tells_where_it_begins_and_then_what_changes(served):
    await served.memory.Put(put("before"))
    watch = served.memory.Watch(pb.WatchRequest(namespace="n", prefix="k"))
    ready = (await watch.read()).ready
    assert ready.position == 1
    await served.memory.Put(put("k"))
    await served.memory.Put(put("other"))
    await served.memory.Put(put("k", namespace="elsewhere"))
    await served.memory.Delete(pb.DeleteRequest(namespace="n", key="k"))
    assert await changes(watch, 2) == [("PUT", "k", 1), ("DELETE", "k", 1)]
    watch.cancel()
    again = served.memory.Watch(pb.WatchRequest(since=ready.position))
    assert (await again.read()).ready.position == 1
    assert [key for _, key, _ in await changes(again, 4)] == ["k", "other", "k", "k"]
    again.cancel()


async def test_a_quiet_one_shows_that_it_lives(start_grpc):
    async with start_grpc(watch_heartbeat=0.01) as served:
        watch = served.memory.Watch(pb.WatchRequest())
        kinds = [(await watch.read()).WhichOneof("event") for _ in range(3)]
        assert kinds == ["ready", "heartbeat", "heartbeat"]
        watch.cancel()


async def test_a_position_of_the_future_is_refused(served):
    watch = served.memory.Watch(pb.WatchRequest(since=99))
    status, problem = await served.problem(watch.read())
    assert (status, problem.code) == (grpc.StatusCode.OUT_OF_RANGE, "gone")


async def test_they_are_bounded_together_with_http_s(start_grpc):
    async with start_grpc(max_watches=4) as served:
        first = served.memory.Watch(pb.WatchRequest())
        await first.read()
        with served.quotas.watches.holding(CLIENT):
            status, problem = await served.problem(served.memory.Watch(pb.WatchRequest()).read())
            assert (status, problem.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
        second = served.memory.Watch(pb.WatchRequest())
        assert (await second.read()).HasField("ready")
        first.cancel()
        second.cancel()


async def test_a_slot_is_free_again_when_the_caller_has_gone(start_grpc, eventually):
    async with start_grpc() as served:
        watch = served.memory.Watch(pb.WatchRequest())
        await watch.read()
        assert (served.quotas.watches.held, served.quotas.calls.held) == (1, 1)
        watch.cancel()

        async def free():
            return served.quotas.watches.held == served.quotas.calls.held == 0

        await eventually(free)


async def test_it_ends_when_the_service_stops(start_grpc):
    async with start_grpc(grace=600) as served:
        watch = served.memory.Watch(pb.WatchRequest())
        await watch.read()
        served.server.stop()
        async with asyncio.timeout(60):
            status, problem = await served.problem(watch.read())
    assert (status, problem.code) == (grpc.StatusCode.UNAVAILABLE, "closed")
