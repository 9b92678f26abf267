"""What a client sends is bounded in bytes and in time, before any of it is understood."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest
import uvloop
from structlog.testing import capture_logs
from support.authority import Authority
from unit.memory.conftest import TOKEN, running_service

from swarm_operator.memory.service.http import protocol
from swarm_operator.memory.service.http.connections import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from swarm_operator.memory.service.http.protocol import BoundedProtocol
from swarm_operator.memory.service.http.tls import TlsProtocol

KIB = 1024
MIB = 1024 * 1024
SIZE = 15_000_000
PATIENCE = 20
"""Seconds after which a test gives up."""
AUTHORIZED = b"Host: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
HALF_A_BODY = b"PUT /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b'Content-Length: 100\r\n\r\n{"value":'


class Peer:
    """A client on a bare socket."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        """The next answer: its status, its headers and its body."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def problem(self):
        """The next answer, which is a problem: its status and its kind."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        return status, orjson.loads(body)["type"].rpartition(":")[2]

    async def rest(self):
        """All that still comes until the service closes the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        except ConnectionError:
            return b""


@pytest.fixture(params=["tcp", "tls"])
def start_service(request, tmp_path):
    """The limits are the same without TLS and with it."""
    authority = Authority("test", datetime.now(UTC)) if request.param == "tls" else None
    return functools.partial(running_service, tmp_path, authority=authority)


@pytest.fixture
async def connect():
    """connect(service) opens a connection; all are closed at the end."""
    opened = []

    async def connecting(service):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)  # what is not read stays with the service
        sock.connect(("127.0.0.1", service.port))
        tls = {"ssl": service.tls, "server_hostname": "127.0.0.1"} if service.tls else {}
        peer = Peer(*await asyncio.open_connection(sock=sock, limit=64 * KIB * KIB, **tls))
        opened.append(peer)
        # A client's handshake ends before the service's.
        await until(lambda: not any(isinstance(each, TlsProtocol) for each in service.connections._open))
        return peer

    yield connecting
    for peer in opened:
        peer.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # what was not read comes after the end
            await peer.writer.wait_closed()


@contextlib.asynccontextmanager
async def time_flies(service):
    """A second passes at each turn of the loop."""

    async def fly():
        now = 0.0
        while True:
            service.connections.sweep(now)
            now += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(fly())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ended(service, reason):
    series = f'swarm_memory_http_connections_ended_total{{port="api",reason="{reason}"}} '
    return float((await service.metrics()).split(series)[1].split("\n")[0])


def the_connection(service):
    (connection,) = service.connections._open
    return connection


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nothing tells a test what the protocol has received
            await asyncio.sleep(0)


LINES = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(70))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + LINES + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES,
        b"GET /healthz HTTP/1.1\r\n" + b"x" * MAX_HEAD_BYTES,
        b"GET /" + b"x" * MAX_HEAD_BYTES,
        b"GET /healthz HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a:\r\n" * 10_000,
        b"\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["lines", "value", "half a value", "half a name", "path", "many fields", "10,000 fields", "nothing"],
)
async def test_a_head_over_the_limit_is_a_431_and_ends_the_connection(service, connect, head):
    peer = await connect(service)
    peer.send(head)
    assert await peer.problem() == (431, "head-too-large")
    assert await peer.rest() == b""
    assert await ended(service, "head-size") == 1


async def test_a_head_up_to_the_limit_is_taken_also_after_a_large_body(service, connect):
    peer = await connect(service)
    value = b'{"value":"' + b"x" * 1_000_000 + b'"}'
    head = b"GET /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"X: "
    head += b"x" * (MAX_HEAD_BYTES - len(head) - 100) + b"\r\n"
    peer.send(b"PUT /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(value) + value)
    peer.send(head + b"\r\n")
    assert (await peer.answer())[0] == 201
    assert (await peer.answer())[0] == 200
    peer.send(head + b"Y: " + b"y" * 300 + b"\r\n\r\n")
    assert await peer.problem() == (431, "head-too-large")


async def test_trailers_and_extensions_of_chunks_are_bounded_like_a_head(service, connect):
    head = b"PUT /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n"
    for endless in (b'b\r\n{"value":1}\r\n0\r\n' + LINES * 2, b"1;x=" + b"x" * 2 * MAX_HEAD_BYTES):
        peer = await connect(service)
        peer.send(head)
        peer.send(endless)
        assert await peer.problem() == (431, "head-too-large")
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404


async def test_a_head_that_comes_slowly_is_a_408(service, connect):
    peer = await connect(service)
    peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    await until(lambda: any(each._messages for each in service.connections._open))
    async with time_flies(service):
        assert await peer.problem() == (408, "head-timeout")
        assert await peer.rest() == b""
    assert await ended(service, "head-timeout") == 1


async def test_the_time_of_a_head_begins_with_its_first_byte(service, connect):
    peer = await connect(service)
    for now in (0, 10, 20):
        peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        await until(lambda: service.connections._open and the_connection(service)._part.name == "HEAD")
        service.connections.sweep(now)
        service.connections.sweep(now + 9.9)
        peer.send(b"\r\n")
        assert (await peer.answer())[0] == 200


@pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["at once", "later"])
async def test_a_connection_without_a_request_is_closed_after_a_while(service, connect, first):
    peer = await connect(service)
    peer.send(first)
    if first:
        assert (await peer.answer())[0] == 200
    await until(lambda: len(service.connections) == 1)
    service.connections.sweep(0)
    service.connections.sweep(74.9)
    assert not the_connection(service).transport.is_closing()
    service.connections.sweep(75)
    assert await peer.rest() == b""
    await until(lambda: len(service.connections) == 0)


async def test_a_body_that_comes_slowly_is_a_408_and_writes_nothing(service, connect):
    peer = await connect(service)
    peer.send(HALF_A_BODY)
    await until(lambda: service.connections._open and the_connection(service)._body_bytes)
    for now in range(0, 30, 5):
        service.connections.sweep(now)
        before = the_connection(service)._body_bytes
        peer.send(b" ")
        await until(lambda before=before: the_connection(service)._body_bytes > before)
    service.connections.sweep(30)
    assert await peer.problem() == (408, "body-timeout")
    peer.send(b"1}".ljust(91))
    assert await peer.rest() == b""
    assert await ended(service, "body-rate") == 1
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404


async def test_a_body_that_comes_at_the_least_rate_may_take_long(service, connect):
    peer = await connect(service)
    seconds = 100
    body = b'{"value":1}' + b" " * (1024 * seconds)
    peer.send(b"PUT /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body))
    await until(lambda: service.connections._open and the_connection(service)._messages)
    service.connections.sweep(0)
    for second in range(1, seconds + 1):
        before = the_connection(service)._body_bytes
        part, body = body[:1024], body[1024:]
        peer.send(part)
        await until(lambda before=before: the_connection(service)._body_bytes >= before + 1024)
        service.connections.sweep(second)
    peer.send(body)
    assert (await peer.answer())[0] == 201


async def test_the_body_of_a_refused_request_may_not_go_on_for_ever(service, connect):
    peer = await connect(service)
    peer.send(b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n{")
    assert await peer.problem() == (401, "unauthorized")
    async with time_flies(service):
        assert await peer.rest() == b""
    assert await ended(service, "body-rate") == 1


async def test_a_client_that_does_not_read_its_answer_is_disconnected(service, connect):
    await service.put("n/k", "x" * SIZE)
    peer = await connect(service)
    peer.send(b"GET /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
    peer.writer.transport.pause_reading()
    await until(lambda: service.connections._open and the_connection(service).flow is not None)
    await until(lambda: the_connection(service).flow.write_paused)
    async with time_flies(service):
        await until(lambda: len(service.connections) == 0)
    peer.writer.transport.resume_reading()
    assert len(await peer.rest()) < SIZE
    assert await ended(service, "send-rate") == 1


async def test_a_client_that_reads_is_not_disconnected(service, connect):
    await service.put("n/k", "x" * SIZE)
    peer = await connect(service)
    for second in range(0, 40, 10):
        peer.send(b"GET /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
        await until(lambda: service.connections._open and the_connection(service).flow.write_paused)
        service.connections.sweep(second)
        status, _, body = await peer.answer()
        assert (status, len(body) > SIZE) == (200, True)


async def test_answers_that_nobody_reads_are_bounded_together(start_service, connect):
    async with start_service(max_unsent_bytes=28_000_000) as service:
        await service.put("n/k", "x" * SIZE)
        peers = []
        for number in range(4):
            peer = await connect(service)
            peer.writer.transport.pause_reading()
            peer.send(b"GET /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
            peers.append(peer)
            await until(lambda number=number: len(service.connections._unsent) == min(number + 1, 2))
        assert service.connections._unsent_bytes <= 28_000_000
        for peer in peers:
            peer.writer.transport.resume_reading()
        assert all([len(await peer.rest()) < SIZE for peer in peers[:2]])
        for peer in peers[2:]:
            status, _, body = await peer.answer()
            assert (status, len(body) > SIZE) == (200, True)
        assert await ended(service, "unsent") == 2


async def test_at_the_limit_the_connection_that_has_waited_longest_makes_room(start_service, connect):
    async with start_service(max_connections=3) as service:
        peers = [await connect(service) for _ in range(35)]
        await until(lambda: len(service.connections) == 35)
        peers[0].send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peers[0].answer())[0] == 200
        newest = await connect(service)
        assert await peers[1].rest() == b""
        for peer in (newest, peers[0], *peers[2:]):
            peer.send(b"GET /v1/stats HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
            assert (await peer.answer())[0] == 200
        assert await ended(service, "connections") == 1
        assert 'swarm_memory_http_connections{port="api"} 35.0' in await service.metrics()


async def test_when_all_connections_have_requests_probes_are_still_answered(start_service, connect):
    async with start_service(max_connections=3) as service:
        busy = [await connect(service) for _ in range(3)]
        for peer in busy:
            peer.send(HALF_A_BODY)
        await until(lambda: len(service.connections) == 3 and not service.connections.waiting)
        probe, other = await connect(service), await connect(service)
        for path in (b"/healthz", b"/readyz"):
            probe.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await probe.answer())[0] == 200
        probe.writer.close()
        other.send(b"GET /v1/stats HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
        assert await other.problem() == (503, "too-many-connections")
        assert await other.rest() == b""
        later = await connect(service)
        busy[0].send(b"1}".ljust(91))
        assert (await busy[0].answer())[0] in {200, 201}
        busy[0].writer.close()
        await until(lambda: len(service.connections) == 3)
        later.send(b"GET /v1/stats HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
        assert (await later.answer())[0] == 200


async def test_probes_have_a_bounded_number_of_connections_beside_the_others(start_service, connect):
    async with start_service(max_connections=1) as service:
        busy = await connect(service)
        busy.send(HALF_A_BODY)
        await until(lambda: len(service.connections) == 1 and not service.connections.waiting)
        peers = [await connect(service) for _ in range(60)]
        for peer in peers[:28]:
            assert await peer.rest() == b""
        assert len(service.connections) == 33
        assert (await service.call("GET", "/healthz", token=None)).status == 200


@pytest.mark.parametrize(
    "request_",
    [b"\xff\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
     b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     b"PUT /v1/entries/n/k HTTP/1.1\r\n" + AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"],
)  # fmt: skip
async def test_what_is_no_http_is_a_problem_document(service, connect, request_):
    peer = await connect(service)
    peer.send(request_)
    assert await peer.problem() == (400, "malformed-request")
    assert await peer.rest() == b""
    assert await ended(service, "malformed") == 1


async def test_what_is_no_http_after_a_request_does_not_pass_for_its_answer(service, connect):
    peer = await connect(service)
    peer.send(b"GET /v1/watch HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
    await peer.reader.readuntil(b"event: ready")
    peer.send(b"\xff\r\n\r\n")
    assert b"HTTP/1.1" not in await peer.rest()


async def test_an_upgrade_that_is_not_supported_is_ignored_without_a_line_in_the_log(service, connect, caplog):
    peer = await connect(service)
    peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert (await peer.answer())[0] == 200
    assert not caplog.records


async def test_requests_that_wait_for_an_earlier_answer_are_bounded(service, connect):
    peer = await connect(service)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    peer.send(get * MAX_PIPELINED)
    for _ in range(MAX_PIPELINED):
        assert (await peer.answer())[0] == 200
    peer.send(b"GET /v1/watch HTTP/1.1\r\n" + AUTHORIZED + b"\r\n" + get * (MAX_PIPELINED + 1))
    assert b" 200 OK\r\ncache" not in await peer.rest()
    assert await ended(service, "pipelined") == 1


async def test_a_thousand_bad_requests_are_one_line_in_the_log(service, connect):
    with capture_logs() as lines:
        for _ in range(2):
            for _ in range(50):
                peer = await connect(service)
                peer.send(b"\xff\r\n\r\n")
                assert (await peer.problem())[0] == 400
            service.connections.sweep(0)
        service.connections.sweep(9.9)
        assert [(line["event"], line["reason"], line["count"]) for line in lines] == [
            ("connections refused or closed", "malformed", 50)
        ]
        service.connections.sweep(10)
        service.connections.sweep(30)
    assert [line["count"] for line in lines] == [50, 50]
    assert lines[1]["last_client"] == "127.0.0.1"


async def test_a_stream_ends_with_its_connection_also_if_another_request_waits_behind_it(service, connect):
    peer = await connect(service)
    peer.send(b"GET /v1/watch HTTP/1.1\r\n" + AUTHORIZED + b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.reader.readuntil(b"event: ready")
    assert "swarm_memory_watches 1.0" in await service.metrics()
    peer.writer.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while "swarm_memory_watches 0.0" not in await service.metrics():
            pass


async def test_what_is_discarded_is_read_with_pauses(service, connect, monkeypatch):
    monkeypatch.setattr(protocol, "_DISCARD_PAUSE", 3600.0)
    peer = await connect(service)
    peer.send(b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE)
    assert await peer.problem() == (401, "unauthorized")
    peer.send(b"x" * MIB)
    await until(lambda: the_connection(service).flow.read_paused)
    read = the_connection(service)._body_bytes
    peer.send(b"x" * MIB)
    assert (await service.call("GET", "/healthz")).status == 200
    assert (the_connection(service)._body_bytes, the_connection(service).flow.read_paused) == (read, True)
    peer.writer.transport.abort()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX: ", id="head"),
        pytest.param(b"PUT /v1/entries/n/k HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % SIZE, id="body"),
    ],
)
def test_of_a_flood_that_is_discarded_a_connection_is_read_once_a_turn(tmp_path, monkeypatch, head):
    """On the loop of the service, which reads a connection up to 32 times a turn while more arrives."""
    reads, turn = Counter(), 0
    read = BoundedProtocol.data_received

    def counted(connection, data):
        if len(data) > 16 * KIB:
            reads[turn] += 1
        read(connection, data)

    monkeypatch.setattr(BoundedProtocol, "data_received", counted)

    def flood(port):
        with socket.create_connection(("127.0.0.1", port)) as client, contextlib.suppress(ConnectionError):
            client.sendall(head)
            for _ in range(SIZE // MIB):
                client.sendall(b"x" * MIB)

    async def run():
        nonlocal turn
        async with running_service(tmp_path) as service:
            flooding = asyncio.ensure_future(asyncio.to_thread(flood, service.port))
            while not flooding.done():
                await asyncio.sleep(0)
                turn += 1

    uvloop.run(run())
    assert reads.total() > 8
    assert max(reads.values()) == 1
