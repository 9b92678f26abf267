"""Searches by meaning among many vectors, over HTTP: `python -m bench.memory.meaning`, from the folder `test`.

The database is filled by SQL, as batches of clients would take an hour: half of the vectors lie around 1000 centres,
and half of them have no structure. Every search goes through all of them. Then a process of the service is measured.
A near-duplicate is looked for in a namespace of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvloop
from bench.machine import machine
from bench.memory import servers, sizes
from bench.memory.loads import value
from bench.operator import processes

from swarm_operator.memory.client import MemoryClient, MemoryDuplicateError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3

Vectors = npt.NDArray[np.float32]

_PARENT = "bench"
_KINDS = ("clustered", "random")
_NAMESPACES = ("checked", *(f"{_PARENT}/{kind}" for kind in _KINDS))
_ENTRY = """
    INSERT INTO entries (id, namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value, codec)
    VALUES (?, ?, ?, 1, 1, 1, 0, ?, '[]', '{}', ?, 0)
"""
_SPACE = "INSERT INTO vector_spaces (id, namespace, width, entries, clients) VALUES (?, ?, ?, 0, 0)"
_VECTOR = "INSERT INTO vectors (id, model, space, scale, code) VALUES (?, 0, ?, ?, ?)"
_CENTRES = 1000
_BATCH = 1000
_CHECKED = 10_000
_CHECKED_SEED = 2**30
_CHECKS = 51


def vectors(kind: str, seed: int, count: int, width: int) -> Vectors:
    """Return rows without any structure, or around centres."""
    random = np.random.default_rng([_KINDS.index(kind), seed])
    found = random.standard_normal((count, width), np.float32)
    if kind == "clustered":
        centres = np.random.default_rng(5).standard_normal((_CENTRES, width), np.float32)
        found = centres[random.integers(0, _CENTRES, count)] + np.float32(0.5) * found
    return found


def batches(options: argparse.Namespace) -> Iterator[tuple[str, int, Vectors]]:
    """Yield namespace, first number and vectors of each batch."""
    for start in range(0, options.entries, _BATCH):
        kind = _KINDS[start // _BATCH % 2]
        yield f"{_PARENT}/{kind}", start, vectors(kind, start, min(_BATCH, options.entries - start), options.width)


async def fill(path: Path, options: argparse.Namespace) -> None:
    """Write the entries into a database that is not there, without an index of words: the service makes it."""
    async with SqliteStore.open(path, StoreConfig(full_text=False)):
        pass
    checked = vectors("clustered", _CHECKED_SEED, _CHECKED, options.width)
    parts = ((options.entries + start, checked[start : start + _BATCH]) for start in range(0, _CHECKED, _BATCH))
    namespaces: collections.Counter[str] = collections.Counter()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for space, namespace in enumerate(_NAMESPACES, 1):
            db.execute(_SPACE, (space, namespace, options.width))
        for namespace, start, rows in itertools.chain(batches(options), (("checked", *part) for part in parts)):
            db.execute("BEGIN")
            values = [json.dumps(value(n)).encode() for n in range(start, start + len(rows))]
            named = [(n + 1, namespace, f"{n}", len(each), each) for n, each in enumerate(values, start)]
            db.executemany(_ENTRY, named)
            scales = np.abs(rows).max(axis=1) / 127
            codes = zip(scales.tolist(), np.rint(rows / scales[:, None]).astype(np.int8), strict=True)
            space = 1 + _NAMESPACES.index(namespace)
            coded = [(4 * n + 4, space, scale, code.tobytes()) for n, (scale, code) in enumerate(codes, start)]
            db.executemany(_VECTOR, coded)
            db.execute("COMMIT")
            namespaces[namespace] += len(rows)
        db.executemany("INSERT INTO namespaces (name, entries, bytes) VALUES (?, ?, 0)", namespaces.items())


def nearest(options: argparse.Namespace, queries: Vectors) -> list[set[str]]:
    """Return the keys of the ten nearest entries of each query, by float32."""
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for _, start, rows in batches(options):
        scores = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ unit.T
        for number, its in enumerate(best):
            column = scores[:, number]
            its += [(float(column[n]), f"{start + int(n)}") for n in np.argpartition(-column, 9)[:10]]
            its.sort(reverse=True)
            del its[10:]
    return [{key for _, key in its} for its in best]


class Measured:
    """Times of requests of one kind, and what the service's processor did for them."""

    def __init__(self, name: str, pid: int) -> None:
        self._name = name
        self._pid = pid
        self._times: list[float] = []
        self._cpu = 0.0

    async def run(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """Make a request. Return its result."""
        cpu, started = processes.cpu_seconds(self._pid), time.perf_counter()
        result = await request()
        self._times.append((time.perf_counter() - started) * 1e3)
        self._cpu += processes.cpu_seconds(self._pid) - cpu
        return result

    def line(self, *more: str) -> str:
        """Return a line of the report."""
        times = sorted(self._times)
        middle, last = statistics.median(times), times[len(times) * 99 // 100]
        cpu = self._cpu / len(times) * 1e3
        return "   ".join([f"{self._name:<28} p50 {middle:7.1f}  p99 {last:7.1f}  CPU {cpu:6.1f} ms", *more])


async def search(server: servers.Server, options: argparse.Namespace) -> list[str]:
    """Return lines about searches: times, recall, and what they look at."""
    lines = []
    kinds = {kind: vectors(kind, 2**31, options.queries, options.width) for kind in _KINDS}
    exact = {kind: await asyncio.to_thread(nearest, options, queries) for kind, queries in kinds.items()}
    async with client(server) as memory:
        for kind, queries in kinds.items():
            meaning, hybrid = (Measured(f"{mode}, {kind}", server.process.pid) for mode in ("meaning", "hybrid"))
            hits = 0
            for number, query in enumerate(queries):
                asked = {"namespace": _PARENT, "subtree": True, "vector": query.tobytes(), "limit": 10}
                page = await meaning.run(lambda asked=asked: memory.search(**asked))  # type: ignore[misc]
                hits += len({hit.key for hit in page.hits} & exact[kind][number])
                asked |= {"text": f"w{7 * number}", "mode": "hybrid"}
                await hybrid.run(lambda asked=asked: memory.search(**asked))  # type: ignore[misc]
            lines += [meaning.line(f"recall@10 {hits / 10 / len(queries):.3f}"), hybrid.line()]
    return lines


async def check(server: servers.Server, options: argparse.Namespace) -> str:
    """Return a line about writes that look for a near-duplicate, find it, and are refused."""
    found = vectors("clustered", _CHECKED_SEED, _CHECKED, options.width)[:_CHECKS]
    measured = Measured(f"a check among {_CHECKED:,}", server.process.pid)
    async with client(server) as memory:

        async def refused(row: Vectors) -> None:
            with contextlib.suppress(MemoryDuplicateError):
                await memory.put("checked", "new", 1, vector=row.tobytes(), on_duplicate="refuse", threshold=0.99)
                raise RuntimeError("a near-duplicate was not found")

        for row in found:
            await measured.run(lambda row=row: refused(row))  # type: ignore[misc]
    return measured.line()


async def others(server: servers.Server, options: argparse.Namespace) -> list[str]:
    """Return lines about GETs and lists of one caller, alone and beside two clients that search without a pause."""
    lines = []
    queries = itertools.cycle(vectors("random", 2**31, 32, options.width))
    async with client(server) as memory:
        for title, searchers in (("alone", 0), ("beside searches", 2)):
            get, listing = (Measured(f"{act}, {title}", server.process.pid) for act in ("GET", "list"))
            async with searching(server, queries, searchers):
                for number in range(10 * options.queries):
                    namespace = f"{_PARENT}/{_KINDS[number % 2]}"
                    key = f"{(2 * number * 7919 + number % 2) * _BATCH % options.entries}"
                    await get.run(lambda namespace=namespace, key=key: memory.get(namespace, key))  # type: ignore[misc]
                    await listing.run(lambda namespace=namespace: memory.list(namespace, limit=1))  # type: ignore[misc]
            lines += [get.line(), listing.line()]
    return lines


@contextlib.asynccontextmanager
async def searching(server: servers.Server, queries: Iterator[Vectors], count: int) -> AsyncIterator[None]:
    """Search by meaning without a pause."""

    async def run() -> None:
        async with client(server) as memory:
            for query in queries:
                await memory.search(vector=query.tobytes(), limit=10)

    tasks = [asyncio.create_task(run()) for _ in range(count)]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()  # the error that ended it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def indexed(server: servers.Server) -> None:
    """Wait until the words of all entries are in the index."""
    async with client(server) as memory:
        while (await memory.stats()).raw["index"]["rebuilding"]:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(1)


async def loaded(server: servers.Server, options: argparse.Namespace) -> float:
    """Return the seconds of the first search until all bits are in memory."""
    started = time.perf_counter()
    query = vectors("random", 2**31, 1, options.width)[0].tobytes()
    async with client(server) as memory:
        while (await memory.search(vector=query, limit=1)).searched["partial"]:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)
    return time.perf_counter() - started


def memory_of(pid: int) -> tuple[float, float]:
    """Return resident memory in MB of 10^6 bytes: the process' own, and files that are mapped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return kib["RssAnon"] * 1024 / 1e6, kib["RssFile"] * 1024 / 1e6


def client(server: servers.Server) -> MemoryClient:
    """Return a client of the service."""
    return MemoryClient(f"http://127.0.0.1:{server.port}", token=server.token)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.meaning", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries with vectors (default: 1000000)")
    parser.add_argument("--width", type=int, default=256, help="dimensions of the vectors (default: 256)")
    parser.add_argument("--queries", type=int, default=100, help="searches of each kind (default: 100)")
    parser.add_argument("--data", type=Path, help="data directory to use and keep; filled if it has no database")
    options = parser.parse_args()
    for line in machine(f"SQLite {sqlite3.sqlite_version}; numpy {np.__version__}"):
        print(line)
    with tempfile.TemporaryDirectory() as name:
        data = options.data or Path(name)
        path = data / "swarm-memory.db"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            uvloop.run(fill(path, options))
        with servers.swarm_memory(data) as server:
            uvloop.run(indexed(server))
        print(f"{options.entries:,} vectors of {options.width}, and {_CHECKED:,} to check", flush=True)
        with servers.swarm_memory(data) as server:
            anonymous, mapped = memory_of(server.process.pid)
            print(f"database {sizes.database_bytes(data) / 1e6:,.0f} MB; ready in {server.ready_seconds:.2f} s")
            print(f"RSS before the first search {anonymous:.0f} MB, and {mapped:.0f} MB of files that are mapped")
            cpu = processes.cpu_seconds(server.process.pid)
            seconds = uvloop.run(loaded(server, options))
            cpu = processes.cpu_seconds(server.process.pid) - cpu
            print(f"all vectors are in memory {seconds:.1f} s after the first search, CPU {cpu:.1f} s", flush=True)
            for line in [*uvloop.run(search(server, options)), uvloop.run(check(server, options))]:
                print(line, flush=True)
            anonymous, mapped = memory_of(server.process.pid)
            print(f"RSS {anonymous:.0f} MB, and {mapped:.0f} MB of files that are mapped", flush=True)
            print(*uvloop.run(others(server, options)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
