"""A process whose certificate and CA are replaced again and again under load: no request and no connection fails."""

import asyncio
import itertools
import signal
import ssl
from datetime import UTC, datetime

import grpc
import pytest
from support.authority import Authority

from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

PATIENCE = 60
ROUNDS = 6


def exchange(authority, files):
    """Replace both files at once, as a kubelet does with a Secret's volume: by exchanging a symbolic link."""
    number = len(list(files.parent.glob("version-*")))
    made = authority.pair(files.parent / f"version-{number}")
    link = files.parent / "next"
    link.symlink_to(made)
    link.replace(files)


async def served(port, *authorities):
    """The certificate that a new connection to a port gets."""
    trusted = b"".join(each.certificate for each in authorities).decode()
    context = ssl.create_default_context(cadata=trusted)
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.transport.abort()
    return found


@pytest.fixture
def authorities():
    return [Authority(name, datetime.now(UTC)) for name in ("first", "second")]


async def test_no_request_fails_while_certificates_and_the_ca_are_replaced(fork_process, tmp_path, authorities):
    first, second = authorities
    files, ca = tmp_path / "tls", tmp_path / "ca.crt"
    exchange(first, files)
    ca.write_bytes(first.certificate)
    process = await fork_process("--tls-dir", str(files))
    assert process.url.startswith("https://")
    assert process.metrics_url.startswith("https://")
    (serving,) = [event for event in process.log if event["event"] == "serving"]
    ports = [int(process.url.rpartition(":")[2]), int(process.metrics_url.rpartition(":")[2]), serving["grpc_port"]]
    done, counts = asyncio.Event(), [0, 0, 0]
    token = process.token

    async def kept_alive():
        async with MemoryClient(process.url, token=token, ca_file=ca, retries=0, timeout=PATIENCE) as memory:
            for number in itertools.count():
                await memory.put("n", "kept", number)
                assert (await memory.get("n", "kept")).value == number
                counts[0] += 1
                if done.is_set():
                    return

    async def anew():
        """A handshake for each request, with the CA file as it is then."""
        while not done.is_set():
            async with MemoryClient(process.url, token=token, ca_file=ca, retries=0, timeout=PATIENCE) as memory:
                await memory.put("n", "anew", 1)
            counts[1] += 1

    async def watching(changed):
        async with MemoryClient(process.url, token=token, ca_file=ca, retries=0) as memory:
            async for change in memory.watch(namespace="watched"):
                changed.append(change.key)
                if change.key == "last":
                    return

    async def over_grpc():
        roots = grpc.ssl_channel_credentials(first.certificate + second.certificate)
        credentials = grpc.composite_channel_credentials(roots, grpc.access_token_call_credentials(token))
        async with grpc.aio.secure_channel(f"127.0.0.1:{ports[2]}", credentials) as channel:
            while not done.is_set():
                await MemoryStub(channel).Put(pb.PutRequest(namespace="n", key="grpc", value=b"1"), timeout=PATIENCE)
                counts[2] += 1

    changed = []
    async with asyncio.timeout(4 * PATIENCE), asyncio.TaskGroup() as group:
        for work in (kept_alive(), anew(), anew(), over_grpc()):
            group.create_task(work)
        watch = group.create_task(watching(changed))
        async with MemoryClient(process.url, token=token, ca_file=ca) as memory:
            for number in range(ROUNDS):
                if number == 2:  # clients learn of a CA before it signs
                    ca.write_bytes(first.certificate + second.certificate)
                before = [await served(port, first, second) for port in ports]
                exchange(first if number < 2 else second, files)
                for port, former in zip(ports, before, strict=True):
                    while await served(port, first, second) == former:  # noqa: ASYNC110 - nothing else tells it
                        await asyncio.sleep(0.05)
                while not changed or changed[-1] != f"k{number}":  # the watch may have begun after the first
                    await memory.put("watched", f"k{number}", 1)
                    await asyncio.sleep(0.01)
            await memory.put("watched", "last", 1)
        await watch
        done.set()
    assert all(counts), counts
    assert await process.stop(signal.SIGTERM) == 0
    assert [event["level"] for event in process.log if event["level"] in {"warning", "error"}] == []
    assert sum(event["event"] == "certificate read" for event in process.log) == ROUNDS


async def test_a_certificate_that_breaks_is_told_and_the_former_is_served(fork_process, tmp_path, authorities):
    authority, _ = authorities
    process = await fork_process("--tls-dir", str(authority.pair(tmp_path / "tls")))
    port = int(process.metrics_url.rpartition(":")[2])
    former = await served(port, authority)

    async def valid():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client())
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (line,) = [
            each for each in (await reader.read()).decode().splitlines()
            if each.startswith("swarm_memory_certificate_last_reload_successful ")
        ]  # fmt: skip
        writer.close()
        await writer.wait_closed()
        return line.split()[1]

    async def until(value):
        async with asyncio.timeout(PATIENCE):
            while await valid() != value:  # noqa: ASYNC110 - as a scraper looks
                await asyncio.sleep(0.05)

    assert await valid() == "1.0"
    (tmp_path / "tls" / "tls.crt").write_text("no certificate")
    await until("0.0")
    assert await served(port, authority) == former
    authority.pair(tmp_path / "tls")
    await until("1.0")
    assert await served(port, authority) != former
    assert await process.stop(signal.SIGTERM) == 0
    (told,) = [event for event in process.log if event["level"] == "error"]
    assert "tls.crt" in told["reason"]


async def test_without_a_valid_pair_the_process_ends_with_the_reason(fork_process, tmp_path):
    process = await fork_process("--tls-dir", str(tmp_path))
    assert process.process.returncode == 1
    assert process.log[-1]["kind"] == "BadCertificateError"
    assert "must have tls.crt and tls.key" in process.log[-1]["reason"]
