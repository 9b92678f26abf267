"""Load from wrk and redis-benchmark: generators in C, so that they don't take the time that is measured."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.memory.servers import Server

TOOLS = {"wrk": "wrk", "redis-server": "redis-server", "redis-benchmark": "redis-tools"}
"""What must be installed, and Debian's package of it."""
KEYS = 10_000
"""Keys that PUT and GET go round."""
CACHED = 500
"""Keys that all fit into the service's cache."""
BATCH = 100
WORDS = 20_000
"""Values have ten words out of so many."""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_SCRIPT = """
local id = 0
local headers = {["Authorization"] = "Bearer %(token)s"}
function value(number)
  local words = {}
  for place = 1, 10 do words[place] = "w" .. ((number * 7919 + place * 104729) %% %(words)d) end
  local text = table.concat(words, " ")
  return '{"text":"' .. text .. string.rep(" ", 189 - #text) .. '"}'
end
function request()
  id = id + 1
  local key = "k" .. (id %% %(keys)d)
  return %(request)s
end
"""
_PUT = """wrk.format("PUT", "/v1/entries/bench/" .. key, headers, '{"value":' .. value(id) .. '}')"""
_GET = """wrk.format("GET", "/v1/entries/bench/" .. key, headers)"""
_PUT_BATCH = f"""(function()
    local parts = {{}}
    for number = 1, {BATCH} do
      local each = id * {BATCH} + number
      local key = '"key":"k' .. (each % {KEYS}) .. '"'
      parts[number] = '{{"op":"put","namespace":"batch",' .. key .. ',"value":' .. value(each) .. '}}'
    end
    local body = '{{"operations":[' .. table.concat(parts, ",") .. ']}}'
    return wrk.format("POST", "/v1/batch", headers, body)
  end)()"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a load of some connections came to."""

    per_second: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.per_second:10,.0f}/s   p50 {self.p50_ms:7.2f} ms   p99 {self.p99_ms:7.2f} ms"


def missing() -> list[str]:
    """Debian's packages that must be installed first."""
    return sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})


def value(number: int) -> dict[str, str]:
    """200 bytes of JSON; another number is another text."""
    text = " ".join(f"w{(number * 7919 + place * 104729) % WORDS}" for place in range(1, 11))
    return {"text": text.ljust(188)}


def fill(server: Server) -> None:
    """Write every key once, so that each GET finds something."""
    for first in range(0, KEYS, 1000):
        body = {
            "operations": [
                {"op": "put", "namespace": "bench", "key": f"k{number}", "value": value(number)}
                for number in range(first, first + 1000)
            ]
        }
        post(server, "/v1/batch", body)


def post(server: Server, path: str, document: object) -> None:
    """Send a document to a server."""
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    url = f"{server.scheme}://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    # As wrk, it verifies nothing.
    trust = ssl._create_unverified_context() if server.scheme == "https" else None
    urllib.request.urlopen(request, context=trust).close()


def put(server: Server, connections: int, seconds: float) -> Rate:
    """Write values of 200 bytes, one a request."""
    return _wrk(server, connections, seconds, _PUT)


def get(server: Server, connections: int, seconds: float, *, keys: int = KEYS) -> Rate:
    """Read what `fill` wrote, or the first so many of these: the service's cache holds 1,000 by default."""
    return _wrk(server, connections, seconds, _GET, keys=keys)


def put_batches(server: Server, connections: int, seconds: float) -> Rate:
    """Write 100 values of 200 bytes a request. The rate is that of values."""
    rate = _wrk(server, connections, seconds, _PUT_BATCH)
    return Rate(rate.per_second * BATCH, rate.p50_ms, rate.p99_ms)


def grpc(server: Server, method: str, callers: int, seconds: float) -> Rate:
    """Put or Get over gRPC, from a process in Python; see grpc_load.py."""
    command = [sys.executable, str(Path(__file__).with_name("grpc_load.py"))]
    command += [str(server.grpc_port), server.token, method, str(callers), str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Rate(*json.loads(done.stdout))


def redis(
    server: Server, test: str, connections: int, requests: int, *, pipeline: int = 1, keys: int = KEYS, size: int = 200
) -> Rate:
    """SET or GET of values of so many bytes."""
    command = ["redis-benchmark", "-p", str(server.port), "-t", test, "-c", str(connections), "-n", str(requests)]
    command += ["-r", str(keys), "-d", str(size), "-P", str(pipeline), "--csv"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    return Rate(float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


def _wrk(server: Server, connections: int, seconds: float, request: str, *, keys: int = KEYS) -> Rate:
    script = _SCRIPT % {"token": server.token, "words": WORDS, "keys": keys, "request": request}
    return wrk(server, connections, seconds, script)


def wrk(server: Server, connections: int, seconds: float, script: str) -> Rate:
    """Send what a script in Lua says.

    Raises:
        RuntimeError: the server refused a request.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.lua"
        path.write_text(script)
        command = [
            "wrk",
            "-t",
            "1",
            "-c",
            str(connections),
            "-d",
            f"{math.ceil(seconds)}s",
            "--latency",
            "-s",
            str(path),
        ]
        command.append(f"{server.scheme}://127.0.0.1:{server.port}")
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if refused := re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", said):
        raise RuntimeError(f"wrk: {refused[0]}")
    quantiles = {q: float(n) * _UNITS[unit] for q, n, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", said)}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate
    return Rate(float(rate[1]), quantiles["50"], quantiles["99"])
