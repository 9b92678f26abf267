"""What the worst searches of others cost a caller: `python -m bench.memory.searches`, from the folder `test`.

By turns, one caller lists, reads and writes alone, and beside four clients that send the worst searches without a
pause: frequent prefixes, words that never occur together, and a search that has to test every entry.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop
from bench.machine import machine
from bench.memory import servers, sizes
from bench.memory.loads import value

from swarm_operator.memory.client import MemoryClient, MemoryUnavailableError
from swarm_operator.memory.sqlite.database.driver import sqlite3

_CLIENTS = 4
_WORST: tuple[dict[str, object], ...] = (
    {"text": "tex*"},
    {"match": "w10* OR w11* OR tex*"},
    {"match": "text NOT tex*"},
    {"glob": "*nothing"},
)
"""`text` is in every entry, so `tex*` has all of them."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.searches", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries to search among (default: 1000000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (default: 10)")
    parser.add_argument("--turns", type=int, default=3, help="turns, alone and beside searches (default: 3)")
    parser.add_argument("--attack", nargs=2, metavar=("PORT", "TOKEN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        uvloop.run(_attack(int(options.attack[0]), options.attack[1]))
        return
    for line in machine(f"SQLite {sqlite3.sqlite_version}"):
        print(line)
    with tempfile.TemporaryDirectory() as name, servers.swarm_memory(Path(name)) as server:
        uvloop.run(sizes.grow(server, options.entries, 0))
        print(f"{options.entries:,} entries of 200 bytes, {_CLIENTS} clients with the worst searches")
        for turn in range(options.turns):
            for beside in (False, True):
                with _attacked(server) if beside else contextlib.nullcontext():
                    figures = uvloop.run(_measure(server, options.entries, options.seconds))
                title = "beside searches" if beside else "alone"
                print(f"turn {turn + 1}, {title:<16}", *figures, sep="   ", flush=True)


@contextlib.contextmanager
def _attacked(server: servers.Server) -> Iterator[None]:
    """Send the worst searches from a process of their own."""
    command = [sys.executable, "-m", "bench.memory.searches", "--attack", str(server.port), server.token]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(1.0)
            yield
            if process.poll() is not None:
                raise RuntimeError("the searches have ended before the measurement")
        finally:
            process.terminate()


async def _attack(port: int, token: str) -> None:
    async def client(number: int) -> None:
        async with MemoryClient(f"http://127.0.0.1:{port}", token=token, retries=0) as memory:
            for query in itertools.islice(itertools.cycle(_WORST), number, None):
                with contextlib.suppress(MemoryUnavailableError):  # 429: too many wait
                    await memory.search(**query)  # type: ignore[arg-type]

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))


async def _measure(server: servers.Server, entries: int, seconds: float) -> list[str]:
    numbers = itertools.count(1)
    async with MemoryClient(f"http://127.0.0.1:{server.port}", token=server.token) as memory:
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "list": lambda: memory.list("big", limit=1),
            "GET": lambda: memory.get("big", f"k{next(numbers) * 7919 % entries:07}"),
            "PUT": lambda: memory.put("big", f"k{next(numbers) * 7919 % entries:07}", value(next(numbers))),
        }
        taken: dict[str, list[float]] = {name: [] for name in acts}
        ending = time.perf_counter() + seconds
        while time.perf_counter() < ending:
            for name, act in acts.items():
                before = time.perf_counter()
                await act()
                taken[name].append((time.perf_counter() - before) * 1e3)
    found = []
    for name, times in taken.items():
        times.sort()
        found.append(f"{name} p50 {times[len(times) // 2]:6.2f} p99 {times[len(times) * 99 // 100]:7.2f} ms")
    return found


if __name__ == "__main__":
    main()
