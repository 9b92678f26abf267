"""`python -m bench.memory`, from the folder `test`: the service, the engine, a bare server and Redis, and a report."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import uvloop
from bench.machine import machine
from bench.memory import engine, loads, report, servers, sizes, turns

from swarm_operator.memory.sqlite.database.driver import sqlite3

_LARGE_FILE = 10**9


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make bench-memory", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each load (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds with TLS and without (default: 3)")
    parser.add_argument(
        "--entries",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[10_000, 100_000, 1_000_000],
        help="numbers of entries to search among (default: 10000,100000,1000000)",
    )
    options = parser.parse_args()
    if packages := loads.missing():
        parser.error(f"not installed; on Debian: apt-get install {' '.join(packages)}")
    # SIGTERM ends it as Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(options)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(options: argparse.Namespace) -> None:
    _say("command: python -m bench.memory", shlex.join(sys.argv[1:]))
    for line in machine(f"SQLite {sqlite3.sqlite_version}", "redis-server --version"):
        _say(line)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = _rates(folder, options.seconds)
        _say("\n" + "\n".join(report.rates(rates)))
        _say("\n" + "\n".join(turns.report(_tls(options.rounds, options.seconds))))
        measured = _sizes(folder, options.entries, options.seconds)
        _say("\n" + "\n".join(report.sizes(measured)))
        ready = _ready(folder / "big")
    _say("\n" + "\n".join(report.verdicts(rates, measured, ready)))


def _rates(folder: Path, seconds: float) -> report.Rates:
    """Small values at 32 and 128 connections."""
    found: report.Rates = {}
    with servers.bare() as server:
        for connections in (32, 128):
            found["bare GET", connections] = loads.get(server, connections, seconds)
            found["bare PUT", connections] = loads.put(server, connections, seconds)
    with servers.redis(folder / "redis") as server:
        for connections in (32, 128):
            requests = int(20_000 * seconds)
            found["redis SET", connections] = loads.redis(server, "set", connections, requests)
            found["redis GET", connections] = loads.redis(server, "get", connections, requests)
        found["redis batch", 32] = loads.redis(server, "set", 32, requests, pipeline=loads.BATCH)
    with servers.swarm_memory(folder / "small") as server:
        loads.fill(server)
        for connections in (32, 128):
            found["PUT", connections] = loads.put(server, connections, seconds)
            found["GET cached", connections] = loads.get(server, connections, seconds, keys=loads.CACHED)
            found["GET", connections] = loads.get(server, connections, seconds)
        found["batch", 32] = loads.put_batches(server, 32, seconds)
        for method in ("Put", "Get"):
            found[f"gRPC {method}", 32] = loads.grpc(server, method, 32, seconds)
    for name, rate in uvloop.run(engine.put_and_get(folder / "engine.db", 32, seconds)).items():
        found[f"engine {name}", 32] = rate
    return found


def _tls(rounds: int, seconds: float) -> turns.Found:
    """Small values with TLS and without, by turns, on an empty folder each."""
    contenders = {"swarm-memory": servers.swarm_memory, "swarm-memory with TLS": servers.swarm_memory_with_tls}
    return turns.by_turns(contenders, rounds, (32,), seconds)


def _sizes(folder: Path, numbers: list[int], seconds: float) -> list[sizes.Size]:
    """One file that grows; at each number a new process on it is asked."""
    found: list[sizes.Size] = []
    data, present = folder / "big", 0
    for number in numbers:
        with servers.swarm_memory(data) as server:
            loaded = uvloop.run(sizes.grow(server, number, present))
        with servers.swarm_memory(data) as server:
            rates = uvloop.run(sizes.ask(server, number, seconds))
            found.append(sizes.measure(server, data, loaded, number, rates))
        present = number
    return found


def _ready(data: Path) -> report.Ready:
    """How long a process takes from its start until it answers, with a file of 1 GB at least."""
    with servers.swarm_memory(data) as server:
        uvloop.run(sizes.pad(server, _LARGE_FILE, sizes.database_bytes(data)))
    with servers.swarm_memory(data) as server:
        return report.Ready(sizes.database_bytes(data) / 1e6, server.ready_seconds)


def _say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    main()
