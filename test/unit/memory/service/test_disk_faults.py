"""The real service on a disk that is full, or fails: what each protocol says, and what is there afterwards."""

import asyncio
import base64
import contextlib
import json
import os
import resource
import signal
import subprocess

import grpc
import httpx2
import orjson
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from swarm_operator.memory.client import MemoryClient, MemoryClientError
from swarm_operator.memory.service.grpc.memory_pb2 import BatchRequest, GetRequest, Problem, PutRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.sqlite.database.driver import sqlite3

MIB = 1024 * 1024
PROTOCOLS = ("http", "grpc", "mcp")


def value(size=30_000):
    """Bytes that can't be compressed: 30 KB by default."""
    return base64.b64encode(os.urandom(size)).decode()


class Hands:
    """Writes and reads over each protocol; a refusal is its code."""

    def __init__(self, memory, stub, metadata, mcp):
        self._memory = memory
        self._stub = stub
        self._metadata = metadata
        self._mcp = mcp
        self.acknowledged = {}

    async def put(self, protocol, key, stored):
        """The problem's code and the protocol's own status; None when it was acknowledged."""
        if protocol == "http":
            try:
                await self._memory.put("n", key, stored)
            except MemoryClientError as error:
                return error.code, error.status
        elif protocol == "grpc":
            request = PutRequest(namespace="n", key=key, value=orjson.dumps(stored))
            if refused := await self._call(self._stub.Put(request, metadata=self._metadata)):
                return refused
        else:
            answer = await self._mcp.call_tool("memory_store", {"namespace": "n", "key": key, "value": stored})
            if answer.is_error:
                error = json.loads(answer.content[0].text)["error"]
                return error["code"], error["retry"]
        self.acknowledged[key] = stored
        return None

    async def batch(self, protocol, name):
        """Ten entries at once. MCP has no batch."""
        stored = value()
        entries = [{"namespace": "b", "key": f"{name}:{number}", "value": stored} for number in range(10)]
        if protocol == "http":
            try:
                await self._memory.batch([{"op": "put", **entry} for entry in entries])
            except MemoryClientError as error:
                return error.code, error.status
            return None
        puts = [BatchRequest.Operation(put=PutRequest(**{**entry, "value": orjson.dumps(stored)})) for entry in entries]
        return await self._call(self._stub.Batch(BatchRequest(operations=puts), metadata=self._metadata))

    async def get(self, protocol, key):
        if protocol == "http":
            return (await self._memory.get("n", key)).value
        if protocol == "grpc":
            request = GetRequest(namespace="n", key=key)
            return orjson.loads((await self._stub.Get(request, metadata=self._metadata)).value)
        listed = await self._mcp.call_tool("memory_list", {"namespace": "n", "prefix": key, "limit": 1})
        assert json.loads(listed.content[0].text)["entries"][0]["key"] == key
        return self.acknowledged[key]

    async def readiness(self):
        return await self._memory.ready()

    async def fault(self):
        return (await self._memory.stats()).fault

    async def write_until_refused(self, protocol, name, most=2000):
        """What refused a write, and what a batch, once nothing fits any more."""
        for number in range(most):
            if refused := await self.put(protocol, f"{name}-{number}", value()):
                return refused
        raise AssertionError("the disk never failed")

    async def check(self):
        """All that was acknowledged is there, on each protocol something of it is read, and no batch is half."""
        found = {entry.key: entry.value async for entry in self._memory.iterate("n", page=100)}
        assert found.items() >= self.acknowledged.items()
        for protocol in PROTOCOLS:
            for key in list(self.acknowledged)[:3]:
                assert await self.get(protocol, key) == self.acknowledged[key]
        batches = {}
        async for entry in self._memory.iterate("b", page=100):
            batches.setdefault(entry.key.split(":")[0], []).append(entry.value)
        assert all(len(values) == 10 and len(set(values)) == 1 for values in batches.values())

    @staticmethod
    async def _call(call):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            problem = Problem.FromString(dict(error.trailing_metadata())["swarm-problem-bin"])
            return problem.code, error.code().name
        return None


@contextlib.asynccontextmanager
async def hands_on(process, acknowledged=None):
    """Clients of a process, on each protocol."""
    async with (
        MemoryClient(process.url, token=process.token, retries=0) as memory,
        grpc.aio.insecure_channel(f"127.0.0.1:{process.log[-1]['grpc_port']}") as channel,
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {process.token}"}, timeout=30) as http,
        Client(streamable_http_client(f"{process.url}/mcp", http_client=http), mode="legacy") as mcp,
    ):
        hands = Hands(memory, MemoryStub(channel), (("authorization", f"Bearer {process.token}"),), mcp)
        hands.acknowledged = {} if acknowledged is None else acknowledged
        yield hands


async def until_ready(hands):
    async with asyncio.timeout(60):
        while not (readiness := await hands.readiness()).ready:
            assert readiness.reason, "it says why"
            await asyncio.sleep(0.05)


def check_file(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of 24 MiB, 8 of which are taken by the file `ballast`."""
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", directory], check=True)
    (directory / "ballast").write_bytes(b"\0" * 8 * MIB)
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.parametrize("journal", ["wal", "rollback journal"])
async def test_a_full_disk(fork_process, small_disk, eventually, journal):
    flags = ("--mcp", "true", "--enable-wal", str(journal == "wal").lower())
    process = await fork_process(*flags, data_dir=small_disk / "data")
    async with hands_on(process) as hands:
        codes = await asyncio.gather(*(hands.write_until_refused(protocol, protocol) for protocol in PROTOCOLS))
        assert dict(zip(PROTOCOLS, codes, strict=True)) == {
            "http": ("disk-full", 507),
            "grpc": ("disk-full", "RESOURCE_EXHAUSTED"),
            "mcp": ("disk-full", False),
        }
        assert await hands.batch("http", "h") == ("disk-full", 507)
        assert await hands.batch("grpc", "g") == ("disk-full", "RESOURCE_EXHAUSTED")
        assert (await hands.readiness()).ready, "reads and deletes work"
        assert await hands.fault() == "disk-full"
        await hands.check()
        acknowledged = hands.acknowledged
        assert len(acknowledged) > 30
        await process.stop(signal.SIGKILL)

    process = await fork_process(*flags, data_dir=small_disk / "data")
    assert process.url, process.log
    async with hands_on(process, acknowledged) as hands:
        await hands.check()
        for protocol in PROTOCOLS:
            # The restart has moved the log into the file, which may have made room.
            assert (await hands.write_until_refused(protocol, f"again-{protocol}"))[0] == "disk-full"
        (small_disk / "ballast").unlink()

        async def writes():
            return await hands.fault() is None

        await eventually(writes, seconds=60)
        for protocol in PROTOCOLS:
            assert await hands.put(protocol, f"after-{protocol}", value()) is None
        assert await hands.batch("http", "h") is None
        assert await hands.batch("grpc", "g") is None
        await hands.check()
    assert await process.stop(signal.SIGTERM) == 0
    check_file(small_disk / "data" / "swarm-memory.db")


@pytest.mark.parametrize("journal", ["wal", "rollback journal"])
async def test_writes_that_fail(fork_process, journal):
    """Files may not grow any more (EFBIG), which SQLite takes for an error of the device; then they may again."""
    flags = ("--mcp", "true", "--enable-wal", str(journal == "wal").lower())
    process = await fork_process(*flags)
    async with hands_on(process) as hands:
        for protocol in PROTOCOLS:
            assert await hands.put(protocol, f"before-{protocol}", value()) is None
        hard = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE)[1]
        # What is in the file can be written again, as a rollback needs.
        most = (process.data_dir / "swarm-memory.db").stat().st_size + 64 * 1024
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (most, hard))
        codes = await asyncio.gather(*(hands.write_until_refused(protocol, protocol) for protocol in PROTOCOLS))
        assert dict(zip(PROTOCOLS, codes, strict=True)) == {
            "http": ("io-error", 503),
            "grpc": ("io-error", "UNAVAILABLE"),
            "mcp": ("io-error", True),
        }
        assert await hands.batch("http", "h") == ("io-error", 503)
        assert await hands.batch("grpc", "g") == ("io-error", "UNAVAILABLE")
        assert not (await hands.readiness()).ready
        await hands.check()
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await until_ready(hands)
        for protocol in PROTOCOLS:
            assert await hands.put(protocol, f"after-{protocol}", value()) is None
        await hands.check()
        acknowledged = hands.acknowledged
    await process.stop(signal.SIGKILL)
    process = await fork_process(*flags)
    async with hands_on(process, acknowledged) as hands:
        await hands.check()
    await process.stop(signal.SIGKILL)
    check_file(process.data_dir / "swarm-memory.db")


@pytest.mark.parametrize("journal", ["wal", "rollback journal"])
async def test_syncs_that_fail(fork_process, journal):
    """fsync and fdatasync fail with EIO: nothing is acknowledged, for nobody knows what is on disk."""
    flags = ("--mcp", "true", "--enable-wal", str(journal == "wal").lower())
    process = await fork_process(*flags)
    async with hands_on(process) as hands:
        for protocol in PROTOCOLS:
            assert await hands.put(protocol, f"before-{protocol}", value()) is None
        process.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(60):
            while await hands.put("http", "first", value()) is None:  # the signal may come a little later
                pass
        known = dict(hands.acknowledged)
        for protocol, status in zip(PROTOCOLS, (503, "UNAVAILABLE", True), strict=True):
            for number in range(5):
                assert await hands.put(protocol, f"lost-{protocol}-{number}", value()) == ("io-error", status)
        assert await hands.batch("http", "h") == ("io-error", 503)
        assert await hands.batch("grpc", "g") == ("io-error", "UNAVAILABLE")
        assert hands.acknowledged == known
        assert not (await hands.readiness()).ready
        await hands.check()
    await process.stop(signal.SIGKILL)
    process = await fork_process(*flags)
    async with hands_on(process, known) as hands:
        await until_ready(hands)
        await hands.check()
        for protocol in PROTOCOLS:
            assert await hands.put(protocol, f"after-{protocol}", value()) is None
    await process.stop(signal.SIGKILL)
    check_file(process.data_dir / "swarm-memory.db")


async def test_checkpoints_that_fail(fork_process):
    """The database can't be synced, its log can: what is acknowledged is in the log, and it is not given up."""
    process = await fork_process("--mcp", "true")
    failed = 'swarm_memory_errors_total{code="io-error"} '
    async with hands_on(process) as hands, httpx2.AsyncClient(verify=False, timeout=60) as http:

        async def failures():
            metrics = (await http.get(f"{process.metrics_url}/metrics")).text
            return float(metrics.partition(failed)[2].partition("\n")[0])

        process.process.send_signal(signal.SIGUSR2)
        number = 0
        async with asyncio.timeout(300):
            while await failures() < 2:
                for _ in range(9):
                    protocol = PROTOCOLS[number % 3]
                    assert await hands.put(protocol, f"k{number}", value(300_000)) is None
                    number += 1
        assert (await hands.readiness()).ready
        await hands.check()
        acknowledged = hands.acknowledged
    await process.stop(signal.SIGKILL)
    assert any("checkpoint" in line.get("reason", "") for line in process.log)
    log = process.data_dir / "swarm-memory.db-wal"
    assert log.stat().st_size > 16 * MIB
    process = await fork_process("--mcp", "true")
    async with hands_on(process, acknowledged) as hands:
        await hands.check()
    assert await process.stop(signal.SIGTERM) == 0
    check_file(process.data_dir / "swarm-memory.db")
    assert not log.exists()
