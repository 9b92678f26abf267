"""Retries, authentication and errors of the transport, mostly against servers that misbehave."""

import asyncio
import contextlib

import pytest
from unit.memory.client.scripted import BROKEN, BUSY, HANG_UP, MOVED, OK, SILENCE, UNAUTHORIZED, WATCH, scripted

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryRequestError,
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


@pytest.mark.parametrize("call", ["get", "watch"])
async def test_requests_and_streams_read_the_token_file_again_once(tmp_path, call):
    (tmp_path / "token").write_text("t")
    options = {"token": None, "token_file": tmp_path / "token"}

    async def first(client):
        return await (client.get("n", "k") if call == "get" else anext(client.watch()))

    async with scripted(UNAUTHORIZED, OK if call == "get" else WATCH, **options) as client:
        assert (await first(client)).version == 1
        assert (len(client.requests), client.pauses) == (2, [])
    async with scripted(UNAUTHORIZED, UNAUTHORIZED, **options) as client:
        with pytest.raises(MemoryAuthError):
            await first(client)
        assert (len(client.requests), client.pauses) == (2, [])
    async with scripted(UNAUTHORIZED) as client:
        with pytest.raises(MemoryAuthError):
            await first(client)


async def test_a_redirect_is_an_error():
    async with scripted(MOVED, MOVED, MOVED) as client:
        with pytest.raises(MemoryRequestError, match="302"):
            await client.get("n", "k")
        with pytest.raises(MemoryRequestError, match="302"):
            await anext(client.watch())
        assert (await client.ready()).reason == "HTTP 302"


async def test_a_lost_watch_leaves_nothing_uncertain():
    async with scripted(HANG_UP, retries=0) as client:
        with pytest.raises(MemoryUnavailableError) as caught:
            await anext(client.watch())
        assert not caught.value.uncertain


async def test_a_timeout_says_how_long_the_client_waited():
    async with scripted(SILENCE, retries=0) as client:
        with pytest.raises(MemoryUnavailableError, match=r"no answer within 0\.2 s") as caught:
            await client.get("n", "k")
        assert caught.value.uncertain
