"""Whatever comes as a message of gRPC, made from the service's own descriptors or no message at all."""

import asyncio
import contextlib

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import strategies as st
from unit.memory.fuzz.inputs import damaged, encoded, names, values
from unit.memory.fuzz.target import TOKENS, exchange

from swarm_operator.memory.service.grpc import memory_pb2 as pb

pytestmark = pytest.mark.timeout(1800)  # to find the smallest example of a failure takes minutes

DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SERVICE = pb.DESCRIPTOR.services_by_name["Memory"]
REFLECTION = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
OTHERS = [
    REFLECTION, REFLECTION, REFLECTION, "grpc.health.v1.Health/Check", "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/x", f"{SERVICE.full_name}/x", "grpc.reflection.v1alpha.ServerReflection/x", "x/y", "",
]  # fmt: skip
"""Methods beside the memory's own."""
SCALARS = {
    FieldDescriptor.CPPTYPE_STRING: st.sampled_from([""]) | names,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-3, 10),
}
payloads = encoded(values())


def field_of(descriptor, depth):
    if descriptor.message_type:
        one = messages(descriptor.message_type, depth - 1)
    elif descriptor.type == FieldDescriptor.TYPE_BYTES:
        one = payloads
    else:
        one = SCALARS[descriptor.cpp_type]
    return st.lists(one, max_size=4) if descriptor.is_repeated else one


def messages(descriptor, depth=3):
    """Messages of a kind, with some of their fields."""
    fields = [field for field in descriptor.fields if depth or not field.message_type]
    kind = message_factory.GetMessageClass(descriptor)

    def build(chosen):
        message = kind()
        for name, value in chosen.items():
            try:
                if isinstance(value, list):
                    getattr(message, name).extend(value)
                elif hasattr(value, "DESCRIPTOR"):
                    getattr(message, name).CopyFrom(value)
                else:
                    setattr(message, name, value)
            except (UnicodeEncodeError, ValueError):  # a lone surrogate is no text of a message
                continue
        return message

    return st.fixed_dictionaries({}, optional={field.name: field_of(field, depth) for field in fields}).map(build)


@st.composite
def calls(draw):
    """A method, its message in bytes, and a token."""
    method = draw(st.sampled_from(list(SERVICE.methods)))
    path, kind = f"{SERVICE.full_name}/{method.name}", method.input_type
    if draw(st.integers(0, 3)) == 0:
        path, kind = draw(st.sampled_from(OTHERS)), reflection_pb2.ServerReflectionRequest.DESCRIPTOR
    message = messages(kind).map(lambda each: each.SerializeToString())
    return (
        f"/{path}",
        draw(message | message | damaged(message) | st.binary(max_size=30)),
        draw(st.sampled_from(TOKENS)),
    )


@pytest.fixture
def channel(target, runner):
    async def connect():
        return grpc.aio.insecure_channel(f"127.0.0.1:{target.grpc}", options=[("grpc.max_receive_message_length", -1)])

    made = runner.run(connect())
    yield made
    runner.run(made.close())


def test_whatever_the_message_is(fuzz, channel):
    async def call(path, message, token):
        """Return the status. A watch has no end: it is left after a second."""
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        stream = channel.unary_stream(path)(message, metadata=metadata, timeout=1 if path.endswith("/Watch") else 15)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in stream:
                pass
        return await stream.code()

    async def send(sent):
        codes = await asyncio.gather(*(call(*each) for each in sent))
        for (path, message, token), code in zip(sent, codes, strict=True):
            late = code is grpc.StatusCode.DEADLINE_EXCEEDED and not path.endswith("/Watch")
            assert not late, (path, message, token)
            assert code not in DEFECTS, (path, message, token, code)

    fuzz(st.lists(calls(), min_size=1, max_size=8), send)


def test_whatever_the_frames_are(fuzz, target):
    """HTTP/2's own frames: a length, a type, flags, a stream and something."""

    def frame(kind, flags, stream, content, lie):
        return (len(content) + lie).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content

    contents = st.binary(max_size=60) | st.sampled_from(
        [b"\0" * 8, b"\0" * 16_384, b"\x82\x86\x84" + b"\x40\x01a\x01b" * 3000]
    )
    frames = st.builds(
        frame, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 2**31 - 1, 2**32 - 1]), contents,
        st.sampled_from([0] * 6 + [1, 1000]),
    )  # fmt: skip
    settings = frame(4, 0, 0, b"", 0)
    streams = st.builds(
        lambda begin, sent: begin + b"".join(sent),
        st.sampled_from([PREFACE + settings] * 5 + [PREFACE, PREFACE[:10], b"", b"GET / HTTP/1.1\r\n\r\n"]),
        st.lists(frames, max_size=30),
    )

    async def send(sent):
        await asyncio.gather(*(exchange(target.grpc, each, begins=0.5) for each in sent))

    fuzz(st.lists(streams, min_size=1, max_size=8), send)
