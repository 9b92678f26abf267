"""The two scenarios: many objects are created at once; the operator is started with these in place."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bench.operator import audit, processes
from bench.operator.contenders import Contender, Running
from bench.operator.subjects import Subject
from support.controlplane import ControlPlane

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.resource import Resource

NAMESPACE = "bench"
LAG = "asyncio_event_loop_lag_seconds_bucket"
_APPLIED_AT_ONCE = 16
"""Requests that the user of the create scenario has under way."""
_DEADLINE = 600.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One scenario, once."""

    seconds: float
    rss_mb: float
    """At the end."""
    peak_mb: float
    """Since the process was started."""
    cpu_seconds: float
    """Of the operator."""
    server_cpu_seconds: float
    """Of kube-apiserver and etcd."""
    requests: audit.Requests
    lag: dict[float, float] = field(default_factory=dict)
    """The histogram of the event loop's lag: bucket's upper bound in seconds, cumulated count."""
    applied_seconds: float = 0.0
    """Until the user's last request was answered."""


@contextlib.asynccontextmanager
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    """A client with all rights."""
    async with Client(await load_config(plane.kubeconfig("admin")), user_agent="bench") as client:
        yield client


async def make_namespace(client: Client, name: str) -> None:
    """Create a namespace."""
    namespaces = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client.create(namespaces, body, field_manager="bench")


async def until_quiet(log: audit.AuditLog, *, seconds: float) -> list[dict]:
    """Wait until the operator has written something, and then nothing for so long. Returns all new entries."""
    entries: list[dict] = []
    last_write = None
    deadline = time.monotonic() + _DEADLINE
    while last_write is None or time.monotonic() - last_write < seconds:
        _in_time(deadline, "the operator to write no more")
        await asyncio.sleep(0.2)
        new = await asyncio.to_thread(log.entries) if log.path.exists() else []
        entries += new
        if any(entry["verb"] in audit.WRITES for entry in new):
            last_write = time.monotonic()
    return entries


async def run(
    plane: ControlPlane, contender: Contender, subject: Subject, *, count: int, workers: int
) -> dict[str, Measured]:
    """Both scenarios, on a control plane that is new. Returns them by name."""
    log = audit.AuditLog(plane.folder / "audit.log")
    async with admin(plane) as client:
        await make_namespace(client, NAMESPACE)
        with contender(plane, workers=workers) as running:
            async with subject.controllers_of_kubernetes(client, NAMESPACE):
                created = await _create(plane, client, log, running, subject, count)
        with contender(plane, workers=workers) as running:
            restarted = await _restart(plane, log, running, subject, count)
    return {"create": created, "restart": restarted}


async def _create(
    plane: ControlPlane, client: Client, log: audit.AuditLog, running: Running, subject: Subject, count: int
) -> Measured:
    server = [process.pid for process in plane.processes]
    while not await asyncio.to_thread(running.metrics):
        _in_time(running.started + _DEADLINE, "the operator to start")
        await asyncio.sleep(0.2)
    await asyncio.sleep(2.0)  # its watches are open, and the server has calmed down after its start
    waits = [asyncio.create_task(_until(client, resource, count, counts)) for resource, counts in subject.waits]
    await asyncio.sleep(0.5)
    log.entries()
    idle = _lag(await asyncio.to_thread(running.metrics))
    cpu, server_cpu = processes.cpu_seconds(running.process.pid), processes.cpu_seconds(*server)
    started = time.monotonic()
    gate = asyncio.Semaphore(_APPLIED_AT_ONCE)

    async def make(number: int) -> None:
        async with gate:
            await subject.make(client, NAMESPACE, f"bench-{number:04}")

    await asyncio.gather(*(make(number) for number in range(count)))
    applied = time.monotonic() - started
    async with asyncio.timeout(_DEADLINE):
        await asyncio.gather(*waits)
    seconds = time.monotonic() - started
    cpu, server_cpu = processes.cpu_seconds(running.process.pid) - cpu, processes.cpu_seconds(*server) - server_cpu
    # What is written after that, events for the most part, is counted and has its share in the memory.
    entries = await until_quiet(log, seconds=3.0)
    rss, peak = processes.memory(running.process.pid)
    lag = _lag(await asyncio.to_thread(running.metrics))
    lag = {bound: count - idle.get(bound, 0.0) for bound, count in lag.items()}
    return Measured(seconds, rss, peak, cpu, server_cpu, audit.count(entries), lag, applied)


async def _restart(
    plane: ControlPlane, log: audit.AuditLog, running: Running, subject: Subject, count: int
) -> Measured:
    server = [process.pid for process in plane.processes]
    server_cpu = processes.cpu_seconds(*server)
    log.entries()
    while True:
        samples = await asyncio.to_thread(running.metrics)
        if all(_has_reconciled(samples, controller, count) for controller in subject.controllers):
            break
        _in_time(running.started + _DEADLINE, "all objects to be reconciled")
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - running.started
    cpu, server_cpu = processes.cpu_seconds(running.process.pid), processes.cpu_seconds(*server) - server_cpu
    await asyncio.sleep(3.0)  # a write that comes late counts too
    rss, peak = processes.memory(running.process.pid)
    lag = _lag(await asyncio.to_thread(running.metrics))
    return Measured(seconds, rss, peak, cpu, server_cpu, audit.count(log.entries()), lag)


def _has_reconciled(samples: dict[str, float], controller: str, count: int) -> bool:
    """Return whether a controller has reconciled so many objects and has nothing to do."""
    prefix = f'controller_runtime_reconcile_total{{controller="{controller}"'
    reconciled = sum(value for name, value in samples.items() if name.startswith(prefix))
    waiting = sum(
        value
        for name, value in samples.items()
        if name.startswith(("workqueue_depth", "controller_runtime_active_workers")) and f'"{controller}"' in name
    )
    return reconciled >= count and not waiting


async def _until(client: Client, resource: Resource, number: int, counts: object) -> None:
    """Wait until so many objects of a kind are there that count."""
    _, version = await client.list(resource, namespace=NAMESPACE)
    found: set[str] = set()
    async with client.watch(
        resource, namespace=NAMESPACE, resource_version=version, timeout_seconds=900, idle_seconds=300
    ) as stream:
        async for event in stream:
            if event["type"] in {"ADDED", "MODIFIED"} and counts(event["object"]):
                found.add(event["object"]["metadata"]["name"])
            if len(found) == number:
                return
    raise RuntimeError(f"the watch of {resource.plural} ended")


def _lag(samples: dict[str, float]) -> dict[float, float]:
    buckets = {name: value for name, value in samples.items() if name.startswith(LAG)}
    return {float(name.split('le="')[1].split('"')[0]): value for name, value in buckets.items()}


def _in_time(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"waited in vain for {what}")
