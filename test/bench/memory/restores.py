"""`python -m bench.memory.restores`, from the folder `test`: what a restore in place costs those who use the memory.

By turns a backup is restored into the running service, `cp` copies the same file, and SQLite's own backup does; both
verify nothing. Meanwhile readers and writers go on, by the client as users have it, and a plain writer without
retries measures how long writes are refused.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.machine import machine
from bench.memory.backups import MIB, copy_file, copy_with_sqlite, fill, seconds
from support.memory_process import Process

from swarm_operator.memory.client import MemoryBusyError, MemoryClient, MemoryConflictError, MemoryGoneError

READERS = WRITERS = 4


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.restores", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the values (default: 1000)")
    parser.add_argument("--turns", type=int, default=3, help="restores (default: 3)")
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
        token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
        async with MemoryClient(process.url, token=token, timeout=120) as admin:
            await admin.backups.make("saved")
            state = await admin.backups.wait("saved")
            assert state is not None and state.phase == "Completed", state  # noqa: PT018
            backup = folder / "vault/default/saved/memory.db"
            print(f"the backup has {backup.stat().st_size / MIB:,.0f} MiB")
            for turn in range(turns):
                await _restore(process, admin, f"turn-{turn}")
                for name, copy in (("cp, synced", copy_file), ("SQLite's own backup", copy_with_sqlite)):
                    target = folder / "copy.db"
                    took = await seconds(lambda copy=copy, target=target: asyncio.to_thread(copy, backup, target))
                    print(f"  {name}: {took:.1f} s")
                    target.unlink()
    finally:
        await process.stop(signal.SIGTERM)


@dataclass
class _Seen:
    """What users of the memory see. Times are seconds."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    """When writes without retries were refused."""
    stale: int = 0
    """Compare-and-set with a version of before that succeeded."""
    gone: bool = False


async def _restore(process: Process, admin: MemoryClient, name: str) -> None:
    seen, phases = _Seen(), dict[str, float]()
    async with (
        MemoryClient(process.url, token=process.token) as client,
        MemoryClient(process.url, token=process.token, retries=0) as plain,
        asyncio.TaskGroup() as tasks,
    ):
        await client.put("w", "compared", 0)
        tasks.create_task(_watch(client, seen))
        tasks.create_task(_refused(plain, seen))
        for number in range(READERS):
            tasks.create_task(_read(client, seen, number))
        for number in range(WRITERS):
            tasks.create_task(_write(client, seen, number))
        began = time.perf_counter()
        await admin.restores.ask(name, backup="saved")
        state = await admin.restores.wait(
            name, progress=lambda state: phases.setdefault(state.phase, time.perf_counter() - began)
        )
        took = time.perf_counter() - began
        assert state is not None and state.phase == "Completed", state  # noqa: PT018
        await _compare(client, seen)
        seen.stop.set()
    assert seen.gone
    await admin.backups.delete(str(state.safety_backup))
    times = ", ".join(f"{phase} from {at:.1f}" for phase, at in phases.items())
    refused = max(seen.refused) - min(seen.refused) if seen.refused else 0
    print(
        f"{name}: {took:.1f} s ({times}); writes refused for {refused * 1000:.0f} ms ({len(seen.refused)} refusals), "
        f"{seen.stale} succeeded with an old version"
    )
    for what, found in (("reads", seen.reads), ("writes by the client", seen.writes)):
        p99 = statistics.quantiles(found, n=100)[98]
        print(f"  {what}: {len(found):,}, none failed, p99 {p99 * 1000:.0f} ms, slowest {max(found) * 1000:.0f} ms")


async def _read(client: MemoryClient, seen: _Seen, number: int) -> None:
    while not seen.stop.is_set():
        began = time.perf_counter()
        assert await client.get("n", f"k{number}") is not None
        seen.reads.append(time.perf_counter() - began)
        number = (number + 7919) % 1000


async def _write(client: MemoryClient, seen: _Seen, writer: int) -> None:
    number = 0
    while not seen.stop.is_set():
        began = time.perf_counter()
        await client.put("w", f"{writer}-{number % 100}", {"number": number})
        seen.writes.append(time.perf_counter() - began)
        number += 1


async def _refused(plain: MemoryClient, seen: _Seen) -> None:
    while not seen.stop.is_set():
        began = time.perf_counter()
        try:
            await plain.put("w", "plain", 1)
        except MemoryBusyError:
            seen.refused += [began, time.perf_counter()]
        await asyncio.sleep(0.002)


async def _compare(client: MemoryClient, seen: _Seen) -> None:
    """Write with each version that the entry had, or will have soon."""
    for version in range(1, 20):
        try:
            await client.put("w", "compared", 1, if_version=version)
        except MemoryConflictError:
            continue
        seen.stale += 1


async def _watch(client: MemoryClient, seen: _Seen) -> None:
    try:
        async for _ in client.watch(namespace="w"):
            pass
    except MemoryGoneError:
        seen.gone = True


if __name__ == "__main__":
    sys.exit(main())
