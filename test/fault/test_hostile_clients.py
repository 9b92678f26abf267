"""One client attacks from all sides at once; others notice little.

`make hostile` attacks for a minute on a machine that does nothing else, and then delays are judged, too. Beside other
tests they would say more about these. The attackers use the same processors as the service. So by turns they attack
another service, the control: the honest client's delays then are those of the machine.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import aiohttp
from fault.hostile import Attacker, Target
from support.memory_process import Process

from swarm_operator.memory.client import MemoryClient

ALONE = "HOSTILE_SECONDS" in os.environ
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "8"))
TURNS = 3 if ALONE else 1
MOST_RESIDENT = 450
"""MiB that the service takes at most, as docs/limits.md says; the pod's limit is above it."""
TOKENS = {"tokens": [{"name": "reader", "token": "reader-0123456789abcdef", "access": "read"}]}
MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def running(data_dir):
    """A service with entries for searches, and the client of its first token."""
    tokens = data_dir / "tokens"
    tokens.mkdir(parents=True)
    (tokens / "tokens.json").write_text(json.dumps(TOKENS))
    service = await Process.start(data_dir, "--mcp", "true")
    try:
        async with MemoryClient(service.url, token=service.token, retries=0) as memory:
            words = [f"{first}{second}" for first in "vw" for second in range(200)]
            for start in range(0, 10_000, 500):
                await memory.batch([
                    {"op": "put", "namespace": "text", "key": f"k{n}", "value": " ".join(random.sample(words, 20))}
                    for n in range(start, start + 500)
                ])  # fmt: skip
            yield service, memory
    finally:
        await service.stop(signal.SIGKILL)


def resident(pid):
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class Honest:
    """An agent that reads and writes, one request after another.

    Attributes:
        seconds: how long each GET took.
        failed: what was refused.
        probes: the status of each probe, and how long it took.
        sizes: the resident memory of the service, in bytes.
    """

    def __init__(self, memory):
        self.memory = memory
        self.seconds = []
        self.failed = []
        self.probes = []
        self.sizes = []

    async def work(self, stop):
        for number in itertools.count():
            if stop.is_set():
                return
            try:
                if number % 10 == 0:
                    await self.memory.put("honest", f"k{number % 500}", {"number": number, "words": "some words"})
                started = time.perf_counter()
                await self.memory.get("honest", f"k{random.randrange(500)}")
                self.seconds.append(time.perf_counter() - started)
            except Exception as error:  # noqa: BLE001 - every failure counts
                self.failed.append(error)
            await asyncio.sleep(0.01)

    def percentile(self, part):
        return sorted(self.seconds)[int(len(self.seconds) * part)]


async def probe(url, answers, stop):
    """Ask /healthz as the kubelet does: on a connection of its own each time."""
    while not stop.is_set():
        started = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/healthz") as answer:
            answers.append((answer.status, time.perf_counter() - started))
        await asyncio.sleep(0.1)


async def measure_memory(pid, sizes, stop):
    while not stop.is_set():
        sizes.append(resident(pid))
        await asyncio.sleep(0.05)


async def during(honest, service, wait):
    """Work, probe and measure until `wait` is done, and return its result."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(honest.work(stop))
        tasks.create_task(probe(service.url, honest.probes, stop))
        tasks.create_task(measure_memory(service.process.pid, honest.sizes, stop))
        result = await wait
        stop.set()  # what is under way is waited for, and counts
    return result


async def attack(service, seconds):
    """Attack a service from a process of its own; return how often each attack was carried out."""
    target = Target(
        http_port=int(service.url.rpartition(":")[2]),
        metrics_port=int(service.metrics_url.rpartition(":")[2]),
        grpc_port=service.log[-1]["grpc_port"],
        token=TOKENS["tokens"][0]["token"],
    )
    arguments = [sys.executable, "-m", "fault.hostile", json.dumps(asdict(target)), str(seconds)]
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    done = json.loads(output)
    assert done.keys() >= {each.__name__ for each, _ in Attacker.ATTACKS}
    return Counter(done)


async def test_others_notice_little(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        service, memory = await stack.enter_async_context(running(tmp_path / "service"))
        alone, control, attacked = (Honest(memory) for _ in range(3))
        await during(alone, service, asyncio.sleep(SECONDS / 4))
        if ALONE:
            other, _ = await stack.enter_async_context(running(tmp_path / "control"))
        done = Counter()
        for _ in range(TURNS):
            if ALONE:
                await during(control, service, attack(other, SECONDS / TURNS))
            done += await during(attacked, service, attack(service, SECONDS / TURNS))
    assert not attacked.failed
    measured = {"alone": alone, "control": control, "attacked": attacked}
    if not ALONE:
        del measured["control"]
    report = {
        "attacks": done,
        "GETs": {name: len(honest.seconds) for name, honest in measured.items()},
        "GET p50": {name: honest.percentile(0.5) for name, honest in measured.items()},
        "GET p99": {name: honest.percentile(0.99) for name, honest in measured.items()},
        "slowest probe": {name: max(seconds for _, seconds in honest.probes) for name, honest in measured.items()},
        "MiB": {name: max(honest.sizes) // MIB for name, honest in measured.items()},
    }
    sys.stdout.write(json.dumps(report, indent=1))
    assert {status for status, _ in attacked.probes} == {200}
    assert max(attacked.sizes) < MOST_RESIDENT * MIB, report
    if ALONE:
        assert report["slowest probe"]["attacked"] < 1, report
        assert report["GET p99"]["attacked"] < 0.25, report
