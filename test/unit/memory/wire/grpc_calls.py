"""gRPC by raw calls: nothing of the service's code is imported, its messages are known from a recorded descriptor.

`recorded/memory.protoset` is what the reflection of the recorded service gave: a client that was made from it must go
on to work.
"""

from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, timestamp_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

PROTOSET = Path(__file__).parent / "recorded" / "memory.protoset"
SERVICE = "swarm.memory.v1.Memory"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def learn(port):
    """The descriptor that the reflection of a running service gives, as bytes of a FileDescriptorSet."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(
            REFLECTION,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
        (answer,) = call(iter([request]), metadata=[("authorization", "Bearer client-0123456789abcdef")])
    files = descriptor_pb2.FileDescriptorSet()
    for each in answer.file_descriptor_response.file_descriptor_proto:
        files.file.add().ParseFromString(each)
    return files.SerializeToString(deterministic=True)


class Messages:
    """The classes of messages by method."""

    def __init__(self):
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
        for each in descriptor_pb2.FileDescriptorSet.FromString(PROTOSET.read_bytes()).file:
            if each.name != "google/protobuf/timestamp.proto":
                pool.AddSerializedFile(each.SerializeToString())
        self._services = {SERVICE: pool.FindServiceByName(SERVICE)}
        for module in (health_pb2, reflection_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                self._services[service.full_name] = service
        self.problem = message_factory.GetMessageClass(pool.FindMessageTypeByName("swarm.memory.v1.Problem"))

    def of(self, method):
        """The classes of the request and of the answer, whether each is a stream. Unknown methods have those of Get."""
        service, _, name = method[1:].partition("/")
        found = self._services.get(service, self._services[SERVICE])
        described = found.methods_by_name.get(name) or self._services[SERVICE].methods_by_name["Get"]
        classes = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
        streams = name == "ServerReflectionInfo", name in {"ServerReflectionInfo", "Watch"}
        return *classes, *streams


def text_of(message):
    """A message as text, maps in order."""
    return text_format.MessageToString(message, as_utf8=True).splitlines()


def mask(message, masks):
    """Replace what is not the same from run to run, in place."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        if masks.times and message.seconds > 1_577_836_800:
            assert message.nanos % 1_000_000 == 0  # the service's times have milliseconds
            message.seconds, message.nanos = 1_577_836_800, 0
        return
    for described, value in message.ListFields():
        if described.message_type is not None and described.message_type.GetOptions().map_entry:
            for key in value:
                value[key] = masks.text(value[key])[0]
        elif described.message_type is not None:
            for each in value if described.is_repeated else [value]:
                mask(each, masks)
        elif described.name == "next_page_token":
            masked = masks.text(f'"cursor":"{value}"')[0]
            setattr(message, described.name, masked[10:-1])
        elif described.type in {described.TYPE_STRING, described.TYPE_BYTES} and not described.is_repeated:
            setattr(message, described.name, _masked(value, masks))


def _masked(value, masks):
    if isinstance(value, str):
        return masks.text(value)[0]
    try:
        return masks.text(value.decode())[0].encode()
    except UnicodeDecodeError:
        return value
