"""The same reads and searches at growing numbers of entries, over HTTP, one caller at a time."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.memory.loads import WORDS, Rate, put, value
from bench.memory.servers import Server
from bench.operator import processes

from swarm_operator.memory.client import MemoryClient

_BATCH = 1000
_AT_ONCE = 4
_TAGS = 100
"""So few that each has more entries than a page at every size: the answers are of the same length."""
_TRIES = 1000
_LOADS = 3
"""Of writes, of which the one in the middle counts: the p99 of the same load differs by a factor of two."""
_LONG = 1024 * 1024
_SEED = 20261123


@dataclass(frozen=True, slots=True)
class Size:
    """What a number of entries costs."""

    entries: int
    loaded_per_second: float
    """Entries that batches of 1000 brought."""
    database_mb: float
    ready_seconds: float
    """From the start of a process on this file until it was ready."""
    rss_mb: float
    """After all that was asked."""
    by: dict[str, Rate]
    """For `tag`, `prefix`, `text`, `get` and `put`; the latter with 32 connections."""


async def grow(server: Server, number: int, present: int) -> float:
    """Add entries until there are so many. Returns entries per second."""
    async with _client(server) as memory:
        starts = iter(range(present, number, _BATCH))
        started = time.perf_counter()

        async def load() -> None:
            for first in starts:
                await memory.batch([_operation(each) for each in range(first, min(first + _BATCH, number))])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(load())
        return (number - present) / (time.perf_counter() - started)


async def pad(server: Server, size: int, present: int) -> None:
    """Add values of 1 MiB until the file has so many bytes."""
    async with _client(server) as memory:
        for number in range((size - present) // _LONG + 1):
            await memory.put("long", f"k{number}", secrets.token_hex(_LONG // 2))


async def ask(server: Server, number: int, seconds: float) -> dict[str, Rate]:
    """Search and read, and write with 32 connections."""
    chance = random.Random(_SEED)

    async with _client(server) as memory:
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "tag": lambda: memory.search(tags=[f"t{chance.randrange(_TAGS)}"], limit=20),
            "prefix": lambda: memory.search(prefix=f"k{chance.randrange(number // 10):06}", limit=20),
            "text": lambda: memory.search(text=f"w{chance.randrange(WORDS)}", limit=20),
            "get": lambda: memory.get("big", f"k{chance.randrange(number):07}"),
        }
        rates = {name: await _rate(act) for name, act in asked.items()}
    loads = [await asyncio.to_thread(put, server, 32, seconds) for _ in range(_LOADS)]
    rates["put"] = sorted(loads, key=lambda load: load.p99_ms)[_LOADS // 2]
    return rates


def database_bytes(data: Path) -> int:
    """The database with its log."""
    return sum(path.stat().st_size for path in data.glob("swarm-memory.db*"))


def measure(server: Server, data: Path, loaded: float, number: int, rates: dict[str, Rate]) -> Size:
    """Put the figures of one number of entries together."""
    rss, _ = processes.memory(server.process.pid)
    return Size(number, loaded, database_bytes(data) / 1e6, server.ready_seconds, rss, rates)


async def _rate(act: Callable[[], Awaitable[object]]) -> Rate:
    taken: list[float] = []
    started = time.perf_counter()
    for _ in range(_TRIES):
        before = time.perf_counter()
        await act()
        taken.append(time.perf_counter() - before)
    total = time.perf_counter() - started
    taken.sort()
    return Rate(_TRIES / total, taken[_TRIES // 2] * 1e3, taken[_TRIES * 99 // 100] * 1e3)


def _operation(number: int) -> dict[str, object]:
    tags = [f"t{number % _TAGS}"]
    return {"op": "put", "namespace": "big", "key": f"k{number:07}", "value": value(number), "tags": tags}


def _client(server: Server) -> MemoryClient:
    return MemoryClient(f"http://127.0.0.1:{server.port}", token=server.token)
