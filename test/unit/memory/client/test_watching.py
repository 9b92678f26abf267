"""Watches of the client that outlive the service, mostly against prepared responses."""

import asyncio
import logging
import signal
import socket
from datetime import UTC, datetime

import pytest
from unit.memory.client.scripted import (
    BAD_GATEWAY,
    BUSY,
    CHANGE,
    HANG_UP,
    PAGE,
    WATCH,
    answer,
    events,
    problem,
    scripted,
)

from swarm_operator.memory.client import (
    Change,
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryGoneError,
    MemoryProtocolError,
    MemoryUnavailableError,
)

NEXT = events({**CHANGE, "seq": 8})


async def test_a_watch_goes_on_after_a_restart_of_over_a_minute():
    async with scripted(WATCH, *[HANG_UP, BAD_GATEWAY, BUSY, problem(503, "closed")] * 8, NEXT) as client:
        changes = client.watch(since=3)
        assert [(await anext(changes)).seq, (await anext(changes)).seq] == [7, 8]
        assert sum(client.pauses) > 60
        assert max(client.pauses) <= 5
        assert client.requests[0] == "GET /v1/watch?since=3 HTTP/1.1"
        # It goes on where it was.
        assert set(client.requests[1:]) == {"GET /v1/watch?since=7 HTTP/1.1"}
        await changes.aclose()


async def test_a_watch_does_not_give_up():
    async with scripted(*[HANG_UP] * 1_100, WATCH) as client:
        changes = client.watch()
        assert (await anext(changes)).seq == 7
        assert len(client.pauses) == 1_100
        await changes.aclose()


async def test_a_watch_resumes_from_where_it_began_when_nothing_has_changed():
    async with scripted(HANG_UP, events({"seq": 5}, name="ready"), WATCH) as client:
        positions = []
        changes = client.watch(on_ready=positions.append)
        await anext(changes)
        assert positions == [5]
        assert [request.split()[1] for request in client.requests] == ["/v1/watch", "/v1/watch", "/v1/watch?since=5"]
        await changes.aclose()


async def test_a_bound_ends_a_watch_whose_service_is_gone():
    async with scripted(WATCH, *[HANG_UP] * 50) as client:
        changes = client.watch(retry_for=20)
        await anext(changes)
        with pytest.raises(MemoryUnavailableError):
            await anext(changes)
        assert 15 < sum(client.pauses) <= 20
    async with scripted(HANG_UP, HANG_UP, HANG_UP, retries=2) as client:
        with pytest.raises(MemoryUnavailableError):
            await anext(client.watch())
        assert len(client.requests) == 3
    async with scripted(BUSY) as client:
        with pytest.raises(MemoryBusyError):
            await anext(client.watch(retry_for=0))


async def test_a_watch_that_worked_has_its_whole_bound_again():
    # Each connection brings a change before it ends.
    async with scripted(*[HANG_UP, WATCH] * 5, *[HANG_UP] * 5, retries=2) as client:
        changes = client.watch()
        for _ in range(5):
            await anext(changes)
        with pytest.raises(MemoryUnavailableError):
            await anext(changes)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(401, "no"), MemoryAuthError), (problem(410, "gone"), MemoryGoneError), (PAGE, MemoryProtocolError),
        (answer(200, {}), MemoryProtocolError), (events({"since": 1, "oldest": 5}, name="missed"), MemoryGoneError),
        (events({"seq": 7}), MemoryProtocolError), (events([1]), MemoryProtocolError),
        (answer(200, b"event: change\ndata: {\n\n", "text/event-stream"), MemoryProtocolError),
        (answer(200, b"event: change\ndata: \xff\n\n", "text/event-stream"), MemoryProtocolError),
    ],
)  # fmt: skip
async def test_a_watch_ends_at_what_does_not_pass(refusal, kind):
    async with scripted(HANG_UP, refusal, WATCH) as client:
        with pytest.raises(kind):
            await anext(client.watch())
        assert len(client.requests) == 2


async def test_what_a_newer_service_adds_is_ignored():
    newer = {**CHANGE, "by": "agent:1", "tags": ["t"]}
    body = b"".join([
        b'event: ready\ndata: {"seq": 6, "epoch": 1}\n\n', b"event: epoch\ndata: [2]\n\n", b": heartbeat\n\n",
        events(newer).partition(b"\r\n\r\n")[2],
    ])  # fmt: skip
    async with scripted(answer(200, body, "text/event-stream")) as client:
        changes = client.watch()
        change = await anext(changes)
        at = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
        assert change == Change(7, "put", "n", "k", 1, at, raw={}), "an older service does not tell who"
        assert change.raw == newer
        await changes.aclose()


async def test_a_broken_watch_is_logged_once_in_a_row(caplog):
    async with scripted(WATCH, HANG_UP, HANG_UP, NEXT) as client:
        changes = client.watch()
        with caplog.at_level(logging.WARNING):
            await anext(changes)
            await anext(changes)
        assert [record.message.partition(": ")[2].partition(": ")[2] for record in caplog.records] == [
            "the service ended the watch; connecting again"
        ]
        await changes.aclose()


async def test_a_watch_outlives_the_service_itself(fork_process):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = await fork_process("--http-port", port)
    tried = asyncio.Queue()

    async def pause(seconds):
        tried.put_nowait(seconds)
        await asyncio.sleep(0.01)

    async with (
        MemoryClient(process.url, token=process.token, sleep=pause) as watcher,
        MemoryClient(process.url, token=process.token) as memory,
    ):
        await memory.put("n", "a", 1)
        changes = watcher.watch(since=0)
        assert (await anext(changes)).key == "a"
        following = asyncio.ensure_future(anext(changes))
        await process.stop(signal.SIGKILL)
        for _ in range(20):
            await tried.get()
        again = await fork_process("--http-port", port)
        assert again.url == process.url
        await memory.put("n", "b", 1)
        change = await following
        assert (change.seq, change.key) == (2, "b")
        await changes.aclose()
