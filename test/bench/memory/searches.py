"""What searches cost, and what the worst ones of others cost a caller: `python -m bench.memory.searches`.

First each kind of search, alone. Then by turns, one caller lists, reads and writes alone, and beside four clients that
send the worst searches without a pause: frequent prefixes, words that never occur together, and a search that has to
test every entry. Run it from the folder `test`.
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

from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.sqlite.database.driver import sqlite3

_CLIENTS = 4
_BEGUN = "begun\n"
"""What the process of these clients says once each has had an answer."""
_KINDS: dict[str, dict[str, object]] = {
    "a word": {"text": "w77"},
    "a word of a namespace": {"text": "w77", "namespace": "big"},
    "two words": {"text": "w77 w4806"},
    "two words, one in each entry": {"text": "w77 text"},
    "a word of each entry": {"text": "text"},
    "a prefix of 2 letters": {"text": "w1*"},
    "a prefix of 2 letters in each entry": {"text": "te*"},
    "a prefix of 3 letters": {"text": "w12*"},
    "a prefix of 4 letters": {"text": "w123*"},
    "a phrase that is not there": {"text": '"w77 w78"'},
    "that, of words in each entry": {"text": '"text text"'},
    "NOT": {"match": "w77 NOT w4806"},
    "NOT, of a word in each entry": {"match": "text NOT text"},
    "OR, of a word in each entry": {"match": "w77 OR w78 OR text"},
    "a glob that starts with a star": {"glob": "*nothing"},
    "a tag": {"tags": ["t5"]},
}
"""Each entry with `w77` has `w4806` right behind it, unless it is the last of its ten words."""
_TRIES = 21
_WORST: tuple[dict[str, object], ...] = (
    {"text": "tex*"},
    {"match": "w10* OR w11* OR tex*"},
    {"match": "text NOT tex*"},
    {"text": '"text text"'},
    {"match": "text NOT text"},
    {"text": "w1* w2*"},
    {"glob": "*nothing"},
)
"""`text` is in every entry, so `tex*` has all of them."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.searches", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries to search among (default: 1000000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (default: 10)")
    parser.add_argument("--turns", type=int, default=3, help="turns, alone and beside searches (default: 3)")
    parser.add_argument("--data", type=Path, help="data directory to use and keep; filled if it has no database")
    parser.add_argument("--attack", nargs=2, metavar=("PORT", "TOKEN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        uvloop.run(_attack(int(options.attack[0]), options.attack[1]))
        return
    for line in machine(f"SQLite {sqlite3.sqlite_version}"):
        print(line)
    with tempfile.TemporaryDirectory() as name, servers.swarm_memory(options.data or Path(name)) as server:
        uvloop.run(_fill(server, options.entries))
        print(f"{options.entries:,} entries of 200 bytes")
        for line in uvloop.run(_ask(server)):
            print(line, flush=True)
        print(f"{_CLIENTS} clients with the worst searches")
        for turn in range(options.turns):
            for beside in (False, True):
                with _attacked(server) if beside else contextlib.nullcontext():
                    figures = uvloop.run(_measure(server, options.entries, options.seconds))
                title = "beside searches" if beside else "alone"
                print(f"turn {turn + 1}, {title:<16}", *figures, sep="   ", flush=True)


async def _fill(server: servers.Server, entries: int) -> None:
    async with MemoryClient(f"http://127.0.0.1:{server.port}", token=server.token) as memory:
        present = (await memory.stats()).entries
    if present < entries:
        await sizes.grow(server, entries, present)


async def _ask(server: servers.Server) -> list[str]:
    """Return a line for each kind of search."""
    lines = []
    async with MemoryClient(f"http://127.0.0.1:{server.port}", token=server.token) as memory:
        for name, query in _KINDS.items():
            times = []
            for _ in range(_TRIES):
                before = time.perf_counter()
                page = await memory.search(**query)  # type: ignore[arg-type]
                times.append((time.perf_counter() - before) * 1e3)
            times.sort()
            lines.append(
                f"{name:<40} p50 {times[_TRIES // 2]:7.2f}   max {times[-1]:7.2f} ms   {len(page.hits):2} hits"
                f"{'   partial' if page.searched['partial'] else ''}"
            )
    return lines


@contextlib.contextmanager
def _attacked(server: servers.Server) -> Iterator[None]:
    """Send the worst searches from a process of their own, from when each of its clients has had its first answer."""
    command = [sys.executable, "-m", "bench.memory.searches", "--attack", str(server.port), server.token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != _BEGUN:
                raise RuntimeError("the searches have ended before they began")
            yield
            if process.poll() is not None:
                raise RuntimeError("the searches have ended before the measurement")
        finally:
            process.terminate()


async def _attack(port: int, token: str) -> None:
    begun = asyncio.Barrier(_CLIENTS)

    async def client(number: int) -> None:
        async with MemoryClient(f"http://127.0.0.1:{port}", token=token, retries=0) as memory:
            for count in itertools.count(number):
                await memory.search(**_WORST[count % len(_WORST)])  # type: ignore[arg-type]
                if count == number and await begun.wait() == 0:
                    print(_BEGUN, end="", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for number in range(_CLIENTS):
            tasks.create_task(client(number))


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
