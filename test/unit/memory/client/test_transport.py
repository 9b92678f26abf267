"""Retries, authentication and errors of the transport, mostly against servers that misbehave."""

import asyncio
import contextlib

import pytest
from unit.memory.client.scripted import BROKEN, BUSY, HANG_UP, OK, SILENCE, scripted

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryServerError,
    MemoryUnavailableError,
)

TOKEN = "client-0123456789abcdef"


async def test_a_token_file_is_read_again_after_a_401(service, tmp_path):
    file = tmp_path / "mine"
    file.write_text("former")
    async with MemoryClient(f"http://127.0.0.1:{service.port}/", token_file=file) as client:
        with pytest.raises(MemoryAuthError):
            await client.stats()
        file.write_text(TOKEN + "\n")
        assert (await client.stats()).entries == 0
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=tmp_path / "missing") as client:
        with pytest.raises(MemoryClientError, match="missing"):
            await client.stats()


async def test_a_connection_that_can_not_be_made_is_tried_again_and_then_told():
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async with MemoryClient("http://127.0.0.1:1", token="t", retries=3, backoff=0.1, sleep=pause) as client:
        with pytest.raises(MemoryUnavailableError) as caught:
            await client.put("n", "k", 1, create_only=True)
        assert not caught.value.uncertain
        readiness = await client.ready()
    assert (readiness.ready, "127.0.0.1:1" in readiness.reason) == (False, True)
    assert len(pauses) == 3
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, (0.1, 0.2, 0.4), strict=True))


async def test_a_refusal_for_now_is_tried_again_after_the_time_it_names():
    async with scripted(BUSY, BUSY, OK) as client:
        assert (await client.put("n", "k", 1, create_only=True)).version == 1
        assert client.pauses == [1.0, 1.0]
    async with scripted(*[BUSY] * 4) as client:
        with pytest.raises(MemoryBusyError) as caught:
            await client.get("n", "k")
        assert caught.value.transient
        assert len(client.requests) == 4


@pytest.mark.parametrize(
    "lost", [HANG_UP, SILENCE, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"rubbish\r\n\r\n"]
)
async def test_a_lost_answer_is_asked_for_again_where_that_is_harmless(lost):
    async with scripted(lost, OK, lost, OK, lost, OK) as client:
        assert (await client.get("n", "k")).value == 1
        assert (await client.put("n", "k", 1)).version == 1
        assert await client.delete("n", "k")
        assert [request.split()[0] for request in client.requests] == ["GET", "GET", "PUT", "PUT", "DELETE", "DELETE"]


@pytest.mark.parametrize("lost", [HANG_UP, SILENCE])
async def test_a_conditional_write_whose_answer_is_lost_is_never_repeated(lost):
    # The first request opens the connection: on a kept-alive one aiohttp itself would repeat a PUT.
    async with scripted(OK, lost, OK) as client:
        await client.get("n", "k")
        with pytest.raises(MemoryUnavailableError) as caught:
            await client.put("n", "k", 1, if_version=1)
        assert caught.value.uncertain
        assert len(client.requests) == 2


async def test_a_server_error_is_told_at_once():
    async with scripted(BROKEN) as client:
        with pytest.raises(MemoryServerError, match="507: disk"):
            await client.put("n", "k", 1)
        assert client.pauses == []


async def test_connections_are_kept_and_used_again():
    connections = 0

    async def handle(reader, writer):
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with MemoryClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token="t") as client:
        for _ in range(5):
            await client.get("n", "k")
    server.close()
    await server.wait_closed()
    assert connections == 1
