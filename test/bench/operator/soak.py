"""`python -m bench.operator.soak`, from the folder `test`: objects come, change, go: does the operator keep any?

A round creates clusters and stores, changes each, asks some for what the API server refuses, deletes all of them, and
waits until the operator is idle. There it is measured: what it holds then, it holds for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from bench.machine import machine
from bench.operator import contenders, processes, report, scenarios
from bench.operator.__main__ import GO
from bench.operator.contenders import Running
from bench.operator.scenarios import NAMESPACE
from bench.operator.subjects import STORES
from support.controlplane import ControlPlane, find_binaries, run_control_plane

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.resource import Resource

_AT_ONCE = 16
_DEADLINE = 300.0
_RSS_GROWTH = 1.05
_EVENTS = Resource("events.k8s.io", "v1", "Event", "events")
_OWN = (kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE)
_CHILDREN = (kinds.STATEFUL_SET, kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM, kinds.SECRET, _EVENTS)


@dataclass(frozen=True, slots=True)
class Sample:
    """The operator when a round is over."""

    seconds: float
    """Since the first round began."""
    rss_mb: float
    tasks: int
    files: int
    threads: int

    def __str__(self) -> str:
        return f"{self.seconds:7.0f} {self.rss_mb:9.1f} {self.tasks:6} {self.files:6} {self.threads:8}"


def main() -> None:
    """Run it; exit with 1 when something grows."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--objects", type=int, default=500, help="custom resources in a round (default: 500)")
    options = parser.parse_args()
    # SIGTERM ends it as Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("command: python -m bench.operator.soak", shlex.join(sys.argv[1:]))
    binaries = find_binaries()
    for line in machine(*report.versions(binaries, GO)):
        print(line)
    try:
        samples = uvloop.run(_soak(binaries, options.minutes * 60, options.objects))
    except KeyboardInterrupt:
        sys.exit(130)
    grown = verdicts(samples)
    print("\n".join(grown))
    sys.exit(any(line.endswith("GROWS") for line in grown))


def verdicts(samples: list[Sample]) -> list[str]:
    """Compare the last third of the rounds with the middle one; the first is for warming up."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    if not middle:
        return ["too few rounds to tell: GROWS"]
    lines = []
    for title, slack, figure in (
        ("RSS [MB]", _RSS_GROWTH, lambda sample: sample.rss_mb),
        ("tasks", 1.0, lambda sample: sample.tasks),
        ("open files", 1.0, lambda sample: sample.files),
        ("threads", 1.0, lambda sample: sample.threads),
    ):
        before, after = (statistics.median(map(figure, part)) for part in (middle, last))
        verdict = "flat" if after <= before * slack else "GROWS"
        lines.append(f"{title}: median {before:.1f} in the middle third, {after:.1f} in the last: {verdict}")
    return lines


async def _soak(binaries: Path, seconds: float, objects: int) -> list[Sample]:
    samples: list[Sample] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Nobody here would take the finalizer off a claim.
        flag = "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection"
        plane = stack.enter_context(run_control_plane(binaries, folder, flag))
        client = await stack.enter_async_context(scenarios.admin(plane))
        await scenarios.make_namespace(client, NAMESPACE)
        running = stack.enter_context(contenders.ours(plane, workers=4))
        await _until(lambda: asyncio.to_thread(running.metrics), "the operator to start")
        print(f"\n{'seconds':>7} {'RSS [MB]':>9} {'tasks':>6} {'files':>6} {'threads':>8}   after each round")
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            await _round(plane, client, objects)
            samples.append(await _measure(running, started))
            print(samples[-1], flush=True)
        print(f"{len(samples)} rounds of {objects} objects each, {objects // 5} of them clusters")
    return samples


async def _round(plane: ControlPlane, client: Client, objects: int) -> None:
    """Create, change, ask for too much, delete."""
    clusters = objects // 5
    stores = objects - clusters
    names = [f"s{number}" for number in range(stores)] + [f"c{number}-memory" for number in range(clusters)]

    async def apply(number: int, cache: int, size: str) -> None:
        if number < stores:
            spec = {"cacheSize": cache, "storageSize": size}
            await STORES.make(client, NAMESPACE, f"s{number}", spec)
            return
        memory = {"enableMemoryStore": True, "size": size, "sqliteConfig": {"cacheSize": cache}}
        body = {
            "apiVersion": kinds.SWARM_CLUSTER.api_version,
            "kind": kinds.SWARM_CLUSTER.kind,
            "metadata": {"name": f"c{number - stores}", "namespace": NAMESPACE},
            "spec": {"memory": memory},
        }
        await client.apply(kinds.SWARM_CLUSTER, body, field_manager="kubectl")

    async def observed(cache: int) -> bool:
        found, _ = await client.list(kinds.SWARM_MEMORY_STORE, namespace=NAMESPACE)
        up_to_date = {
            store["metadata"]["name"]
            for store in found
            if store["spec"]["cacheSize"] == cache
            and (store.get("status") or {}).get("observedGeneration") == store["metadata"]["generation"]
        }
        return up_to_date == set(names)

    await _some_at_once(apply(number, 1000, "1Gi") for number in range(objects))
    await _until(lambda: observed(1000), "all stores to be made")
    # One in fifty wants its unbound volume to grow, which is refused as long as it is unbound.
    await _some_at_once(apply(number, 2000, "1Gi" if number % 50 else "2Gi") for number in range(objects))
    await _until(lambda: observed(2000), "all changes to be carried out, or refused")
    for resource in (*_OWN, *_CHILDREN):
        # Nobody collects garbage here: what was owned is deleted as well.
        path = resource.path(namespace=NAMESPACE)
        await client.request("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1"})
    for resource in _OWN:

        async def gone(resource: Resource = resource) -> bool:
            return not (await client.list(resource, namespace=NAMESPACE))[0]

        await _until(gone, f"all {resource.plural} to be gone")


async def _measure(running: Running, started: float) -> Sample:
    async def idle() -> bool:
        samples = await asyncio.to_thread(running.metrics)
        names = ("workqueue_depth", "controller_runtime_active_workers")
        return not sum(value for name, value in samples.items() if name.startswith(names))

    await _until(idle, "the operator to have no work")
    await asyncio.sleep(2.0)  # its last events are sent
    tasks = (await asyncio.to_thread(running.metrics))["asyncio_tasks"]
    pid = running.process.pid
    rss, _ = processes.memory(pid)
    files, threads = processes.open_files(pid), processes.threads(pid)
    return Sample(time.monotonic() - started, rss, int(tasks), files, threads)


async def _some_at_once(actions: Iterable[Awaitable[None]]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def act(action: Awaitable[None]) -> None:
        async with gate:
            await action

    await asyncio.gather(*map(act, actions))


async def _until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    main()
