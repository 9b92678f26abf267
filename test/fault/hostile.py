"""A hostile client of the memory service: `python -m fault.hostile TARGET SECONDS`, with a Target as JSON.

It attacks from all sides at once, with a token that may only read and without any token, and prints how often each
attack was carried out. Refusals are what it hopes for least, and are no errors here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import struct
import sys
from collections import Counter
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

MIB = 1024 * 1024
BODY = 16 * MIB
MESSAGE = 4 * MIB
LARGE_CALL = json.dumps({
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "memory_list", "arguments": {}, "_meta": {str(n): [[], {}] for n in range(200_000)}},
}).encode()  # fmt: skip
"""Made once: the attacker's processor is not to be busy with it."""
ENDLESS = "GET /healthz HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True)
class Target:
    """Where the service is, and the token that may only read."""

    http_port: int
    metrics_port: int
    grpc_port: int
    token: str


class Attacker:
    """Carries out the attacks and counts them.

    Args:
        target: the service.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.done: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def connection(self, port=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.target.http_port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, method, path, *lines, token=True):
        named = [f"Authorization: Bearer {self.target.token}"] if token else []
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *named, *lines, "", ""]).encode()

    async def request(self, method, path, body=b"", *lines):
        """Send a request as fast as it is taken, and return the first bytes of the answer."""
        async with self.connection() as (reader, writer):
            writer.write(self.head(method, path, f"Content-Length: {len(body)}", *lines))
            with contextlib.suppress(ConnectionError):
                for start in range(0, len(body), MIB):
                    writer.write(body[start : start + MIB])
                    await writer.drain()
            return await reader.read(65536)

    # Without a token.

    async def many_header_lines(self):
        for port in (self.target.http_port, self.target.metrics_port):
            async with self.connection(port) as (_, writer):
                writer.write(ENDLESS.encode())
                lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(10_000))
                for _ in range(60):
                    writer.write(lines)
                    await writer.drain()

    async def long_header(self):
        async with self.connection() as (_, writer):
            writer.write(ENDLESS.encode() + b"X-Long: ")
            for _ in range(100):
                writer.write(b"x" * MIB)
                await writer.drain()

    async def slow_head(self):
        async with self.connection() as (_, writer):
            for character in ENDLESS * 100:
                writer.write(character.encode())
                await writer.drain()
                await asyncio.sleep(0.5)

    async def idle(self):
        async with self.connection() as (reader, _):
            await reader.read()
        await asyncio.sleep(1)  # a flood of new connections is for the network to limit

    async def malformed(self):
        async with self.connection() as (reader, writer):
            writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
            await reader.read(65536)

    async def scrape(self):
        async with self.connection(self.target.metrics_port) as (reader, writer):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await reader.read()

    async def watch_health(self):
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.target.grpc_port}", options=options) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(64)]
            results = await asyncio.gather(*(watch.read() for watch in watches), return_exceptions=True)
            self.done["health watches"] += sum(isinstance(each, health_pb2.HealthCheckResponse) for each in results)
            await asyncio.sleep(2)

    # With a token that may only read.

    async def put_deep(self):
        await self.request("PUT", "/v1/entries/a/k", b"[" + b"[]," * (BODY // 3 - 2) + b"[]]")

    async def batch_of_lists(self):
        filler = b"[]," * ((BODY - 100) // 3)
        await self.request("POST", "/v1/batch", b'{"operations":[' + filler + b"[]]}")

    async def batch_of_escapes(self):
        await self.request("POST", "/v1/batch", b'{"operations":["' + rb"\u003a" * ((BODY - 100) // 6) + b'"]}')

    async def batch_of_long_numbers(self):
        await self.request("POST", "/v1/batch", b'{"operations":[' + b"1" * (BODY - 100) + b"]}")

    async def blank_lines(self):
        await self.request("POST", "/v1/import", b"\n" * (2 * BODY))

    async def large_tool_call(self):
        accepts = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
        await self.request("POST", "/mcp", LARGE_CALL, *accepts)

    async def announced_body(self):
        async with self.connection() as (reader, writer):
            writer.write(self.head("POST", "/v1/batch", f"Content-Length: {BODY}"))
            await reader.read(65536)

    async def open_watch(self):
        async with self.connection() as (reader, writer):
            writer.write(self.head("GET", "/v1/watch"))
            await reader.read()

    async def slow_export(self):
        async with self.connection() as (reader, writer):
            writer.write(self.head("GET", "/v1/export?all=true"))
            while await reader.read(100):  # noqa: ASYNC110 - it is slow, and waits for nothing
                await asyncio.sleep(1)

    async def slow_import(self):
        async with self.connection() as (reader, writer):
            writer.write(self.head("POST", "/v1/import", "Transfer-Encoding: chunked"))
            while not reader.at_eof():
                writer.write(b"1\r\n\n\r\n")
                await writer.drain()
                await asyncio.sleep(1)

    async def open_session(self):
        client = {"name": "hostile", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
        accepts = ("Content-Type: application/json", "Accept: application/json, text/event-stream")
        await self.request("POST", "/mcp", body, *accepts)

    async def worst_search(self):
        await self.request("GET", "/v1/search?match=w*%20OR%20v*&limit=1000")

    async def batch_over_grpc(self):
        """Send as many empty operations as fit."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.target.grpc_port}", options=options) as channel:
            batch = channel.unary_unary("/swarm.memory.v1.Memory/Batch", request_serializer=bytes)
            await batch(b"\x0a\x00" * (MESSAGE // 2 - 10), metadata=(("authorization", f"Bearer {self.target.token}"),))

    async def half_a_message(self):
        async with self.connection(self.target.grpc_port) as (reader, writer):
            await send_half_a_message(reader, writer, self.target.token)

    ATTACKS = (
        (many_header_lines, 2),
        (long_header, 2),
        (slow_head, 50),
        (idle, 1100),
        (malformed, 4),
        (scrape, 4),
        (watch_health, 4),
        (put_deep, 2),
        (batch_of_lists, 2),
        (batch_of_escapes, 1),
        (batch_of_long_numbers, 1),
        (blank_lines, 2),
        (large_tool_call, 2),
        (announced_body, 16),
        (open_watch, 120),
        (slow_export, 8),
        (slow_import, 8),
        (open_session, 2),
        (worst_search, 4),
        (half_a_message, 60),
        (batch_over_grpc, 2),
    )
    """Each attack with the number of tasks that carry it out again and again."""

    async def run(self, seconds: float) -> None:
        """Attack for some seconds."""

        async def repeat(attack, delay):
            await asyncio.sleep(delay)
            while True:
                self.done[attack.__name__] += 1
                with contextlib.suppress(OSError, EOFError, grpc.RpcError):
                    await attack(self)
                await asyncio.sleep(0.05)  # the attacker's own processor time is not what is attacked

        tasks = [
            asyncio.create_task(repeat(attack, number * 0.005))
            for attack, most in self.ATTACKS
            for number in range(most)
        ]
        finished, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in finished:
            task.result()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header that is not indexed (RFC 7541, section 6.2.2)."""

    def text(characters: str) -> bytes:
        assert len(characters) < 127
        return bytes((len(characters),)) + characters.encode()

    return b"\0" + text(name) + text(value)


async def send_half_a_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
    """Begin a gRPC message of 3 MiB, send all but its last byte as the flow control allows, and wait."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": "/swarm.memory.v1.Memory/Search", ":authority": "localhost",
        "te": "trailers", "content-type": "application/grpc", "authorization": f"Bearer {token}",
    }  # fmt: skip
    block = b"".join(itertools.starmap(literal, headers.items()))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block))
    # The first field, text of a SearchRequest, fills the message.
    size = MESSAGE - MIB
    message = struct.pack(">BI", 0, size)
    windows, initial, rest = {0: 65535, 1: 65535}, 65535, len(message) + size - 1
    while True:
        part = min(windows[0], windows[1], rest, 16384)
        if part > 0:
            writer.write(frame(0, 0, 1, message + b"x" * (part - len(message)) if message else b"x" * part))
            await writer.drain()
            message = b""
            windows[0] -= part
            windows[1] -= part
            rest -= part
            continue
        head = await reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        stream, payload = int.from_bytes(head[5:9]) & 0x7FFFFFFF, await reader.readexactly(length)
        if kind == 8 and stream in windows:
            windows[stream] += int.from_bytes(payload)
        elif kind == 4 and not flags & 1:
            for number, value in struct.iter_unpack(">HI", payload):
                if number == 4:
                    windows[1] += value - initial
                    initial = value
            writer.write(frame(4, 1, 0, b""))
        elif kind == 6 and not flags & 1:
            writer.write(frame(6, 1, 0, payload))
        elif (kind == 3 and stream == 1) or kind == 7:
            return


def main() -> None:
    """Attack, then print the counts as JSON."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    attacker = Attacker(Target(**json.loads(sys.argv[1])))
    asyncio.run(attacker.run(float(sys.argv[2])))
    sys.stdout.write(json.dumps(attacker.done))


if __name__ == "__main__":
    main()
