"""kill -9 under load: every write that was acknowledged is there afterwards."""

import asyncio
import contextlib
import random
import signal

import grpc
import httpx2
import orjson
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from swarm_operator.memory.client import MemoryClient, MemoryClientError
from swarm_operator.memory.engine.changes import Op
from swarm_operator.memory.engine.sqlite import sqlite3
from swarm_operator.memory.service.grpc.memory_pb2 import PutRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

CYCLES = 10
WRITERS = 8
KEYS = 40


async def write_until_it_dies(memory, name, acknowledged, enough):
    """Overwrite a few keys again and again; note the version and value of each acknowledged write."""
    for number in range(1_000_000):
        key = f"{name}-{number % KEYS}"
        value = [name, number, "x" * random.choice([random.randrange(2000), 20_000])]
        try:
            head = await memory.put("n", key, value)
        except MemoryClientError:
            return
        acknowledged[key] = (head.version, value)
        enough.set()


async def write_batches_until_it_dies(memory, name, acknowledged):
    """Give ten entries the same number, again and again."""
    for number in range(1_000_000):
        try:
            await memory.batch([
                {"op": "put", "namespace": "b", "key": f"{name}:{key}", "value": number, "tags": [f"t{number % 3}"]}
                for key in range(10)
            ])  # fmt: skip
        except MemoryClientError:
            return
        acknowledged[name] = number


async def write_by_mcp_until_it_dies(url, token, name, acknowledged, enough, refused):
    """The same by MCP's tools. The client may meet the end in any of its tasks."""
    with contextlib.suppress(Exception):
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as client,
        ):
            for number in range(1_000_000):
                key = f"{name}-{number % KEYS}"
                value = [name, number, "x" * random.choice([random.randrange(2000), 20_000])]
                answer = await client.call_tool("memory_store", {"namespace": "n", "key": key, "value": value})
                if answer.is_error:
                    refused.append(answer)
                    return
                acknowledged[key] = (answer.structured_content["version"], value)
                enough.set()


async def write_by_grpc_until_it_dies(port, token, name, acknowledged, enough):
    """The same over gRPC."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        memory = MemoryStub(channel)
        for number in range(1_000_000):
            key = f"{name}-{number % KEYS}"
            value = [name, number, "x" * random.choice([random.randrange(2000), 20_000])]
            request = PutRequest(namespace="n", key=key, value=orjson.dumps(value))
            try:
                answer = await memory.Put(request, metadata=(("authorization", f"Bearer {token}"),))
            except grpc.aio.AioRpcError as error:
                assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}  # noqa: PT017
                return
            acknowledged[key] = (answer.entry.version, value)
            enough.set()


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


async def test_no_acknowledged_write_is_lost_when_the_process_is_killed(start_process):
    acknowledged, batches, refused = {}, {}, []
    for cycle in range(CYCLES + 1):
        process = await start_process("--mcp", "true", *(["--enable-wal", "false"] if cycle % 3 == 2 else []))
        async with MemoryClient(process.url, token=process.token, retries=0) as memory:
            found = {entry.key: entry async for entry in memory.iterate("n", page=1000)}
            assert acknowledged.keys() <= found.keys()
            for key, (version, value) in acknowledged.items():
                # A later version is one whose answer the kill has cut off: stored whole, told to nobody.
                assert found[key].version >= version
                if found[key].version == version:
                    assert found[key].value == value
            numbers = {}
            async for entry in memory.iterate("b", page=1000):
                numbers.setdefault(entry.key.split(":")[0], []).append(entry.value)
            for name, number in batches.items():
                assert len(numbers[name]) == 10
                assert len(set(numbers[name])) == 1, "half a batch"
                assert numbers[name][0] >= number
            whole = sum(map(len, numbers.values()))
            assert (await memory.stats()).entries == len(found) + whole
            if cycle == CYCLES:
                break
            enough = asyncio.Event()
            writers = [
                asyncio.ensure_future(write_until_it_dies(memory, f"w{number}", acknowledged, enough))
                for number in range(WRITERS)
            ]
            writers += [
                asyncio.ensure_future(write_batches_until_it_dies(memory, f"{cycle}-{number}", batches))
                for number in range(2)
            ]
            by_mcp = asyncio.Event()
            writers += [
                asyncio.ensure_future(
                    write_by_mcp_until_it_dies(process.url, process.token, f"m{number}", acknowledged, by_mcp, refused)
                )
                for number in range(2)
            ]
            by_grpc, port = asyncio.Event(), process.log[-1]["grpc_port"]
            writers += [
                asyncio.ensure_future(
                    write_by_grpc_until_it_dies(port, process.token, f"g{number}", acknowledged, by_grpc)
                )
                for number in range(2)
            ]
            await enough.wait()
            await by_mcp.wait()
            await by_grpc.wait()
            await asyncio.sleep(random.uniform(0, 0.25))
            await process.stop(signal.SIGKILL)
            await asyncio.gather(*writers)
    assert len(acknowledged) > WRITERS
    assert {key[0] for key in acknowledged} == {"w", "m", "g"}
    assert refused == []
    await process.stop(signal.SIGKILL)
    database = sqlite3.connect(process.data_dir / "swarm-memory.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    counted = database.execute("SELECT sum(entries), sum(bytes) FROM namespaces").fetchone()
    assert counted == database.execute("SELECT count(*), sum(size) FROM entries").fetchone()
    packed = database.execute("SELECT entries, raw, stored FROM compression").fetchone()
    rows = "SELECT count(*), sum(size), sum(length(value)) FROM entries WHERE codec <> 0"
    assert packed == database.execute(rows).fetchone()
    check_indexes(database)
    database.close()


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


async def test_a_kill_during_garbage_collection_loses_nothing_that_lives(start_process):
    acknowledged = {}
    for cycle in range(5):
        process = await start_process("--gc-interval", "1")
        admin = (process.data_dir / "tokens" / "admin-token").read_text().strip()
        async with MemoryClient(process.url, token=process.token, retries=0) as memory:
            found = {entry.key: entry async for entry in memory.iterate("n", page=1000)}
            assert acknowledged.keys() <= found.keys()
            for key, (version, value) in acknowledged.items():
                assert found[key].version >= version
                if found[key].version == version:
                    assert found[key].value == value
            if cycle == 4:
                break
            enough = asyncio.Event()
            tasks = [
                asyncio.ensure_future(task)
                for task in (
                    *(write_until_it_dies(memory, f"w{number}", acknowledged, enough) for number in range(2)),
                    *(expire_until_it_dies(memory, f"{cycle}-{number}") for number in range(4)),
                    collect_until_it_dies(process.url, admin),
                )
            ]
            await enough.wait()
            await asyncio.sleep(random.uniform(1.1, 1.5))
            await process.stop(signal.SIGKILL)
            await asyncio.gather(*tasks)
    await process.stop(signal.SIGKILL)
    database = sqlite3.connect(process.data_dir / "swarm-memory.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    counted = database.execute("SELECT sum(entries), sum(bytes) FROM namespaces").fetchone()
    assert counted == database.execute("SELECT count(*), sum(size) FROM entries").fetchone()
    packed = database.execute("SELECT entries, raw, stored FROM compression").fetchone()
    rows = "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(length(value)), 0) FROM entries WHERE codec <> 0"
    assert packed == database.execute(rows).fetchone()
    check_indexes(database)
    database.close()
