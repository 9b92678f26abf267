"""One client attacks from all sides at once; others notice little.

`make hostile` attacks for a minute on a machine that does nothing else, and then delays are judged, too. Beside other
tests they would say more about these.
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

import aiohttp
import pytest
from fault.hostile import Attacker, Target
from support.memory_process import Process

from swarm_operator.memory.client import MemoryClient

ALONE = "HOSTILE_SECONDS" in os.environ
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "8"))
MOST_RESIDENT = 450
"""MiB that the service takes at most, as docs/limits.md says; the pod's limit is above it."""
TOKENS = {"tokens": [{"name": "reader", "token": "reader-0123456789abcdef", "access": "read"}]}
MIB = 1024 * 1024


@pytest.fixture
async def service(tmp_path):
    tokens = tmp_path / "data" / "tokens"
    tokens.mkdir(parents=True)
    (tokens / "tokens.json").write_text(json.dumps(TOKENS))
    process = await Process.start(tmp_path / "data", "--mcp", "true")
    yield process
    await process.stop(signal.SIGKILL)


def resident(pid):
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class Honest:
    """An agent that reads and writes, one request after another.

    Attributes:
        seconds: how long each GET took.
        failed: what was refused.
    """

    def __init__(self, memory):
        self.memory = memory
        self.seconds = []
        self.failed = []

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
    """Work, probe and measure until `wait` is done. Return its result, the answers to probes and the memory."""
    answers, sizes, stop = [], [], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(honest.work(stop))
        tasks.create_task(probe(service.url, answers, stop))
        tasks.create_task(measure_memory(service.process.pid, sizes, stop))
        result = await wait
        stop.set()  # what is under way is waited for, and counts
    return result, answers, sizes


async def attack(target, seconds):
    """Attack from a process of its own; return how often each attack was carried out."""
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
    return json.loads(output)


async def test_others_notice_little(service):
    target = Target(
        http_port=int(service.url.rpartition(":")[2]),
        metrics_port=int(service.metrics_url.rpartition(":")[2]),
        grpc_port=service.log[-1]["grpc_port"],
        token=TOKENS["tokens"][0]["token"],
    )
    async with MemoryClient(service.url, token=service.token, retries=0) as memory:
        words = [f"{first}{second}" for first in "vw" for second in range(200)]
        for start in range(0, 10_000, 500):
            await memory.batch([
                {"op": "put", "namespace": "text", "key": f"k{n}", "value": " ".join(random.sample(words, 20))}
                for n in range(start, start + 500)
            ])  # fmt: skip
        alone, attacked = Honest(memory), Honest(memory)
        await during(alone, service, asyncio.sleep(2))
        before = resident(service.process.pid)
        done, answers, sizes = await during(attacked, service, attack(target, SECONDS))
    assert done.keys() >= {each.__name__ for each, _ in Attacker.ATTACKS}
    assert not attacked.failed
    report = {
        "attacks": done,
        "GET p99": [alone.percentile(0.99), attacked.percentile(0.99)],
        "GETs": [len(alone.seconds), len(attacked.seconds)],
        "slowest probe": max(seconds for _, seconds in answers),
        "MiB": [before // MIB, max(sizes) // MIB],
    }
    assert {status for status, _ in answers} == {200}
    assert max(sizes) < MOST_RESIDENT * MIB, report
    sys.stdout.write(json.dumps(report, indent=1))
    if ALONE:
        assert report["slowest probe"] < 1, report
        assert report["GET p99"][1] < 0.25, report
