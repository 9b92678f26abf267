"""An operator with nothing to do writes nothing, and reads no more than its look at each store's numbers takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import replace

import pytest
from aiohttp import web
from fault import upkeep
from fault.world import World
from support.audited import Audited

from swarm_operator.cmd import manager
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.identity.cluster_keys import INTERVAL as KEYS_INTERVAL
from swarm_operator.controllers.swarmmemorystore.tls.authority import SECRET_NAME
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Key

CLUSTERS, STORES = 10, 50
"""Clusters with a store each, and stores that stand alone: 60 stores."""

WITH_AGENTS = 4
"""Clusters of these that have agents, which an autoscaler scales."""

ASLEEP = "asleep"
"""A store that hibernates, with TLS since then, and access: its tokens and its certificate are looked at, as rarely as
the tokens of others."""
SWARM, HIVE = "swarm", "hive"
"""Ends of the names of the namespaces of one more cluster, which has a hive mind and agents."""

INTERVAL = 3.0
"""Seconds between two looks at a store: as short as 2 cores can keep up with."""

RARELY = "876000h"
"""Time between two backups: none is due while the test runs."""

STATS = {
    "entries": 3,
    "agents": 2,
    "tasks": 1,
    "patterns": 0,
    "database_size_bytes": 4096,
    "wal_size_bytes": 0,
    "volume_size_bytes": 10 * 2**30,
    "volume_free_bytes": 3 * 2**30,
    "cache": {"hit_rate": 0.5},
    "settings": {},
    "swarm_id": "s",
    "version": "1",
    "sqlite_version": "3",
}

WATCHED = (
    *(kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE, kinds.PERSISTENT_VOLUME_CLAIM),
    *(kinds.SECRET, kinds.SERVICE, kinds.STATEFUL_SET, kinds.SWARM_MEMORY_BACKUP),
    *(kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET),
    *(kinds.SWARM_MEMORY_RESTORE, kinds.CONFIG_MAP, kinds.SERVICE_ACCOUNT, kinds.HORIZONTAL_POD_AUTOSCALER),
)


@pytest.fixture
async def memory_url():
    """A memory service for every store, whose numbers never change."""

    async def stats(_):
        return web.json_response(STATS)

    app = web.Application()
    app.router.add_get("/v1/stats", stats)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def audited(control_plane, namespace, memory_url):
    """A running operator with its client, under its Role."""
    options = manager.parse(
        [
            *("--watch-namespaces", ",".join((namespace, f"{namespace}-{SWARM}", f"{namespace}-{HIVE}"))),
            *("--memory-url", memory_url, "--status-interval", str(INTERVAL), "--operator-namespace", namespace),
            *("--metrics-bind-address", "0", "--health-probe-bind-address", "0"),
        ]
    )
    async with Audited(await load_config(control_plane.kubeconfig("operator"))) as client:
        assembled = manager.assemble(client, options, instance="test")
        running = asyncio.create_task(assembled.run(asyncio.Event()))
        yield assembled, client
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def in_batches(coroutines) -> None:
    limit = asyncio.Semaphore(16)

    async def one(coroutine) -> None:
        async with limit:
            await coroutine

    await asyncio.gather(*map(one, coroutines))


async def versions(objects) -> dict[tuple[str, str], str]:
    found = {}
    for resource in WATCHED:
        for end in ("", f"-{SWARM}", f"-{HIVE}"):
            for obj in (await objects.client.list(resource, namespace=objects.namespace + end))[0]:
                found[resource.kind, obj["metadata"]["name"] + end] = obj["metadata"]["resourceVersion"]
    return found


async def make_apart(objects, eventually) -> list[str]:
    """A cluster with a hive mind and agents in namespaces that are made for it, Ready. Return its Secrets' paths."""
    namespace = objects.namespace
    swarm, hive = (replace(objects, namespace=f"{namespace}-{end}") for end in (SWARM, HIVE))
    spec = {
        "memory": {"enableMemoryStore": True},
        "hiveMind": {"enabled": True},
        "agentTemplate": {},
        "namespaceConfig": {"swarmNamespace": swarm.namespace, "hiveMindNamespace": hive.namespace},
    }
    await objects.apply(kinds.SWARM_CLUSTER, "apart", spec)
    for part, name in ((swarm, "apart-memory"), (hive, "apart-hivemind")):
        await eventually(lambda part=part, name=name: part.get(kinds.STATEFUL_SET, name), seconds=60)
        await part.pretend_ready(name)
    await eventually(lambda: swarm.get(kinds.STATEFUL_SET, "apart-agent"), seconds=60)
    ready = {"replicas": 1, "readyReplicas": 1, "currentRevision": "r", "updateRevision": "r"}
    await swarm.status(kinds.STATEFUL_SET, "apart-agent", {"observedGeneration": 1, **ready})
    return [
        f"{kinds.SECRET.path(namespace=part.namespace)}/{name}-auth"
        for part, name in ((swarm, "apart-memory"), (hive, "apart-hivemind"))
    ]


async def migrate(objects, eventually, name: str) -> None:
    """Have a store migrate legacy memory, and be the Job's controller when it has succeeded."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await objects.apply(kinds.PERSISTENT_VOLUME_CLAIM, "old", spec)
    await objects.store(name, backupInterval=RARELY, migrateFromLegacy=True, legacyDataPVC="old")

    async def at_work() -> str:
        jobs, _ = await objects.client.list(kinds.JOB, namespace=objects.namespace)
        assert len(jobs) == 1
        return jobs[0]["metadata"]["name"]

    job, now = await eventually(at_work, seconds=60), "2026-11-26T03:00:00Z"
    complete = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    times = {"startTime": now, "completionTime": now}
    await objects.status(kinds.JOB, job, {"conditions": complete, "succeeded": 1, **times})

    async def migrated() -> bool:
        return (await objects.condition(kinds.SWARM_MEMORY_STORE, name, "Migrated"))["status"] == "True"

    await eventually(migrated, seconds=60)


async def restore(objects, eventually, name: str, **ended: str) -> None:
    """Have a restore wait for a store that does not exist, or be one that ended with this status."""
    source = {"location": "file:///backups/test/b1"}
    await objects.apply(kinds.SWARM_MEMORY_RESTORE, name, {"storeRef": {"name": "absent"}, "from": source})

    async def judged() -> dict[str, str]:
        ready = await objects.condition(kinds.SWARM_MEMORY_RESTORE, name, "Ready")
        assert ready["reason"] == "StoreNotFound"
        return ready

    ready = await eventually(judged, seconds=60)
    if ended:
        conditions = [ready | {"status": "True", "reason": "Restored", "message": "3 new entries"}]
        await objects.status(kinds.SWARM_MEMORY_RESTORE, name, {"conditions": conditions, **ended})

        async def taken_over() -> bool:
            conditions = (await objects.get(kinds.SWARM_MEMORY_RESTORE, name))["status"]["conditions"]
            assert [condition["type"] for condition in conditions] == ["Ready"], "it is not Reconciling any more"
            return True

        await eventually(taken_over, seconds=60)


async def keep_up(world, objects, eventually) -> None:
    """Have the upgrade of a store rolled back, and its tokens replaced; have another one hibernate and get TLS."""
    await objects.store(ASLEEP, hibernated=True)
    await eventually(lambda: objects.get(kinds.PERSISTENT_VOLUME_CLAIM, f"{ASLEEP}-data"))
    await objects.status(kinds.PERSISTENT_VOLUME_CLAIM, f"{ASLEEP}-data", {"phase": "Bound"})
    access = [{"serviceAccount": {"name": "reviewer"}, "access": "read"}]
    await objects.store(ASLEEP, hibernated=True, tls={"mode": "auto"}, access=access)

    async def secure() -> bool:
        status = (await objects.get(kinds.SWARM_MEMORY_STORE, ASLEEP))["status"]
        told = {condition["type"]: condition["reason"] for condition in status["conditions"]}
        return status["endpoints"]["http"].startswith("https://") and told["CertificateReady"] == "Valid"

    await eventually(secure)
    steps = [
        (upkeep.create, upkeep.has_v1, True),
        (upkeep.upgrade, upkeep.has_v2, False),
        (upkeep.fail, upkeep.has_v1, False),
        (upkeep.observe_former, upkeep.is_rolled_back, True),
        (upkeep.rotate, upkeep.is_rotated, False),
    ]
    for act, done, becomes_ready in steps:
        await act(world)
        await eventually(lambda done=done: done(world))
        if becomes_ready:
            await objects.pretend_ready(upkeep.NAME)
            await eventually(lambda: upkeep.is_available(world))


async def make_ready(objects, eventually, world) -> list[str]:
    """63 stores, 11 of them of clusters, one a hive mind, all Ready but one that hibernates. Returns their names.

    One has migrated legacy memory; one has a failed upgrade behind it, and tokens of two kinds. The others have a
    schedule. Beside them are a restore that waits for its store, and one that was carried out.
    """
    names = [f"s{number}" for number in range(STORES)] + [f"c{number}-memory" for number in range(CLUSTERS)]
    names.append("hive-hivemind")
    hive = {"enabled": True, "backupEnabled": True, "backupInterval": RARELY}
    await objects.apply(kinds.SWARM_CLUSTER, "hive", {"hiveMind": hive})
    await in_batches([objects.store(f"s{number}", backupInterval=RARELY) for number in range(STORES)])
    # Their volumes are as full as this, and their class does not let them grow.
    memory = {
        "enableMemoryStore": True,
        "sqliteConfig": {"backupInterval": RARELY},
        "autogrow": {"threshold": 70, "max": "50Gi"},
    }
    agents = {"agents": 3, "agentTemplate": {}, "autoscaling": {"enabled": True, "maxAgents": 9}}
    specs = [{"memory": memory, **(agents if number < WITH_AGENTS else {})} for number in range(CLUSTERS)]
    await in_batches([objects.apply(kinds.SWARM_CLUSTER, f"c{number}", spec) for number, spec in enumerate(specs)])

    async def made() -> bool:
        return len((await objects.client.list(kinds.STATEFUL_SET, namespace=objects.namespace))[0]) == len(names)

    await eventually(made, seconds=300)
    await in_batches([objects.pretend_ready(name) for name in names])
    await migrate(objects, eventually, "s0")
    await restore(objects, eventually, "waits")
    at = "2026-11-26T03:00:00Z"
    await restore(objects, eventually, "done", phase="Completed", startedAt=at, completedAt=at)
    await keep_up(world, objects, eventually)
    names += [upkeep.NAME, ASLEEP]

    async def run(agents: str) -> None:
        await eventually(lambda: objects.get(kinds.STATEFUL_SET, agents))
        ready = {"replicas": 3, "readyReplicas": 3, "currentRevision": "r", "updateRevision": "r"}
        await objects.status(kinds.STATEFUL_SET, agents, {"observedGeneration": 1, **ready})

    await in_batches([run(f"c{number}-agent") for number in range(WITH_AGENTS)])

    async def ready() -> bool:
        stores, _ = await objects.client.list(kinds.SWARM_MEMORY_STORE, namespace=objects.namespace)
        clusters, _ = await objects.client.list(kinds.SWARM_CLUSTER, namespace=objects.namespace)
        assert [obj["metadata"]["name"] for obj in stores + clusters if obj["status"]["phase"] != "Ready"] == [ASLEEP]
        assert [obj["metadata"]["name"] for obj in stores if obj["status"].get("entryCount") != 3] == [ASLEEP]
        without = [obj["metadata"]["name"] for obj in stores if "nextBackup" not in obj["status"]]
        assert without == [ASLEEP, upkeep.NAME]
        return True

    await eventually(ready, seconds=60)
    return names


KEYS = ("/.well-known/openid-configuration", "/openid/v1/jwks")


async def test_60_ready_stores_cost_no_write_and_only_the_reads_of_the_status_polls(
    objects, audited, eventually, control_plane
):
    assembled, client = audited
    apart = await make_apart(objects, eventually)
    names = await make_ready(objects, eventually, World(control_plane, objects.client, objects.namespace))
    # What the last status write brought back changes nothing either, and the events have been sent.
    (recorder,) = (part for part in assembled.runnables if isinstance(part, EventRecorder))
    await recorder.drain()
    before = await versions(objects)
    client.requests.clear()
    folder = kinds.SECRET.path(namespace=objects.namespace)
    secrets = {*apart, *(f"{folder}/{name}-auth" for name in names), f"{folder}/{ASLEEP}-tls"}
    # What is read for all stores together, each about once a minute.
    of_all = {*KEYS, f"{folder}/{SECRET_NAME}"}

    async def looked_at_thrice() -> bool:
        polled = [path for _, method, path in client.requests if method == "GET"]
        return all(polled.count(path) >= 3 for path in secrets)

    with contextlib.suppress(AssertionError):  # it is judged below
        await eventually(looked_at_thrice, seconds=10 * INTERVAL)
    renewed = Counter(path for _, method, path in client.requests if method == "WATCH")
    assert max(renewed.values(), default=0) <= 1, "a watch is begun anew when its time is over"
    times: dict[str, list[float]] = {}
    for common in of_all:
        looks = [at for at, _, path in client.requests if path == common]
        assert all(later - earlier > 0.8 * KEYS_INTERVAL for earlier, later in itertools.pairwise(looks))
    for at, method, path in client.requests:
        if method == "WATCH" or path in of_all:
            continue
        assert (method, path in secrets) == ("GET", True), f"{method} {path} by an operator that has nothing to do"
        times.setdefault(path, []).append(at)
    assert set(times) == secrets
    gaps = [later - earlier for polls in times.values() for earlier, later in itertools.pairwise(polls)]
    assert len(gaps) >= 2 * len(names)
    assert min(gaps) > 0.8 * INTERVAL, "a store was looked at before its interval was over"
    assert await versions(objects) == before

    clusters, stores, *_ = (part for part in assembled.runnables if isinstance(part, Controller))
    client.requests.clear()
    for turn in range(50):
        for controller, of_this_turn in (
            (stores, names[turn::50]),
            (clusters, [f"c{turn % CLUSTERS}"]),
        ):
            for name in of_this_turn:
                controller.queue.add(Key(objects.namespace, name))

            async def done(controller=controller) -> bool:
                return len(controller.queue) == 0 and not controller.queue._locked

            await eventually(done)
    reads = [(method, path) for _, method, path in client.requests if method != "WATCH"]
    assert len(reads) >= len(names), "every store was reconciled"
    assert set(reads) <= {("GET", path) for path in secrets | of_all}
    assert await versions(objects) == before
