"""A message cannot take many times its bytes in memory, and all that the limits allow is taken."""

import grpc
import pytest
from unit.memory.service.grpc.conftest import TOKEN

from swarm_operator.memory.core.entry import MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_TAGS
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc import weight

MIB = 1024 * 1024
BOMBS = {
    "operations": (pb.BatchRequest, b"\x0a\x00"),
    "puts": (pb.BatchRequest, b"\x0a\x02\x0a\x00"),
    "operations of a longer tag": (pb.BatchRequest, b"\x8a\x00\x00"),
    "identities": (pb.GetManyRequest, b"\x0a\x00"),
    "tags": (pb.PutRequest, b"\x22\x00"),
    "tags of one put": (pb.BatchRequest, None),
    "tags of puts": (pb.BatchRequest, b"\x0a\xc4\x01\x0a\xc1\x01" + b"\x22\x00" * 96 + b"\x22"),
    "tags of a search": (pb.SearchRequest, b"\x2a\x00"),
    "fields that are unknown": (pb.GetRequest, b"\x78\x00"),
    "groups": (pb.GetRequest, b"\x7b\x7c"),
}


def bomb(name):
    kind, piece = BOMBS[name]
    if piece is None:
        put = pb.PutRequest(tags=[""] * (MIB * 3 // 2))
        return kind, pb.BatchRequest(operations=[pb.BatchRequest.Operation(put=put)]).SerializeToString()
    return kind, piece * (3 * MIB // len(piece))


@pytest.mark.parametrize("name", BOMBS)
def test_very_many_fields_are_refused_before_they_are_parsed(name):
    kind, raw = bomb(name)
    with pytest.raises(InvalidInputError):
        weight.check_weight(raw, kind.DESCRIPTOR)


def test_what_the_limits_of_entries_allow_is_taken():
    tags, key = ["t" * 100] * MAX_TAGS, "k" * MAX_KEY_BYTES
    for value, own in ((b"1" * 15_000, []), (b"1", tags), (b"1" * 2000, tags)):
        puts = [pb.PutRequest(namespace="n" * 200, key=key, value=value, tags=own, ttl=1)] * MAX_BATCH_SIZE
        batch = pb.BatchRequest(operations=[pb.BatchRequest.Operation(put=put) for put in puts])
        weight.check_weight(batch.SerializeToString(), batch.DESCRIPTOR)
    many = pb.GetManyRequest(identities=[pb.Identity(namespace="n" * 200, key=key)] * MAX_BATCH_SIZE)
    weight.check_weight(many.SerializeToString(), many.DESCRIPTOR)
    put = pb.PutRequest(namespace="n", key="k", value=b"\n" * 15 * MIB, tags=tags, metadata=b" " * 64_000)
    weight.check_weight(put.SerializeToString(), put.DESCRIPTOR)


@pytest.mark.parametrize("end", [b"\x0a", b"\x0a\xff\xff\xff\xff", b"\x80", b"\x08\x80", b"\x80" * 20, b"\x0f"])
def test_what_is_cut_off_is_no_message(end):
    raw = pb.PutRequest(value=b"x" * 70_000).SerializeToString() + end
    with pytest.raises(InvalidInputError):
        weight.check_weight(raw, pb.PutRequest.DESCRIPTOR)


async def test_a_message_of_many_fields_is_the_callers_error(served, connecting):
    _, raw = bomb("operations")
    async with connecting(served.server.port, TOKEN) as channel:
        call = channel.unary_unary("/swarm.memory.v1.Memory/Batch", request_serializer=bytes)
        status, problem = await served.problem(call(raw))
    assert (status, problem.code) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid-input")
    assert "fewer fields" in problem.message
