"""kill -9 under load: every write that was acknowledged is there afterwards."""

import asyncio
import contextlib
import itertools
import random
import signal
from collections import Counter
from dataclasses import dataclass, field

import grpc
import httpx2
import orjson
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.budget import budget

from swarm_operator.memory.client import MemoryClient, MemoryClientError
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.service.grpc.memory_pb2 import BatchRequest, PutRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.sqlite.database.driver import sqlite3

KILLS = budget(40, long=100)
COLD = budget(4, long=10)
"""Of these, after a start that imports everything itself."""
WRITERS = 4
KEYS = 10
KINDS = ("http", "http-batch", "mcp", "grpc", "grpc-batch")


@dataclass
class Acknowledged:
    """What the service has said that it stored.

    Attributes:
        entries: version and value by key, of those in the namespace `n`.
        batches: the number that a batch gave to ten entries of the namespace `b`, by the batch's name.
        by: how often each kind of writer was acknowledged.
        refused: answers that refuse; there must be none.
    """

    entries: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)
    by: Counter = field(default_factory=Counter)
    refused: list = field(default_factory=list)
    numbers: itertools.count = field(default_factory=itertools.count)

    def values(self, name):
        """Keys and values without an end. A few keys are written again and again, some values are long."""
        for number in self.numbers:
            size = 20_000 if random.random() < 0.05 else random.randrange(500)
            yield f"{name}-{number % KEYS}", [name, number, "x" * size]

    def entry(self, kind, key, version, value):
        self.entries[key] = (version, value)
        self.by[kind] += 1

    def batch(self, kind, name, number):
        self.batches[name] = number
        self.by[kind] += 1


async def write_until_it_dies(memory, name, acknowledged):
    """Overwrite a few keys again and again."""
    with contextlib.suppress(MemoryClientError):
        for key, value in acknowledged.values(name):
            head = await memory.put("n", key, value)
            acknowledged.entry("http", key, head.version, value)


async def write_batches_until_it_dies(memory, name, acknowledged):
    """Give ten entries the same number, again and again."""
    with contextlib.suppress(MemoryClientError):
        for number in acknowledged.numbers:
            await memory.batch([
                {"op": "put", "namespace": "b", "key": f"{name}:{key}", "value": number, "tags": [f"t{number % 3}"]}
                for key in range(10)
            ])  # fmt: skip
            acknowledged.batch("http-batch", name, number)


async def write_by_mcp_until_it_dies(process, name, acknowledged):
    """The same by MCP's tools. The client may meet the end in any of its tasks."""
    with contextlib.suppress(Exception):
        async with (
            httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {process.token}"}, timeout=30) as http,
            Client(streamable_http_client(f"{process.url}/mcp", http_client=http), mode="legacy") as client,
        ):
            for key, value in acknowledged.values(name):
                answer = await client.call_tool("memory_store", {"namespace": "n", "key": key, "value": value})
                if answer.is_error:
                    acknowledged.refused.append(answer)
                    return
                acknowledged.entry("mcp", key, orjson.loads(answer.content[0].text)["version"], value)


async def write_by_grpc_until_it_dies(process, name, acknowledged):
    """The same over gRPC, entries and batches by turns."""
    metadata = (("authorization", f"Bearer {process.token}"),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.log[-1]['grpc_port']}") as channel:
        memory = MemoryStub(channel)
        try:
            for key, value in acknowledged.values(name):
                request = PutRequest(namespace="n", key=key, value=orjson.dumps(value))
                answer = await memory.Put(request, metadata=metadata)
                acknowledged.entry("grpc", key, answer.entry.version, value)
                number = next(acknowledged.numbers)
                puts = [PutRequest(namespace="b", key=f"{name}:{key}", value=b"%d" % number) for key in range(10)]
                await memory.Batch(
                    BatchRequest(operations=[BatchRequest.Operation(put=put) for put in puts]), metadata=metadata
                )
                acknowledged.batch("grpc-batch", name, number)
        except grpc.aio.AioRpcError as error:
            assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}  # noqa: PT017


async def check_all_is_there(memory, acknowledged):
    """Every acknowledged write, and every batch whole. Says how many entries there are."""
    found = {entry.key: entry async for entry in memory.iterate("n", page=1000)}
    assert acknowledged.entries.keys() <= found.keys()
    for key, (version, value) in acknowledged.entries.items():
        # A later version is one whose answer the kill has cut off: stored whole, told to nobody.
        assert found[key].version >= version
        if found[key].version == version:
            assert found[key].value == value
    numbers = {}
    async for entry in memory.iterate("b", page=1000):
        numbers.setdefault(entry.key.split(":")[0], []).append(entry.value)
    for name, number in acknowledged.batches.items():
        assert len(numbers[name]) == 10
        assert len(set(numbers[name])) == 1, "half a batch"
        assert numbers[name][0] >= number
    return len(found) + sum(map(len, numbers.values()))


def check_file(path):
    """Pages, counts and indexes of a file that is not in use."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = database.execute("SELECT sum(entries), sum(bytes) FROM namespaces").fetchone()
        assert counted == database.execute("SELECT count(*), sum(size) FROM entries").fetchone()
        packed = database.execute("SELECT entries, raw, stored FROM compression").fetchone()
        rows = "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(length(value)), 0) FROM entries WHERE codec <> 0"
        assert packed == database.execute(rows).fetchone()
        check_indexes(database)


def check_integrity(path):
    """Pages of a file that is in use."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_indexes(database):
    """What searches and watches look up is what there is."""
    tags = "SELECT each.value, namespace, entries.key FROM entries, json_each(tags) AS each ORDER BY 1, 2, 3"
    assert database.execute("SELECT * FROM entry_tags").fetchall() == database.execute(tags).fetchall()
    database.execute("INSERT INTO entries_text (entries_text) VALUES ('integrity-check')")
    rows = database.execute("SELECT id FROM entries ORDER BY id").fetchall()
    assert database.execute("SELECT rowid FROM entries_text").fetchall() == rows
    known = {}
    for op, namespace, key, version in database.execute("SELECT op, namespace, key, version FROM changes ORDER BY seq"):
        if op == Op.PUT:
            known[namespace, key] = version
        else:
            assert known.pop((namespace, key)) == version
    found = database.execute("SELECT namespace, key, version FROM entries").fetchall()
    assert known == {(namespace, key): version for namespace, key, version in found}


@pytest.mark.timeout(900)
async def test_no_acknowledged_write_is_lost_when_the_process_is_killed_again_and_again(start_process, fork_process):
    """At random moments, with writers on all three protocols; each restart is followed by a full check.

    It is killed 40 times in `make test`, and 100 times in `make test-long`.
    """
    acknowledged = Acknowledged()
    for cycle in range(KILLS + 1):
        start = start_process if cycle % (KILLS // COLD) == 0 else fork_process
        process = await start("--mcp", "true", *(["--enable-wal", "false"] if cycle % 3 == 2 else []))
        async with MemoryClient(process.url, token=process.token, retries=0) as memory:
            there = await check_all_is_there(memory, acknowledged)
            assert (await memory.stats()).entries == there
            check_integrity(process.data_dir / "swarm-memory.db")
            if cycle == KILLS:
                break
            former = Counter(acknowledged.by)
            writers = [
                asyncio.ensure_future(writer)
                for writer in (
                    *(write_until_it_dies(memory, f"w{number}", acknowledged) for number in range(WRITERS)),
                    *(write_batches_until_it_dies(memory, f"b{number}", acknowledged) for number in range(2)),
                    *(write_by_mcp_until_it_dies(process, f"m{number}", acknowledged) for number in range(2)),
                    *(write_by_grpc_until_it_dies(process, f"g{number}", acknowledged) for number in range(2)),
                )
            ]
            while not all(acknowledged.by[kind] > former[kind] for kind in KINDS):
                await asyncio.sleep(0.005)
                assert not any(writer.done() for writer in writers), acknowledged.refused
            await asyncio.sleep(random.uniform(0, 0.1))
            await process.stop(signal.SIGKILL)
            await asyncio.gather(*writers)
    assert acknowledged.refused == []
    assert {key[0] for key in acknowledged.entries} == {"w", "m", "g"}
    await process.stop(signal.SIGKILL)
    check_file(process.data_dir / "swarm-memory.db")


async def collect_until_it_dies(url, token):
    async with MemoryClient(url, token=token, retries=0) as admin:
        while True:
            try:
                await admin.gc()
            except MemoryClientError:
                return


async def expire_until_it_dies(memory, name):
    for number in range(1_000_000):
        try:
            await memory.put("short", f"{name}-{number}", ["y" * random.choice([10, 30_000])], ttl=1)
        except MemoryClientError:
            return


async def test_a_kill_during_garbage_collection_loses_nothing_that_lives(fork_process):
    acknowledged = Acknowledged()
    for cycle in range(5):
        process = await fork_process("--gc-interval", "1")
        admin = (process.data_dir / "tokens" / "admin-token").read_text().strip()
        async with MemoryClient(process.url, token=process.token, retries=0) as memory:
            await check_all_is_there(memory, acknowledged)
            if cycle == 4:
                break
            former = acknowledged.by["http"]
            tasks = [
                asyncio.ensure_future(task)
                for task in (
                    *(write_until_it_dies(memory, f"w{number}", acknowledged) for number in range(2)),
                    *(expire_until_it_dies(memory, f"{cycle}-{number}") for number in range(4)),
                    collect_until_it_dies(process.url, admin),
                )
            ]
            while acknowledged.by["http"] == former:
                await asyncio.sleep(0.005)
                assert not any(task.done() for task in tasks)
            await asyncio.sleep(random.uniform(1.1, 1.5))
            await process.stop(signal.SIGKILL)
            await asyncio.gather(*tasks)
    await process.stop(signal.SIGKILL)
    check_file(process.data_dir / "swarm-memory.db")
