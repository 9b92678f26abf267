"""The client, against the real service and against servers that misbehave."""

import asyncio
import contextlib
import subprocess
import sys

import pytest

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryConflictError,
    MemoryRequestError,
    MemoryServerError,
    MemoryUnavailableError,
)
from swarm_operator.memory.engine import Draft, Put

TOKEN = "client-0123456789abcdef"
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n{"version": 1, "size": 1, "expires_at": null, "value": 1}'
assert len(OK.partition(b"\r\n\r\n")[2]) == 57
BUSY = b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 17\r\n\r\n{"detail":"full"}'
BROKEN = b'HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 17\r\n\r\n{"detail":"disk"}'
HANG_UP = b""
SILENCE = None


@pytest.fixture
async def memory(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=TOKEN) as client:
        yield client


@contextlib.asynccontextmanager
async def scripted(*answers):
    """A server that gives these answers in turn, and a client that doesn't really wait between attempts."""
    requests, pauses, left = [], [], list(answers)
    done = asyncio.Event()

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.append(head.split(b"\r\n")[0].decode())
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                answer = left.pop(0)
                if answer is SILENCE:
                    await done.wait()
                if not answer:
                    return
                writer.write(answer)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def pause(seconds):
        pauses.append(seconds)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with MemoryClient(f"http://127.0.0.1:{port}", token="t", timeout=0.2, sleep=pause) as client:
        client.requests, client.pauses = requests, pauses
        yield client
    done.set()
    server.close()
    await server.wait_closed()


async def test_an_entry_makes_the_round_trip(memory):
    head = await memory.put("a/b", "../k?x#\U0001f40d", {"a": None}, tags=["t"], metadata={"m": 1}, ttl=60)
    assert (head.version, head.size) == (1, 10)
    entry = await memory.get("a/b", "../k?x#\U0001f40d")
    assert (entry.namespace, entry.key, entry.value) == ("a/b", "../k?x#\U0001f40d", {"a": None})
    assert (entry.tags, entry.metadata, entry.version) == (["t"], {"m": 1}, 1)
    assert entry.expires_at == "2027-01-15T08:01:00.000Z"
    assert await memory.delete("a/b", "../k?x#\U0001f40d")
    assert not await memory.delete("a/b", "../k?x#\U0001f40d")
    assert await memory.get("a/b", "../k?x#\U0001f40d") is None


@pytest.mark.parametrize("name", [".", "..", "%2F", "a+b c", "\n", "é"])
async def test_every_name_arrives_as_it_was_given(memory, name):
    await memory.put(name, name, 1)
    assert [entry.key async for entry in memory.iterate(name, prefix=name)] == [name]
    assert (await memory.get(name, name)).key == name


async def test_null_is_a_value(memory):
    await memory.put("n", "k", None)
    assert (await memory.get("n", "k")).value is None


async def test_conditions_are_kept_and_conflicts_tell_the_version(memory):
    await memory.put("n", "k", 1, create_only=True)
    with pytest.raises(MemoryConflictError) as caught:
        await memory.put("n", "k", 2, create_only=True)
    assert caught.value.current_version == 1
    assert (await memory.put("n", "k", 2, if_version=1)).version == 2
    with pytest.raises(MemoryConflictError):
        await memory.delete("n", "k", if_version=1)
    with pytest.raises(MemoryConflictError) as caught:
        await memory.put("n", "missing", 2, if_version=1)
    assert caught.value.current_version is None


async def test_a_list_is_walked_page_by_page(memory):
    for number in range(7):
        await memory.put("n", f"k{number}", number)
    assert [entry.value async for entry in memory.iterate("n", prefix="k", page=2)] == list(range(7))
    page = await memory.list("n", limit=5)
    assert (len(page.entries), page.next_cursor is None) == (5, False)


async def test_all_namespaces_are_named_page_by_page(memory, service):
    names = [f"n{number:04}/ü&=" for number in range(1001)]
    await service.store.batch([Put(Draft.create(name, "k", [1])) for name in names[:1000]])
    await service.store.put(names[1000], "k", [1])
    found = [each async for each in memory.namespaces()]
    assert [each.name for each in found] == names
    assert {(each.entries, each.bytes) for each in found} == {(1, 3)}


async def test_statistics_and_readiness(memory, service):
    await memory.put("swarm:agents", "a", 1)
    stats = await memory.stats()
    assert (stats.entries, stats.agents, stats.tasks, stats.patterns) == (1, 1, 0, 0)
    assert stats.cache_hit_rate is None
    assert stats.database_size_bytes > 0
    assert stats.settings["cache_size"] == 1000
    assert stats.swarm_id == "default"
    readiness = await memory.ready()
    assert (readiness.ready, readiness.reason) == (True, "ok")


async def test_bad_input_names_the_field(memory):
    with pytest.raises(MemoryRequestError) as caught:
        await memory.put("n", "k", 1, tags=[""])
    assert (caught.value.status, caught.value.problem["field"]) == (400, "tags[0]")
    assert not caught.value.transient
    with pytest.raises(ValueError, match="JSON compliant"):
        await memory.put("n", "k", float("nan"))


async def test_a_wrong_token_is_an_error_of_its_own(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token="wrong") as client:
        with pytest.raises(MemoryAuthError):
            await client.stats()
        assert (await client.ready()).ready


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


async def test_an_answer_that_is_not_the_memorys_is_an_error():
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as client:
        with pytest.raises(MemoryServerError, match="no statistics"):
            await client.stats()
    async with MemoryClient("no url", token="t") as client:
        with pytest.raises(MemoryClientError):
            await client.stats()


def test_the_client_brings_neither_engine_nor_service():
    code = (
        "import sys, swarm_operator.memory.client;"
        "heavy = ('swarm_operator.memory.engine', 'swarm_operator.memory.service',"
        " 'aiosqlite', 'sqlite3', 'starlette', 'uvicorn');"
        "bad = [m for m in sys.modules if m.startswith(heavy)];"
        "sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
