"""`python -m bench.memory.settings`, from the folder `test`: what clients see when settings change.

Writers put small values without retries, each every 20 ms. Meanwhile each live setting is changed, a full cache shrinks
to one entry, and the service is ended with SIGTERM and started again on the same port. In a cluster
`test/e2e/test_downtime.py` measures the same with a pod.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench.machine import machine
from support.controlplane import free_port
from support.memory_process import Process

from swarm_operator.memory.client import MemoryClient, MemoryClientError

WRITERS = 8
LARGE_CACHE = {"cache_size": 1_000_000, "cache_memory_mb": 1000}
CHANGES = (
    {"cache_memory_mb": 900},
    {"compression_threshold": 0},
    {"compression_threshold": 100},
    {"gc_interval_seconds": 1},
    {"enable_vacuum": False},
    {"log_level": "warning"},
    {"cache_size": 1},
)


@dataclass(slots=True)
class Puts:
    """What the writers saw."""

    last: float
    done: int = 0
    failed: int = 0
    longest: float = 0.0
    """Seconds between two successes of any writer."""

    def succeeded(self) -> None:
        now = time.monotonic()
        self.longest, self.last, self.done = max(self.longest, now - self.last), now, self.done + 1


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.settings", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="entries in the cache (default: 100000)")
    parser.add_argument("--restarts", type=int, default=5, help="restarts (default: 5)")
    options = parser.parse_args()
    for line in machine("swarm-memory"):
        print(line)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name) / "data", options.entries, options.restarts))


async def _run(data: Path, entries: int, restarts: int) -> None:
    flags = ("--http-port", str(free_port()))
    process = await Process.start(data, *flags)
    try:
        token = (data / "tokens" / "admin-token").read_text().strip()
        async with MemoryClient(process.url, token=token, timeout=60) as admin:
            await admin.settings.change(LARGE_CACHE)
            for start in range(0, entries, 1000):
                numbers = range(start, min(start + 1000, entries))
                await admin.batch([{"op": "put", "namespace": "f", "key": f"k{n}", "value": n} for n in numbers])
            print(f"entries in the cache: {(await admin.stats()).raw['cache']['entries']:,}")
            for change in CHANGES:
                async with _putting(process) as puts:
                    await asyncio.sleep(0.5)
                    await admin.settings.change(change)
                    await asyncio.sleep(1.5)
                _say(f"{change}", puts)
            for _ in range(restarts):
                async with _putting(process) as puts:
                    await asyncio.sleep(0.5)
                    started = time.monotonic()
                    await process.stop(signal.SIGTERM)
                    ended = time.monotonic() - started
                    wal = data / "swarm-memory.db-wal"
                    left = wal.stat().st_size if wal.exists() else 0
                    process = await Process.start(data, *flags)
                    await asyncio.sleep(1.5)
                _say(f"a restart (ends after {ended:.2f} s, leaves a log of {left} bytes)", puts)
    finally:
        await process.stop(signal.SIGKILL)


@contextlib.asynccontextmanager
async def _putting(process: Process) -> AsyncIterator[Puts]:
    """Let the writers write inside this context."""
    puts = Puts(time.monotonic())
    async with MemoryClient(process.url, token=process.token, retry_for=0) as memory:

        async def put(writer: int) -> None:
            number = 0
            while True:
                number += 1
                try:
                    await memory.put("bench", f"{writer}-{number % 100}", "word " * 40)
                except MemoryClientError:
                    puts.failed += 1
                else:
                    puts.succeeded()
                await asyncio.sleep(0.02)

        writers = [asyncio.create_task(put(number)) for number in range(WRITERS)]
        try:
            yield puts
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)


def _say(what: str, puts: Puts) -> None:
    sys.stdout.write(f"{what}: longest without a PUT {puts.longest:.2f} s; {puts.failed} of {puts.done} failed\n")


if __name__ == "__main__":
    main()
