"""`python -m bench.memory.backups`, from the folder `test`: what backups cost those who write meanwhile.

Writers measure their PUTs by turns without and with a backup to a folder; the service's memory is read all the time.
Beside it: `cp` and SQLite's own backup of the same file, which verify nothing, and a restore into a new store.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import machine
from support.memory_process import Process

from swarm_operator.memory.client import MemoryClient

MIB = 1024 * 1024
VALUE = 64 * 1024
WRITERS = 8


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.backups", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the values (default: 1000)")
    parser.add_argument("--turns", type=int, default=3, help="backups, and as many times without (default: 3)")
    options = parser.parse_args()
    for line in machine(f"SQLite {sqlite3.sqlite_version}"):
        print(line)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_run(Path(name), options.megabytes, options.turns))


async def _run(folder: Path, megabytes: int, turns: int) -> None:
    (folder / "vault").mkdir()
    process = await Process.start(folder / "data", "--backups", f"file://{folder}/vault")
    try:
        await fill(process, megabytes)
        await _measure(process, turns)
        restored = await seconds(lambda: _restore(folder))
        print(f"restore into a new store, until it serves: {restored:.1f} s")
    finally:
        await process.stop(signal.SIGTERM)
    database = folder / "data" / "swarm-memory.db"
    copied = await seconds(lambda: asyncio.to_thread(copy_file, database, folder / "cp"))
    print(f"cp of the same file, synced: {copied:.1f} s")
    own = await seconds(lambda: asyncio.to_thread(copy_with_sqlite, database, folder / "own"))
    print(f"SQLite's own backup of it, not verified: {own:.1f} s")


async def fill(process: Process, megabytes: int) -> None:
    """Write entries of VALUE bytes."""
    async with MemoryClient(process.url, token=process.token, timeout=120) as memory:
        for start in range(0, megabytes * MIB // VALUE, 100):
            await memory.batch([
                {"op": "put", "namespace": "n", "key": f"k{number}", "value": os.urandom(VALUE // 2).hex()}
                for number in range(start, min(start + 100, megabytes * MIB // VALUE))
            ])  # fmt: skip


async def _measure(process: Process, turns: int) -> None:
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    alone: list[float] = []
    beside: list[float] = []
    took: list[float] = []
    async with MemoryClient(process.url, token=token, timeout=120) as admin:
        for turn in range(turns):
            stop = asyncio.Event()
            writing = asyncio.create_task(_write(process, stop, alone))
            await asyncio.sleep(took[-1] if took else 10)
            before = _resident(process.process.pid)
            stop.set()
            await writing
            stop, most = asyncio.Event(), [before]
            writing = asyncio.create_task(_write(process, stop, beside))
            watching = asyncio.create_task(_watch(process.process.pid, most))
            began = time.perf_counter()
            await admin.backups.make(f"turn-{turn}")
            state = await admin.backups.wait(f"turn-{turn}")
            took.append(time.perf_counter() - began)
            stop.set()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)
            assert state is not None and state.phase == "Completed", state  # noqa: PT018
            print(
                f"backup {turn}: {state.size or 0:,} bytes in {took[-1]:.1f} s, verified; memory "
                f"{before / MIB:.0f} -> {max(most) / MIB:.0f} MiB"
            )
            await admin.backups.delete(f"turn-{turn - 1}")
    for name, found in (("without", alone), ("with", beside)):
        cuts = statistics.quantiles(found, n=100)
        print(f"PUT {name} a backup: {len(found):,}, p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms")


async def _write(process: Process, stop: asyncio.Event, found: list[float]) -> None:
    async with MemoryClient(process.url, token=process.token, timeout=120) as memory:

        async def write(writer: int) -> None:
            number = 0
            while not stop.is_set():
                began = time.perf_counter()
                await memory.put("w", f"{writer}-{number % 100}", {"number": number})
                found.append(time.perf_counter() - began)
                number += 1

        await asyncio.gather(*map(write, range(WRITERS)))


async def _watch(pid: int, most: list[int]) -> None:
    while True:
        most.append(_resident(pid))
        await asyncio.sleep(0.05)


def _resident(pid: int) -> int:
    """Bytes that the process alone has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _restore(folder: Path) -> None:
    (backup,) = (folder / "vault/default").iterdir()
    process = await Process.start(folder / "new", "--restore-from", f"file://{backup}")
    assert process.url
    await process.stop(signal.SIGTERM)


def copy_file(database: Path, target: Path) -> None:
    """Copy a file and sync the copy."""
    shutil.copyfile(database, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def copy_with_sqlite(database: Path, target: Path) -> None:
    """Copy a database as SQLite does."""
    with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


async def seconds(work: Callable[[], object]) -> float:
    """Return how long an awaitable takes."""
    began = time.perf_counter()
    await work()  # type: ignore[misc]
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
