"""`python -m bench.memory.turns`, from the folder `test`: the service beside other databases, by turns.

Values of 180 bytes of words, 5,000 keys that go round, each write on disk when it is answered, the defaults of each
database. A round measures each contender once on an empty folder; the figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import machine
from bench.memory import loads, others, servers
from bench.memory.servers import Server

from swarm_operator.memory.sqlite.database.driver import sqlite3

_TICK = os.sysconf("SC_CLK_TCK")
_KEYS = others.TEXTS
_VALUE = """
local id = 0
local headers = {["Authorization"] = "Bearer %(token)s", ["Content-Type"] = "application/json"}
function text(number)
  local words = {}
  for place = 1, 10 do words[place] = "w" .. ((number * 7919 + place * 104729) %% 20000) end
  local text = table.concat(words, " ")
  return text .. string.rep(" ", 180 - #text)
end
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
function base64(bytes)
  local out = {}
  for place = 1, #bytes, 3 do
    local a, b, c = bytes:byte(place, place + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for digit = 3, 0, -1 do
      local index = math.floor(bits / 64 ^ digit) %% 64
      out[#out + 1] = ((digit == 1 and not b) or (digit == 0 and not c)) and "=" or letters:sub(index + 1, index + 1)
    end
  end
  return table.concat(out)
end
local coded = {}
for number = 0, %(keys)d - 1 do coded[number] = base64(text(number)) end
function request()
  id = id + 1
  local number = id %% %(keys)d
  local key = "k" .. number
  return %(request)s
end
"""
_REQUESTS = {
    (
        "swarm-memory",
        "PUT",
    ): """wrk.format("PUT", "/v1/entries/b/" .. key, headers, '{"value":"' .. text(id) .. '"}')""",
    ("swarm-memory", "GET"): """wrk.format("GET", "/v1/entries/b/" .. key, headers)""",
    ("rqlite", "PUT"): """wrk.format("POST", "/db/execute", headers,
        '[["INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v","' .. key .. '","'
        .. text(id) .. '"]]')""",
    ("rqlite", "GET"): """wrk.format("POST", "/db/query?level=none", headers,
        '[["SELECT v FROM kv WHERE k = ?","' .. key .. '"]]')""",
    ("etcd", "PUT"): """wrk.format("POST", "/v3/kv/put", headers,
        '{"key":"' .. base64(key) .. '","value":"' .. coded[(id * 7) % 5000] .. '"}')""",
    ("etcd", "GET"): """wrk.format("POST", "/v3/kv/range", headers, '{"key":"' .. base64(key) .. '"}')""",
}
_SQL = {
    "PUT": f"""\\set n random(0, {_KEYS} - 1)
\\set text random(0, {_KEYS} - 1)
INSERT INTO entries (key, value, version)
    SELECT 'k' || :n, jsonb_build_object('text', text), 1 FROM texts WHERE id = :text
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = entries.version + 1;
""",
    "GET": f"""\\set n random(0, {_KEYS} - 1)
SELECT value, version FROM entries WHERE key = 'k' || :n;
""",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One load of one contender.

    Attributes:
        rate: requests a second, p50 and p99.
        cpu_us: processor time of the server for a request, in microseconds; by thread for the service.
        written: bytes that the server had written to disk for a request.
        idle: share of all cores that did nothing, from 0 to 1.
    """

    rate: loads.Rate
    cpu_us: dict[str, float]
    written: float
    idle: float


Contender = Callable[[Path], contextlib.AbstractContextManager[Server]]
"""Runs a server on a data directory."""
Found = dict[tuple[str, str, int], list[Turn]]
"""By the contender's name, the method and the number of connections."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.turns", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--connections", default="32,128", help="numbers of connections (default: 32,128)")
    parser.add_argument("--only", default="", help="contenders, with commas between them (default: all)")
    parser.add_argument("--before", help="program swarm-memory of an earlier release, for a comparison")
    options = parser.parse_args()
    contenders = _contenders(options.before)
    chosen = options.only.split(",") if options.only else list(contenders)
    if unknown := sorted(set(chosen) - set(contenders)):
        parser.error(f"--only: {', '.join(unknown)} is unknown; allowed are {', '.join(contenders)}")
    if packages := sorted({*loads.missing(), *others.missing()}):
        parser.error(f"not installed; on Debian: apt-get install {' '.join(packages)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("command: python -m bench.memory.turns", shlex.join(sys.argv[1:]))
    for line in machine(f"SQLite {sqlite3.sqlite_version}", "redis-server --version", "psql --version"):
        print(line)
    print(f"interpreter: {sys.executable}, {_optimised()}", flush=True)
    numbers = [int(number) for number in options.connections.split(",")]
    found = by_turns({name: contenders[name] for name in chosen}, options.rounds, numbers, options.seconds)
    print("\n" + "\n".join(report(found)))


def by_turns(contenders: dict[str, Contender], rounds: int, numbers: Sequence[int], seconds: float) -> Found:
    """Measure PUT and GET of each contender in each round, at these numbers of connections."""
    found: Found = defaultdict(list)
    for turn in range(rounds):
        for name in contenders if turn % 2 == 0 else reversed(contenders):
            with tempfile.TemporaryDirectory() as folder, contenders[name](Path(folder) / "data") as server:
                for connections in numbers:
                    for method in ("PUT", "GET"):
                        measured = _measure(name, server, method, connections, seconds)
                        found[name, method, connections].append(measured)
            print(f"round {turn + 1}: {name}", flush=True)
    return found


def _contenders(before: str | None) -> dict[str, Contender]:
    contenders = {
        "swarm-memory": servers.swarm_memory,
        "swarm-memory with TLS": servers.swarm_memory_with_tls,
        "swarm-memory, no words": lambda data: servers.swarm_memory(data, "--full-text", "false"),
        "rqlite": _rqlite,
        "etcd": others.etcd,
        "postgres": others.postgres,
        "redis": servers.redis,
    }
    if before:
        contenders["before"] = functools.partial(servers.swarm_memory, program=before)
        contenders["before, no words"] = lambda data: servers.swarm_memory(data, "--full-text", "false", program=before)
    return contenders


@contextlib.contextmanager
def _rqlite(data: Path):
    with others.rqlite(data) as server:
        loads.post(server, "/db/execute", ["CREATE TABLE kv (k TEXT PRIMARY KEY, v TEXT NOT NULL)"])
        yield server


def _measure(name: str, server: Server, method: str, connections: int, seconds: float) -> Turn:
    if method == "PUT":
        filled = _kind(name) == "swarm-memory"
        if filled:
            _fill(server)
        rate = _load(name, server, "PUT", connections, 2.0)  # what grows at first has grown
        if not filled and rate.per_second * 2.0 < _KEYS:  # a load begins with the first key: GET must find each
            _load(name, server, "PUT", connections, 1.5 * _KEYS / rate.per_second)
    before, idle, started = _cost(server), _idle(), time.monotonic()
    rate = _load(name, server, method, connections, seconds)
    elapsed, spent, rest = time.monotonic() - started, _cost(server), _idle() - idle
    requests = rate.per_second * seconds
    cpu = {thread: (used - before[0].get(thread, 0.0)) / requests * 1e6 for thread, used in spent[0].items()}
    written = (spent[1] - before[1]) / requests
    return Turn(rate, cpu, written, rest / _TICK / elapsed / (os.cpu_count() or 1))


def _load(name: str, server: Server, method: str, connections: int, seconds: float) -> loads.Rate:
    if name == "redis":
        test = "set" if method == "PUT" else "get"
        return loads.redis(server, test, connections, int(20_000 * seconds), keys=_KEYS, size=180)
    if name == "postgres":
        return _pgbench(server, method, connections, seconds)
    script = _VALUE % {"token": server.token, "keys": _KEYS, "request": _REQUESTS[_kind(name), method]}
    return loads.wrk(server, connections, seconds, script)


def _kind(name: str) -> str:
    """Return what a contender is: all but the others are the service with one setting or another."""
    return name if name in {"rqlite", "etcd", "postgres", "redis"} else "swarm-memory"


def _fill(server: Server) -> None:
    """Write each key once, so that each GET finds something."""
    for first in range(0, _KEYS, 1000):
        numbers = range(first, min(first + 1000, _KEYS))
        puts = [{"op": "put", "namespace": "b", "key": f"k{number}", "value": "w" * 180} for number in numbers]
        loads.post(server, "/v1/batch", {"operations": puts})


def _pgbench(server: Server, method: str, connections: int, seconds: float) -> loads.Rate:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "load.sql").write_text(_SQL[method])
        command = ["pgbench", "-n", "-M", "prepared", "-h", "127.0.0.1", "-p", str(server.port), "-U", "bench"]
        command += ["-c", str(connections), "-j", "1", "-T", str(max(1, round(seconds))), "-l", "-f", "load.sql"]
        done = subprocess.run(
            [*command, "postgres"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
        )
        took = sorted(
            int(line.split()[2]) / 1000 for log in folder.glob("pgbench_log.*") for line in log.read_text().splitlines()
        )
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    assert rate
    return loads.Rate(float(rate[1]), took[len(took) // 2], took[len(took) * 99 // 100])


def _cost(server: Server) -> tuple[dict[str, float], int]:
    """Return the processor time of the server's threads in seconds, by thread, and the bytes that it has written.

    The threads of a server with several processes, or with many threads, are one.
    """
    cpu: dict[str, float] = defaultdict(float)
    written = 0
    for pid in _family(server.process.pid):
        with contextlib.suppress(OSError):  # a process of PostgreSQL that has ended
            written += int(re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                name = (task / "comm").read_text().strip()
                cpu[name] += (int(fields[11]) + int(fields[12])) / _TICK
    return dict(cpu), written


def _family(pid: int) -> list[int]:
    children = subprocess.run(["pgrep", "-P", str(pid)], check=False, stdout=subprocess.PIPE, text=True).stdout.split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _idle() -> int:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[4]) + int(fields[5])


def _optimised() -> str:
    import sysconfig

    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return "built with profile-guided optimisation" if "--enable-optimizations" in flags else "built without it"


def report(found: Found) -> list[str]:
    """Return a line for each contender, below one for each load: medians of the rounds."""
    lines = []
    for method, connections in sorted({key[1:] for key in found}, key=lambda key: (key[0] != "PUT", key[1])):
        lines.append(f"{method}, {connections} connections")
        for (name, its_method, its_connections), turns in found.items():
            if (its_method, its_connections) != (method, connections):
                continue
            rates = sorted(turn.rate.per_second for turn in turns)
            threads = _medians([turn.cpu_us for turn in turns])
            told = ", ".join(f"{thread} {used:.0f}" for thread, used in threads.items() if used >= 1)
            lines.append(
                f"  {name:24} {statistics.median(rates):9,.0f}/s ({rates[0]:,.0f} to {rates[-1]:,.0f})"
                f"  p99 {statistics.median(turn.rate.p99_ms for turn in turns):6.1f} ms"
                f"  CPU {sum(threads.values()):5.0f} us ({told})"
                f"  {statistics.median(turn.written for turn in turns):7,.0f} B"
                f"  idle {statistics.median(turn.idle for turn in turns):.0%}"
            )
    return lines


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for turn in turns for name in turn})
    return {name: statistics.median(turn.get(name, 0.0) for turn in turns) for name in names}


if __name__ == "__main__":
    main()
