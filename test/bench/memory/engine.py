"""The engine without a network: callers in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.memory.loads import BATCH, KEYS, Rate, value

from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.writes import Put
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig


async def put_and_get(path: Path, callers: int, seconds: float) -> dict[str, Rate]:
    """The rates of `put`, `get` and batches of 100 puts, the last one by values."""
    async with SqliteStore.open(path, StoreConfig()) as store:

        async def put(number: int) -> None:
            await store.put("bench", f"k{number % KEYS}", value(number))

        async def get(number: int) -> None:
            await store.get("bench", f"k{number % KEYS}")

        async def batch(number: int) -> None:
            numbers = range(number * BATCH, (number + 1) * BATCH)
            await store.batch([Put(Draft.create("batch", f"k{each % KEYS}", value(each))) for each in numbers])

        rates = {"put": await _rate(put, callers, seconds), "get": await _rate(get, callers, seconds)}
        batches = await _rate(batch, callers, seconds)
        return rates | {"batch": Rate(batches.per_second * BATCH, batches.p50_ms, batches.p99_ms)}


async def _rate(act: Callable[[int], Awaitable[None]], callers: int, seconds: float) -> Rate:
    taken: list[float] = []
    number = 0
    started = time.perf_counter()

    async def caller() -> None:
        nonlocal number
        while (before := time.perf_counter()) < started + seconds:
            number += 1
            await act(number)
            taken.append(time.perf_counter() - before)

    await asyncio.gather(*(caller() for _ in range(callers)))
    total = time.perf_counter() - started
    taken.sort()
    return Rate(len(taken) / total, taken[len(taken) // 2] * 1e3, taken[len(taken) * 99 // 100] * 1e3)
