"""gRPC's port with TLS: renewed certificates, and half handshakes."""

import asyncio
import contextlib
from datetime import UTC, datetime

import grpc
from support.authority import Authority

from swarm_operator.memory.service.certificate import Certificate
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc import server as module
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

PATIENCE = 60


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def trusting(port, *authorities):
    """A channel of a client that trusts these authorities and has the token."""
    roots = grpc.ssl_channel_credentials(b"".join(authority.certificate for authority in authorities))
    token = grpc.access_token_call_credentials("client-0123456789abcdef")
    # A subchannel of its own: another channel's connection would not shake hands anew.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.composite_channel_credentials(roots, token), options)


def authority(name):
    return Authority(name, datetime.now(UTC))


async def test_a_renewed_certificate_is_served_and_open_connections_stay(start_grpc, tmp_path):
    first, second = authority("first"), authority("second")
    time = Time()
    certificate = Certificate(first.pair(tmp_path / "tls"), monotonic=time)
    async with start_grpc(certificate=certificate) as served, trusting(served.server.port, first) as former:
        await MemoryStub(former).Put(pb.PutRequest(namespace="n", key="k", value=b"1"))
        watch = MemoryStub(former).Watch(pb.WatchRequest())
        await watch.read()
        second.pair(tmp_path / "tls")
        time.now = 1.0
        async with trusting(served.server.port, second) as renewed:
            await MemoryStub(renewed).Put(pb.PutRequest(namespace="n", key="k", value=b"2"))
        assert (await watch.read()).change.version == 2
        assert (await MemoryStub(former).Get(pb.GetRequest(namespace="n", key="k"))).value == b"2"
        (tmp_path / "tls" / "tls.crt").write_text("no certificate")
        time.now = 2.0
        async with trusting(served.server.port, second) as still:
            assert (await MemoryStub(still).Get(pb.GetRequest(namespace="n", key="k"))).value == b"2"
        watch.cancel()


async def test_half_handshakes_have_a_deadline_and_count_as_connections(start_grpc, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_HANDSHAKE_MS", 1000)
    first = authority("first")
    certificate = Certificate(first.pair(tmp_path / "tls"))
    async with start_grpc(certificate=certificate, max_grpc_connections=4) as served:
        async with asyncio.timeout(PATIENCE):
            opened = [await asyncio.open_connection("127.0.0.1", served.server.port) for _ in range(8)]
            for _, writer in opened:
                writer.write(b"\x16\x03\x01\x02\x00")
            for reader, writer in opened:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
        async with trusting(served.server.port, first) as channel:
            await MemoryStub(channel).Put(pb.PutRequest(namespace="n", key="k", value=b"1"), wait_for_ready=True)
