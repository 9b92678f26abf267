"""How long clients in the cluster are without the memory while its pod is replaced, or a live setting changes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from e2e.cluster import CONTEXT, NODE, eventually, run

pytestmark = pytest.mark.timeout(900)

LOOP_NAMES = ("plain", "client")
LOOPS = """
import asyncio, json, sys, time
from pathlib import Path
from swarm_operator.memory.client import MemoryClient, MemoryClientError

async def put_every_50_ms(loop, **options):
    token = Path("/etc/swarm-memory/tokens/client-token")
    async with MemoryClient("http://my-cluster-memory:8080", token_file=token, **options) as memory:
        last = time.monotonic()
        while True:
            told = {"loop": loop, "error": None}
            try:
                await memory.put("downtime", loop, time.time())
            except MemoryClientError as error:
                told["error"] = str(error)
            else:
                now = time.monotonic()
                told["without"], last = now - last, now
            print(json.dumps(told), flush=True)
            await asyncio.sleep(0.05)

async def main():
    ways = {"plain": {"retry_for": 0}, "client": {"retry_for": 300}}
    loops = [asyncio.create_task(put_every_50_ms(name, **options)) for name, options in ways.items()]
    await asyncio.to_thread(sys.stdin.read)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)

asyncio.run(main())
"""
"""Two loops of PUTs through the Service: one that fails when a request does, and one whose client tries again.

A starved machine takes longer to start a pod than the 15 s for which the client tries by default.
"""


@dataclass
class Puts:
    """What the loops have told."""

    told: list[dict[str, Any]] = field(default_factory=list)

    def since(self, mark: int, loop: str) -> list[dict[str, Any]]:
        return [each for each in self.told[mark:] if each["loop"] == loop]

    def errors(self, mark: int, loop: str) -> list[str]:
        return [each["error"] for each in self.since(mark, loop) if each["error"]]

    def gaps(self, mark: int, loop: str, least: float = 1.0) -> list[float]:
        """Seconds between two successes, of those that are `least` seconds and more apart."""
        return [each["without"] for each in self.since(mark, loop) if not each["error"] and each["without"] >= least]

    def longest(self, mark: int, loop: str) -> float:
        """Most seconds between two successes."""
        return max((each["without"] for each in self.since(mark, loop) if not each["error"]), default=0.0)


@contextlib.contextmanager
def putting(space, program: str = LOOPS, *arguments: str, pod: str = "agent") -> Iterator[Puts]:
    """Let loops run in a pod to the end of the block."""
    puts = Puts()
    python = ["python3", "-c", program, *arguments]
    command = ["kubectl", "--context", CONTEXT, "-n", space.name, "exec", "-i", pod, "--", *python]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        reading = threading.Thread(
            target=lambda: puts.told.extend(json.loads(line) for line in process.stdout), daemon=True
        )
        reading.start()
        try:
            yield puts
        finally:
            process.stdin.close()
            reading.join(30)


@pytest.fixture
def closed_node():
    """Keep packets to a Service's address in the node.

    kube-proxy replaces its rules table by table. In between such a packet is routed out of the node, where anything may
    answer it.
    """
    rule = ["FORWARD", "-d", "10.96.0.0/16", "-j", "REJECT"]
    run("docker", "exec", NODE, "iptables", "-I", *rule)
    yield
    run("docker", "exec", NODE, "iptables", "-D", *rule)


@pytest.mark.usefixtures("closed_node")
@pytest.mark.parametrize("cause", ["the pod is deleted", "a setting that needs it is changed"])
def test_a_replaced_pod_is_missed_for_seconds_and_the_client_reports_no_error(example, cause, capsys):
    with putting(example) as puts:
        eventually(lambda: len(puts.since(0, "plain")) > 20 and len(puts.since(0, "client")) > 20)
        uid = example.get("pod/my-cluster-memory-0")["metadata"]["uid"]
        mark = len(puts.told)
        if cause == "the pod is deleted":
            example.kubectl("delete", "pod", "my-cluster-memory-0", "--wait=false")
        else:
            configure(example, enableWAL=False)
        eventually(lambda: example.get("pod/my-cluster-memory-0")["metadata"]["uid"] != uid, seconds=120)
        replaced = len(puts.told)

        def served() -> bool:
            return all(sum(not each["error"] for each in puts.since(replaced, loop)) > 20 for loop in LOOP_NAMES)

        eventually(served)
    report(puts, mark, cause, capsys)
    assert puts.errors(mark, "plain"), "the loop did not notice that the pod was replaced"
    assert not puts.errors(0, "client")


@pytest.mark.usefixtures("closed_node")
def test_live_settings_fail_no_request(example, capsys):
    with putting(example) as puts:
        eventually(lambda: len(puts.since(0, "plain")) > 20 and len(puts.since(0, "client")) > 20)
        uid = example.get("pod/my-cluster-memory-0")["metadata"]["uid"]
        mark = len(puts.told)
        configure(example, cacheSize=77, cacheMemoryMB=40, gcInterval="7m", enableVacuum=False)

        def applied() -> bool:
            found = example.memory("stats")["settings"]
            return (found["cache_size"], found["cache_memory_mb"], found["gc_interval_seconds"]) == (77, 40, 420)

        eventually(applied)
        changed = len(puts.told)
        eventually(lambda: all(len(puts.since(changed, loop)) > 20 for loop in LOOP_NAMES))
    report(puts, mark, "live settings are changed", capsys)
    assert [puts.errors(0, loop) for loop in LOOP_NAMES] == [[], []]
    assert example.get("pod/my-cluster-memory-0")["metadata"]["uid"] == uid


def configure(space, **settings) -> None:
    patch = json.dumps({"spec": {"memory": {"sqliteConfig": settings}}})
    space.kubectl("patch", "swarmcluster/my-cluster", "--type=merge", "-p", patch)


def report(puts: Puts, mark: int, cause: str, capsys) -> None:
    """Print the most seconds without a success since a mark."""
    figures = {loop: round(puts.longest(mark, loop), 2) for loop in LOOP_NAMES}
    with capsys.disabled():
        sys.stdout.write(f"\n{cause}: seconds without a successful PUT: {figures}\n")
