"""What the direct path takes, and when it stops doing so. See test_direct_alike for what it answers."""

import asyncio
import contextlib
import json
import re
import threading

import orjson
import pytest
from unit.memory.conftest import TOKEN
from unit.memory.service.http.requests import FIELDS, PATIENCE, TEAM, request, response

from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.core.errors import StorageIOError
from swarm_operator.memory.service.http.direct import Direct
from swarm_operator.memory.sqlite.write.apply import Outcome

KEY = ("team", "k")


def put(key, body, *fields):
    return request(b"PUT", b"/v1/entries/team/" + key, *FIELDS, *fields, body=body)


def get(key, *fields):
    return request(b"GET", b"/v1/entries/team/" + key, *FIELDS, *fields)


class Peer:
    """A client that sends requests over one connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def call(self, sent):
        self.send(sent)
        return await self.answer()

    def send(self, sent):
        self.writer.write(sent)

    async def answer(self):
        """The next response: its status, its head and its body."""
        async with asyncio.timeout(PATIENCE):
            found = await response(self.reader, b"GET")
        head, _, body = found.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    async def ended(self):
        """Whether the service closes the connection, and has sent nothing before."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


@pytest.fixture
async def connect():
    writers = []

    async def connecting(service):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writers.append(writer)
        return Peer(reader, writer)

    yield connecting
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def taken(monkeypatch):
    """What Direct.answer has returned for each part that a service has received."""
    results, answer = [], Direct.answer

    def recording(self, connection, data):
        results.append(answer(self, connection, data))
        return results[-1]

    monkeypatch.setattr(Direct, "answer", recording)
    return results


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nothing tells a test what the protocol has received
            await asyncio.sleep(0)


async def test_plain_requests_take_the_direct_path(service, connect, taken):
    peer = await connect(service)
    sent = [
        put(b"k", b'{"value":1}'),
        put(b"k", b'{"value":[1,2],"tags":["a"],"ttl":60}', b"Content-Type: application/json"),
        get(b"k", b"Accept: */*", b"Accept-Encoding: gzip, deflate", b"User-Agent: Python/3.11 aiohttp/3.12"),
        get(b"missing"),
        put(b"%C3%BC%2F", b'{"value":1}').replace(b"Content-Length", b"content-length"),
        request(b"DELETE", b"/v1/entries/team/k", *FIELDS, body=b""),
        request(b"DELETE", b"/v1/entries/team/k", *FIELDS, b"Connection: close"),
    ]
    answers = [await peer.call(each) for each in sent]
    assert [status for status, _, _ in answers] == [201, 200, 200, 404, 201, 204, 404]
    assert taken == [True] * len(sent)
    assert await peer.ended()


@pytest.mark.parametrize(
    "value",
    [b'1,"value":2', b'{"a":1,"a":2}', b"18446744073709551616", b"[" * 65 + b"]" * 65, b"1e999", b'"\\ud800"', b"NaN"],
    ids=["member", "inner member", "integer", "depth", "number", "surrogate", "NaN"],
)
async def test_a_value_that_would_be_changed_is_refused(service, connect, value):
    peer = await connect(service)
    assert (await peer.call(put(b"k", b'{"value":' + value + b"}")))[0] == 400
    assert await service.store.get(*KEY) is None


async def test_only_content_length_says_where_a_request_ends(service, connect):
    peer = await connect(service)
    assert (await peer.call(put(b"k", b'{"value":1}', b"X-Content-Length: 11")))[0] == 201
    spaces = b" " * 9  # JSON may end with spaces, and a request may not begin with them
    peer.send(put(b"k", b'{"value":2}', b"X-Content-Length: 20") + spaces)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await peer.answer()


async def test_the_requests_of_the_client_are_plain(service, taken):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=TOKEN) as memory:
        await memory.put("swarm:x", "k.1/2", {"a": 1}, tags=["t"])
        await memory.get("swarm:x", "k.1/2")
        await memory.delete("swarm:x", "k.1/2")
    assert taken == [True] * 3


async def test_while_the_client_does_not_read_nothing_is_answered_directly(service, connect, taken):
    await service.put("team/k", 1)
    peer = await connect(service)
    assert (await peer.call(get(b"k")))[0] == 200
    del taken[:]
    (connection,) = service.connections._open
    connection.pause_writing()
    peer.send(get(b"k"))
    await until(lambda: connection._messages == 2)
    connection.resume_writing()
    assert (await peer.answer())[0] == 200
    assert taken == []


async def test_what_the_parser_has_begun_to_read_is_left_to_it(service, connect, taken):
    peer = await connect(service)
    peer.send(b"\r")
    await until(lambda: taken)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await peer.call(get(b"k"))
    assert taken == [False]


async def test_a_refused_connection_writes_nothing_more(service, connect, taken):
    peer = await connect(service)
    assert (await peer.call(b"nonsense\r\n\r\n"))[0] == 400
    (connection,) = service.connections._open
    peer.send(put(b"k", b'{"value":1}'))
    await until(lambda: connection._discarded or len(taken) > 1)
    assert taken == [False]
    assert await service.store.get(*KEY) is None


async def test_over_the_limit_of_connections_only_probes_are_answered(start_service, connect):
    async with start_service(max_connections=1) as service:
        with held(service) as release:
            first, second = await connect(service), await connect(service)
            first.send(put(b"k", b'{"value":1}'))
            await until(lambda: service.store._lookup._writing or service.store._writer._queue)
            await until(lambda: len(service.connections) == 2)
            assert len(service.connections.waiting) == 1, "the first one does not wait for a request"
            second.send(put(b"l", b'{"value":1}'))
            await until(lambda: service.connections.crowded)
            assert (await second.answer())[0] == 503
            release()
        assert (await first.answer())[0] == 201


async def test_a_request_begins_the_time_without_one_anew(service, connect):
    peer = await connect(service)
    for now in (0, 70, 140):
        assert (await peer.call(get(b"k")))[0] == 404
        service.connections.sweep(now)
    service.connections.sweep(215)
    assert await peer.ended()


async def test_the_rest_of_a_refused_body_is_no_request(service, connect):
    for number, key in enumerate(("team/k", "team/l")):
        await service.put(key, number)
    peer, rest = await connect(service), get(b"k")
    head = put(b"k", b'{"value":1}' + rest)[: -len(rest)]
    assert (await peer.call(head.replace(TOKEN.encode(), b"wrong")))[0] == 401
    (connection,) = service.connections._open
    peer.send(rest)
    await until(lambda: connection._part.name == "NONE" or connection._messages == 2)
    assert orjson.loads((await peer.call(get(b"l")))[2])["value"] == 1


async def test_an_uncached_entry_is_read_by_the_direct_path(service, connect, taken, clock):
    await service.put("team/k", "there", ttl=10)
    service.store._cache.clear()
    peer = await connect(service)
    del taken[:]
    status, _, body = await peer.call(get(b"k"))
    assert (status, orjson.loads(body)["value"], taken) == (200, "there", [True])
    assert service.store._cache.misses == 1
    assert service.store._accesses._pending[KEY] == int(clock() * 1000)
    clock.advance(10)
    assert (await peer.call(get(b"k")))[0] == 404
    service.store._cache.clear()
    assert (await peer.call(get(b"k")))[0] == 404


async def test_a_token_that_is_no_longer_valid_ends_on_an_open_connection(service, connect, taken, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0)
    peer = await connect(service)
    for _ in range(2):
        assert (await peer.call(put(b"k", b'{"value":1}')))[0] in {200, 201}
    (service.tokens / "client-token").write_text("another-0123456789abcdef")
    assert (await peer.call(put(b"k", b'{"value":2}')))[0] == 401
    assert (await peer.call(get(b"k")))[0] == 401
    assert taken == [True, True, False, False]
    (service.tokens / "client-token").write_text(TOKEN)
    assert orjson.loads((await peer.call(get(b"k")))[2])["value"] == 1


async def test_permissions_that_change_change_on_an_open_connection(service, connect, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0)
    peer = await connect(service)

    async def tries(**permissions):
        listed = [{"name": "team", "token": TEAM, **permissions}]
        (service.tokens / "tokens.json").write_text(json.dumps({"tokens": listed}))
        sent = (put(b"k", b'{"value":1}'), get(b"k"))
        return [(await peer.call(each.replace(TOKEN.encode(), TEAM.encode())))[0] for each in sent]

    assert await tries(access="write", namespaces=["team"]) == [201, 200]
    assert await tries(access="read", namespaces=["team"]) == [403, 200]
    assert await tries(access="write", namespaces=["other"]) == [403, 403]
    assert await tries(access="write", namespaces=["team"]) == [200, 200]


async def test_a_request_waits_for_the_response_to_the_one_before(service, connect):
    await service.put("team/k", 1)
    peer = await connect(service)
    with held(service) as release:
        peer.send(put(b"l", b'{"value":2}'))
        await until(lambda: service.store._writer._queue or service.store._lookup._writing)
        (connection,) = service.connections._open
        for number, key in enumerate((b"k", b"l"), start=2):
            peer.send(get(key))
            await until(lambda number=number: connection._messages == number or connection.flow.read_paused)
        release()
        assert (await peer.answer())[0] == 201
    assert [orjson.loads((await peer.answer())[2])["value"] for _ in range(2)] == [1, 2]


@contextlib.contextmanager
def held(service):
    """Hold up the writer's thread until what this yields is called."""
    gate = threading.Event()
    task = asyncio.ensure_future(service.store._worker.run(lambda _: gate.wait(PATIENCE)))
    try:
        yield gate.set
    finally:
        gate.set()
        del task


async def test_a_service_that_stops_sends_the_response_and_closes_the_connection(service, connect):
    peer = await connect(service)
    with held(service) as release:
        peer.send(put(b"k", b'{"value":1}'))
        await until(lambda: service.store._writer._queue or service.store._lookup._writing)
        (connection,) = service.connections._open
        connection.shutdown()
        release()
        status, head, _ = await peer.answer()
    assert (status, head.splitlines()[-1]) == (201, "connection: close")
    assert await peer.ended()


async def test_a_write_is_carried_out_although_its_client_has_gone(service, connect):
    peer = await connect(service)
    with held(service) as release:
        peer.send(put(b"k", b'{"value":1}'))
        await until(lambda: service.store._writer._queue or service.store._lookup._writing)
        (connection,) = service.connections._open
        peer.writer.transport.abort()
        await until(lambda: not service.connections._open)
        release()
        await service.put("team/l", 1)
    assert connection.server_state.total_requests == 1, "nothing was sent to the client that has gone"
    assert (await service.store.get(*KEY)).value == 1


async def test_failures_of_the_store_are_answered_each_with_an_id_of_its_own(service, connect, monkeypatch):
    peers, ids = [await connect(service) for _ in range(2)], set()
    monkeypatch.setattr("swarm_operator.memory.sqlite.write.writer.commit_batch", failing_batch)
    with held(service) as release:
        first = asyncio.ensure_future(service.store.put("n", "first", 1))
        await until(lambda: service.store._lookup._writing)
        for peer in peers:  # their writes are in one batch
            peer.send(put(b"k", b'{"value":1}'))
        await until(lambda: len(service.store._writer._queue) == 2)
        release()
        with pytest.raises(StorageIOError):
            await first
    for peer in peers:
        status, head, body = await peer.answer()
        assert (status, orjson.loads(body)["type"]) == (503, "urn:swarm-memory:problem:io-error")
        ids.add(re.search("x-request-id: (.*)", head)[1])
    assert len(ids) == 2
    metrics = await service.metrics()
    assert 'requests_total{code="503",method="PUT",route="/v1/entries/{namespace}/{key}"} 2.0' in metrics


def failing_batch(_db, operations, *_, **__):
    error = StorageIOError("disk I/O error")
    return Outcome([error for _ in operations], failure=error)


async def test_a_defect_is_answered_with_500_and_ends_nothing(service, connect, monkeypatch):
    peer = await connect(service)

    def broken(_):
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("swarm_operator.memory.service.http.direct.entry_head", broken)
        assert (await peer.call(put(b"k", b'{"value":1}')))[0] == 500
        patched.setattr("swarm_operator.memory.service.http.direct.entry_whole", broken)
        assert (await peer.call(get(b"k")))[0] == 200, "the application answers"
    assert (await peer.call(put(b"k", b'{"value":2}')))[0] == 200


async def test_after_an_upgrade_only_the_parser_reads_the_connection(service, connect, taken):
    peer = await connect(service)
    assert (await peer.call(get(b"k", b"Connection: upgrade", b"Upgrade: h2c")))[0] == 404
    assert taken == [False]
    peer.send(get(b"k"))
    (connection,) = service.connections._open
    await until(lambda: connection._fed or connection._messages == 2)
    assert taken == [False]
