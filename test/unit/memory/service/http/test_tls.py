"""TLS: what is special about it. test_protocol.py has the limits, which hold with it as without."""

import asyncio
import contextlib
import functools
import socket
import ssl
from datetime import UTC, datetime

import pytest
import uvloop
from support.authority import Authority
from unit.memory.conftest import TOKEN, running_service

PATIENCE = 60
KIB = 1024
GET = b"GET /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"


@pytest.fixture(scope="module")
def authority():
    return Authority("test", datetime.now(UTC))


@pytest.fixture
def start_service(tmp_path, authority):
    return functools.partial(running_service, tmp_path, authority=authority)


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nothing tells a test what the service has received
            await asyncio.sleep(0)


async def rest(reader):
    """All that still comes until the service closes the connection, also where it has not read all."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionError:
        return b""


async def ended(service, reason):
    series = f'swarm_memory_http_connections_ended_total{{port="api",reason="{reason}"}} '
    return float((await service.metrics()).split(series)[1].split("\n")[0])


@pytest.fixture
async def half_done():
    """half_done(service) opens a connection and sends half a handshake; all are closed at the end."""
    opened = []

    async def half(service, sent=100):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = service.tls.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(outgoing.read()[:sent])
        opened.append(writer)
        return reader

    yield half
    for writer in opened:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("sent", [0, 1, 100], ids=["nothing", "a byte", "half"])
async def test_a_handshake_that_comes_slowly_is_closed(service, half_done, sent):
    client = await half_done(service, sent)
    await until(lambda: len(service.connections) == 1)
    service.connections.sweep(0)
    service.connections.sweep(9.9)
    assert len(service.connections) == 1
    service.connections.sweep(10)
    assert await rest(client) == b""
    assert await ended(service, "handshake") == 1
    assert len(service.connections) == 0


async def test_half_handshakes_count_as_connections_and_make_room(start_service, half_done):
    async with start_service(max_connections=3) as service:
        clients = []
        for number in range(35):
            clients.append(await half_done(service))
            await until(lambda number=number: len(service.connections) == number + 1)
        assert (await service.call("GET", "/healthz", token=None)).status == 200
        assert await rest(clients[0]) == b""
        assert await ended(service, "connections") == 1
        assert await ended(service, "handshake") == 0


async def test_what_is_no_tls_is_closed_and_counted(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    with contextlib.closing(writer):
        writer.write(GET)
        assert b"HTTP" not in await rest(reader)
    assert await ended(service, "handshake") == 1


@pytest.mark.parametrize(
    ("version", "cipher"),
    [(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1_2, "ECDHE+AES128+SHA256:!AESGCM:@SECLEVEL=0")],
    ids=["TLS 1.1", "CBC"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_old_versions_and_weak_ciphers_are_refused(service, version, cipher):
    service.tls.set_ciphers(cipher)
    service.tls.minimum_version = ssl.TLSVersion.TLSv1
    service.tls.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", service.port, ssl=service.tls)


async def test_tls_1_2_is_taken_with_forward_secrecy(service):
    service.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=service.tls)
    assert writer.get_extra_info("cipher")[0].startswith("ECDHE-")
    writer.close()
    await writer.wait_closed()


async def test_a_request_in_many_records_and_one_in_many_parts_are_read_whole(service):
    await service.put("n/k", "x" * 300_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=service.tls, limit=1024 * KIB)
    for byte in GET:  # a record for each
        writer.write(bytes([byte]))
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert b"x" * 300_000 in await reader.readuntil(b'"}')
    writer.close()
    await writer.wait_closed()
    await until(lambda: len(service.connections) == 0)


async def test_bytes_that_are_no_record_after_the_handshake_end_the_connection(service):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = service.tls.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(16 * KIB))
    writer.write(outgoing.read() + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    await rest(reader)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: len(service.connections) == 0)


def test_the_loop_of_the_service_serves_a_long_response(tmp_path, authority):
    """uvloop's transport is another than asyncio's."""

    async def run():
        async with running_service(tmp_path, authority=authority) as service:
            await service.put("n/k", "x" * 5_000_000)
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
            sock.connect(("127.0.0.1", service.port))
            reader, writer = await asyncio.open_connection(sock=sock, ssl=service.tls, server_hostname="127.0.0.1")
            writer.write(GET)
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
                assert (await reader.readexactly(length)).count(b"x") >= 5_000_000
            writer.close()
            await writer.wait_closed()

    uvloop.run(run())
