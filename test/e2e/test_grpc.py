"""The memory of a running pod over gRPC, by clients that know it from reflection alone: grpcio's and grpcurl."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import grpc
import pytest
from e2e.access import STORE, port_forward, token
from e2e.cluster import eventually
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.page_runs import to_run
from support.shell import check

pytestmark = pytest.mark.timeout(900)
SERVICE = "swarm.memory.v1.Memory"


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """Where the program is."""
    build = Path(__file__).parent / "grpcurl/build.sh"
    return Path(subprocess.run([build], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


class WithToken(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Sends the token along."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        return continuation(client_call_details._replace(metadata=self._metadata), request)

    intercept_unary_stream = intercept_stream_stream = intercept_unary_unary


def test_an_agent_reaches_the_memory_of_a_pod(example):

    def told() -> bool:
        endpoints = example.get(f"swarmmemorystore/{STORE}")["status"]["endpoints"]
        return endpoints["grpc"] == f"{STORE}.{example.name}.svc:9090"

    eventually(told)
    with port_forward(example, STORE, 9090) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
        health = health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        channel = grpc.intercept_channel(plain, WithToken(token(example)))
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        methods = pool.FindServiceByName(SERVICE).methods_by_name

        def call(name: str, **fields: object):
            method = methods[name]
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            serve = make(
                f"/{SERVICE}/{name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            return serve(GetMessageClass(method.input_type)(**fields), timeout=60)

        watch = call("Watch", namespace="plans", since=0)
        assert next(watch).HasField("ready")
        assert call("Put", namespace="plans", key="p1", value=b'{"step": 1}', tags=["plan"]).created
        change = next(watch).change
        assert (change.namespace, change.key, change.version) == ("plans", "p1", 1)
        assert json.loads(call("Get", namespace="plans", key="p1").value) == {"step": 1}
        assert [hit.entry.key for hit in call("Search", namespace="plans", tags=["plan"]).hits] == ["p1"]
        with pytest.raises(grpc.RpcError) as caught:
            call("Get", namespace="plans", key="p2")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch.cancel()


async def test_grpcurl_does_with_a_pod_what_the_page_says(example, grpcurl, tmp_path):
    eventually(lambda: example.get(f"swarmmemorystore/{STORE}")["status"]["endpoints"]["grpc"])
    (tmp_path / "grpcurl").symlink_to(grpcurl)
    with port_forward(example, STORE, 9090, local=9090):
        path = f"{tmp_path}:{os.environ['PATH']}"
        await check(to_run("docs/grpc.md", __file__), tmp_path, TOKEN=token(example), PATH=path)
