"""The service as a process of its own that anything is sent to, and what must hold meanwhile."""

import asyncio
import contextlib
import json
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from support.zygote import Zygote

CLIENT, ADMIN = "client-0123456789abcdef", "admin-0123456789abcdef"
READER, TEAM, TEAM_READER = "reader-0123456789abcdef", "team-0123456789abcdefgh", "looker-0123456789abcdef"
TOKENS = (None, CLIENT, ADMIN, READER, TEAM, TEAM_READER, "nobody-0123456789abcdef")
_LIMITED = [
    {"name": "reader", "token": READER, "access": "read"},
    {"name": "team", "token": TEAM, "access": "write", "namespaces": ["a"]},
    {"name": "looker", "token": TEAM_READER, "access": "read", "namespaces": ["a"]},
]
MIB = 1024 * 1024

STALL = os.environ.get("FUZZ_STALL")
ALIVE = float(STALL or "5")
"""Seconds within which /healthz answers, whatever else is asked.

`make fuzz` runs on a machine that does nothing else, and allows 250 ms. Beside other tests that would say more about
these: there the service's processor time is judged. The stalls that were found took 8 s and more.
"""
_ENOUGH = 20.0
"""Seconds that any exchange may take; an answer that has not begun by then is none."""
_QUIET = 0.2
"""Seconds without another byte after which an answer that goes on, such as a watch, is left."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class Target:
    """A running service.

    Attributes:
        http, metrics, grpc: its ports.
        log: what it has logged, one document for each line.
    """

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        tokens = folder / "tokens"
        tokens.mkdir(parents=True)
        (tokens / "client-token").write_text(CLIENT)
        (tokens / "admin-token").write_text(ADMIN)
        (tokens / "tokens.json").write_text(json.dumps({"tokens": _LIMITED}))
        arguments = [
            *("serve", "--data-dir", folder / "data", "--token-dir", tokens, "--http-port", "0", "--metrics-port", "0"),
            *("--grpc-port", "0", "--mcp", "true", "--mcp-toolsets", "all", "--cache-memory-mb", "16"),
        ]
        self.log: list[dict] = []
        reading, output = os.pipe()
        self._output = os.fdopen(reading)
        try:
            self._process = zygote.start(*map(str, arguments), output=output)
        finally:
            os.close(output)
        self._serving = threading.Event()
        self._reading = threading.Thread(target=self._read_log)
        self._reading.start()
        self._serving.wait(120)
        serving = next((event for event in self.log if event["event"] == "serving"), None)
        if serving is None:
            self._process.kill()
            self._process.wait()
            self._reading.join()
            self._output.close()
            raise AssertionError(self.log)
        self.http, self.metrics = urlsplit(serving["http"]).port, urlsplit(serving["metrics"]).port
        self.grpc = serving["grpc_port"]
        prober = [sys.executable, Path(__file__).with_name("prober.py"), str(self.http), str(self._process.pid)]
        self._prober = subprocess.Popen(prober, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _read_log(self) -> None:
        for line in self._output:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == "serving":
                self._serving.set()
        self._serving.set()

    def close(self) -> None:
        """End the processes."""
        self._prober.communicate(timeout=60)
        self._process.terminate()
        self._process.wait(60)
        self._reading.join()
        self._output.close()

    @property
    def rss(self) -> int:
        """Bytes of memory that the process holds."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def alive(self) -> None:
        """Fail if /healthz has been slow since the last call of this, or is now."""
        self._prober.stdin.write("\n")
        self._prober.stdin.flush()
        slowest, most = map(float, self._prober.stdout.readline().split())
        assert math.isfinite(slowest), "/healthz gave no 200"
        assert (slowest if STALL else most) < ALIVE, f"/healthz took {slowest:.3f} s, {most:.2f} s of work"

    async def fine(self) -> None:
        """Fail if anything was a defect of ours."""
        assert self._process.poll() is None, self.log[-1]
        ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert statuses(await exchange(self.http, ready)) == [200]
        counted = await exchange(self.metrics, ready.replace(b"/readyz", b"/metrics"))
        assert b'swarm_memory_errors_total{code="internal"} 0.0' in counted
        defects = [event for event in self.log if event.get("level") in {"error", "critical"} or "exception" in event]
        assert defects == []


async def exchange(port: int, sent: bytes, *, begins: float = _ENOUGH) -> bytes:
    """Send bytes and return what comes back, until the end, a pause or a reset.

    Args:
        port: where to.
        sent: the bytes.
        begins: seconds to wait for the first byte.
    """
    received = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_ENOUGH):
                while chunk := await asyncio.wait_for(reader.read(MIB), _QUIET if received else begins):
                    received.append(chunk)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return b"".join(received)


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers of one connection."""
    return [int(status) for status in _STATUS.findall(answer)]


def refused_or_served(answer: bytes) -> bool:
    """Return whether no answer reports a defect: a 503 is meant, and says when to come again."""
    return all(status < 500 or status == 503 for status in statuses(answer))
