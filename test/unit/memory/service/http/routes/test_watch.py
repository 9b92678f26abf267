"""Watching over HTTP, with the client and on the command line."""

import asyncio
import contextlib
import json
import signal

import pytest

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import MemoryAuthError, MemoryBusyError, MemoryClient, MemoryGoneError
from swarm_operator.memory.core import Draft, Put
from swarm_operator.memory.sqlite import StoreConfig


class Stream:
    """An open watch: head and events as they arrive."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def open(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.status = int(head.split()[1])
        self.head = head.lower()
        return self

    async def event(self):
        """The next event or comment, as a dict of its fields."""
        fields = {}
        while True:
            line = (await self.chunk_line()).decode()
            if not line:
                return fields
            name, _, value = line.partition(": ")
            fields[name] = value

    async def chunk_line(self):
        """A line of the body; the sizes of its chunks are left out."""
        while True:
            line = (await self.reader.readuntil(b"\n")).rstrip(b"\n")
            if not line.endswith(b"\r"):
                return line


@contextlib.asynccontextmanager
async def watching(service, query="", **headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    token = (service.tokens / "client-token").read_text().strip()
    lines = [f"GET /v1/watch{query} HTTP/1.1", "Host: test", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        yield await Stream(reader, writer).open()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def client(service, **options):
    return MemoryClient(
        f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token", backoff=0.001, **options
    )


async def test_changes_are_sent_as_they_are_committed(service):
    async with watching(service, "?namespace=n&prefix=k") as stream:
        assert stream.status == 200
        assert "content-type: text/event-stream" in stream.head
        assert await stream.event() == {"id": "0", "event": "ready", "data": '{"seq":0}'}
        await service.put("other/k", 1)
        await service.put("n/x", 1)
        await service.put("n/k", 1)
        event = await stream.event()
        assert (event["id"], event["event"]) == ("3", "change")
        assert json.loads(event["data"]) == {
            "seq": 3, "op": "put", "namespace": "n", "key": "k", "version": 1, "at": "2027-01-15T08:00:00.000Z",
            "updated_by": "client",
        }  # fmt: skip
        await service.call("DELETE", "/v1/entries/n/k")
        assert json.loads((await stream.event())["data"])["op"] == "delete"


async def test_expiry_is_told_when_it_is_collected(service, clock):
    async with watching(service) as stream:
        await stream.event()
        await service.put("n/k", 1, ttl=1)
        await stream.event()
        clock.advance(1)
        await service.store.collect_garbage()
        assert json.loads((await stream.event())["data"])["op"] == "expire"


async def test_a_watch_goes_on_from_a_position(service):
    for number in range(3):
        await service.put(f"n/{number}", number)
    for query, headers in (("?since=1", {}), ("", {"Last_Event_ID": "1"}), ("?since=0", {"Last_Event_ID": "1"})):
        async with watching(service, query, **headers) as stream:
            assert [(await stream.event())["id"] for _ in range(3)] == ["1", "2", "3"]


async def test_what_is_gone_is_a_410_with_the_oldest_position(start_service):
    async with start_service(config=StoreConfig(change_log_entries=2, full_text=False)) as service:
        for number in range(5):
            await service.put(f"n/{number}", number)
        for since in (2, 6):
            answer = await service.call("GET", f"/v1/watch?since={since}")
            assert (answer.status, answer.json["oldest"]) == (410, 3)
            assert answer.json["type"].endswith(":gone")


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("?since=x", {}, "since"),
        ("?since=-1", {}, "since"),
        ("?since=99999999999999999999", {}, "since"),
        ("?since=9999999999999999999", {}, "since"),
        ("", {"Last_Event_ID": "x"}, "Last-Event-ID"),
        ("?namespace=", {}, "namespace"),
        ("?prefix=%00", {}, "prefix"),
        ("?what=1", {}, "query parameter 'what'"),
    ],
)
async def test_what_is_wrong_is_named(service, query, headers, field):
    answer = await service.call("GET", "/v1/watch" + query, **headers)
    assert (answer.status, answer.json["field"]) == (400, field)


async def test_a_watch_takes_a_token_and_get(service):
    assert (await service.call("GET", "/v1/watch", token=None)).status == 401
    assert (await service.call("POST", "/v1/watch", b"")).status == 405


async def test_a_quiet_watch_shows_that_it_lives(start_service):
    async with start_service(watch_heartbeat=0.01) as service, watching(service) as stream:
        await stream.event()
        assert await stream.chunk_line() == b": heartbeat"


async def test_changes_that_follow_closely_are_sent_together(start_service):
    async with start_service(watch_pause=0.2) as service, watching(service) as stream:
        await stream.event()
        await service.put("n/a", 1)
        await stream.event()
        for key in ("b", "c", "d"):
            await service.put(f"n/{key}", 1)
        while not (size := (await stream.reader.readline()).strip()):
            pass
        chunk = await stream.reader.readexactly(int(size, 16))
        assert chunk.count(b"event: change") == 3


async def test_watches_are_counted_and_bounded(start_service):
    async with start_service(max_watches=4) as service:
        async with watching(service) as first, watching(service) as second:
            await first.event()
            await second.event()
            assert "swarm_memory_watches 2.0" in await service.metrics()
            async with watching(service) as third:
                assert third.status == 429
                assert "retry-after: 1" in third.head
        while "swarm_memory_watches 0.0" not in await service.metrics():
            pass
        async with watching(service) as third:
            assert third.status == 200


async def test_a_consumer_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed(start_service, monkeypatch):
    from swarm_operator.memory.sqlite import changes

    monkeypatch.setattr(changes, "_MOST_KEPT", 100)
    async with start_service(config=StoreConfig(change_log_entries=1000)) as service, watching(service) as stream:
        stream.writer.transport.pause_reading()
        key = "k" * 1000
        for round_ in range(100):
            await service.store.batch([Put(Draft.create("n", f"{key}{number}", round_)) for number in range(300)])
        assert service.store._feed._kept <= 300
        stream.writer.transport.resume_reading()
        seen, missed = [], []
        while not seen or seen[-1] < 30_000:
            event = await stream.event()
            if event.get("event") == "change":
                seen.append(int(event["id"]))
            elif event.get("event") == "missed":
                missed.append(json.loads(event["data"]))
                assert seen[-1] == missed[-1]["since"]
                seen.append(missed[-1]["oldest"])
        # How often depends on how fast the machine is; each time it is told exactly what it has missed.
        assert missed
        expected, after = [], 1
        for each in missed:
            expected += range(after, each["since"] + 1)
            after = each["oldest"]
        assert seen == [*expected, *range(after, 30_001)]


async def test_the_client_watches_and_resumes_by_itself(service):
    ready = asyncio.Queue()
    async with client(service) as memory:
        changes = memory.watch(namespace="n", on_ready=ready.put_nowait)
        following = asyncio.ensure_future(anext(changes))
        assert await ready.get() == 0
        await service.put("n/a", 1)
        change = await following
        assert (change.seq, change.op, change.key, change.version) == (1, "put", "a", 1)
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        # The connection breaks, and what is written meanwhile is not lost.
        for connection in memory._transport._session.connector._acquired.copy():
            connection.transport.abort()
        await service.put("n/b", 1)
        assert (await following).key == "b"
        assert (await anext(aiter(memory.watch(since=0)))).key == "a"
        await changes.aclose()


async def test_the_client_says_when_it_cannot_go_on(start_service):
    async with start_service(config=StoreConfig(change_log_entries=2, full_text=False), max_watches=1) as service:
        for number in range(5):
            await service.put(f"n/{number}", number)
        async with client(service, retries=0) as memory:
            with pytest.raises(MemoryGoneError) as caught:
                await anext(memory.watch(since=1))
            assert caught.value.oldest == 3
            async with watching(service) as stream:
                await stream.event()
                with pytest.raises(MemoryBusyError):
                    await anext(memory.watch())
        async with MemoryClient(f"http://127.0.0.1:{service.port}", token="wrong") as memory:
            with pytest.raises(MemoryAuthError):
                await anext(memory.watch())


async def test_the_command_line_watches(service, capsys):
    await service.put("n/a", 1)
    await service.put("n/b", 2)
    flags = ["--url", f"http://127.0.0.1:{service.port}", "--token-file", str(service.tokens / "client-token")]
    code = await asyncio.to_thread(command.main, ["watch", "n", "--since", "0", "--limit", "2", *flags])
    printed = capsys.readouterr()
    assert code == 0
    assert [json.loads(line)["key"] for line in printed.out.splitlines()] == ["a", "b"]
    assert "watching from 0 on" in printed.err


async def test_an_open_watch_does_not_keep_the_service_from_stopping(fork_process, tmp_path):
    process = await fork_process()
    async with MemoryClient(process.url, token=process.token, retries=0) as memory:
        ready = asyncio.Event()
        following = asyncio.ensure_future(anext(memory.watch(on_ready=lambda _: ready.set())))
        await ready.wait()
        async with asyncio.timeout(15):  # less than the grace that requests get
            assert await process.stop(signal.SIGTERM) == 0
        with pytest.raises(Exception, match=r"127\.0\.0\.1"):
            await following
