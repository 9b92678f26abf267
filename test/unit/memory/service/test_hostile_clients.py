"""The process, while clients send what they should not: it stays small, and goes on answering others."""

import asyncio
import contextlib
import os
import resource
import signal
from pathlib import Path

import pytest

from swarm_operator.memory.core.strict_json import MAX_VALUES

MIB = 1024 * 1024
GROWTH = 64 * MIB
HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def resident(process):
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def address(url):
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def worked(process):
    """The seconds of processor time that the process has used."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(process, path="/healthz", port="url"):
    """The status of a GET on a connection of its own, for which the process works less than a second.

    A second of the clock would judge the machine: it may stand still, or have others to serve.
    """
    before = worked(process)
    reader, writer = await asyncio.open_connection(*address(getattr(process, port)))
    with contextlib.closing(writer):
        writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
        status = int((await reader.read()).split()[1])
    assert worked(process) - before < 1, "something else went first"
    return status


@contextlib.asynccontextmanager
async def answering(process):
    """/healthz is answered soon, again and again while this is entered, and at least once."""
    done = asyncio.Event()

    async def keep_asking():
        while True:
            assert await ask(process) == 200
            if done.is_set():
                return

    task = asyncio.create_task(keep_asking())
    try:
        yield
    finally:
        done.set()
        await task


async def flood(url, first, more, total):
    """Send `first`, then `more` until `total` bytes are sent or the service hangs up; what it answered."""
    reader, writer = await asyncio.open_connection(*address(url))
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        writer.write(first)
        with contextlib.suppress(ConnectionError):
            for _ in range(total // len(more)):
                writer.write(more)
                await writer.drain()
        return await reader.read()
    return b""


@pytest.mark.parametrize("port", ["url", "metrics_url"])
@pytest.mark.parametrize("more", [b"X-A: b\r\n" * 8192, b"x" * 65536], ids=["lines", "one value"])
async def test_heads_of_60_mib_take_no_memory(fork_process, port, more):
    process = await fork_process()
    before = resident(process)
    async with answering(process):
        for _ in range(4):
            await flood(getattr(process, port), b"GET /healthz HTTP/1.1\r\nX: ", more, 60 * MIB)
    assert resident(process) - before < GROWTH
    assert await process.stop(signal.SIGTERM) == 0
    (line,) = (line for line in process.log if line["event"] == "connections refused or closed")
    assert line["reason"] == "head-size"


@pytest.mark.parametrize("first", [b"", HALF_A_HEAD], ids=["silent", "half a head"])
async def test_more_connections_than_files_leave_room_for_others(start_process, first):
    def limits():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    process = await start_process(limits=limits)
    before = resident(process)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    writers = []
    try:
        async with answering(process):
            for _ in range(1100):
                _, writer = await asyncio.open_connection(*address(process.url))
                writers.append(writer)
                writer.write(first)
        assert await ask(process, "/readyz") == 200
        assert await ask(process, "/metrics", "metrics_url") == 200
        assert resident(process) - before < GROWTH
    finally:
        for writer in writers:
            writer.close()
        for writer in writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert await process.stop(signal.SIGTERM) == 0
    (line,) = (line for line in process.log if line["event"] == "connections refused or closed")
    assert line["reason"] == "connections"


def _filled(start, piece, end, size=16 * MIB):
    return start + piece * ((size - len(start) - len(end)) // len(piece)) + end


BODIES = {
    "arrays": _filled(b'{"value":[', b"[],", b"[]]}"),
    "nested": _filled(b'{"value":[', b"[" * 62 + b"]" * 62 + b",", b"[]]}"),
    "numbers": _filled(b'{"value":[', b"1,", b"1]}"),
    "long numbers": _filled(b'{"value":[', b"1000000000000000000000,", b"1]}"),
    "nulls": _filled(b'{"value":[', b"null,", b"1]}"),
    "escaped colons": _filled(b'{"value":"', rb"\u003a", b'"}'),
    "escaped names": _filled(b'{"value":[', rb'{"\u003a":1},', b"1]}"),
    "backslashes": _filled(b'{"value":"', rb"\\", b'"}'),
    "quotes": _filled(b'{"value":"', rb"\"", b'"}'),
    "strings": _filled(b'{"value":[', b'"",', b"1]}"),
    "brackets in a string": _filled(b'{"value":"', b"[", b'"}'),
    "as many arrays as are allowed": _filled(b'{"value":[', b"[],", b"[]]}", 3 * (MAX_VALUES // 5 - 10)),
    "as many nulls as are allowed": _filled(b'{"value":[', b"null,", b"1]}", 5 * (MAX_VALUES - 10)),
    "as many long numbers as are allowed": _filled(b'{"value":[', b"1.000000000000000000,", b"1]}"),
    "as many names as are allowed": b'{"value":{%s}}'
    % b",".join(rb'"\u003a%d":1' % n for n in range(MAX_VALUES // 5 - 10)),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_of_16_mib_stops_nobody(fork_process, name):
    process = await fork_process()
    head = (
        b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Authorization: Bearer %s\r\n\r\n" % (len(BODIES[name]), process.token.encode())
    )
    async with answering(process):
        answer = await flood(process.url, head, BODIES[name], len(BODIES[name]))
    assert answer.split()[1] in {b"201", b"400"}, answer
    if name.startswith("as many") or name in {"escaped colons", "backslashes", "quotes", "brackets in a string"}:
        assert answer.split()[1] == b"201", answer
