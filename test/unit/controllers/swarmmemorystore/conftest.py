"""A reconciler of stores with a memory service of a few numbers, and what Kubernetes' controllers do."""

import asyncio
import random

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.runtime.resource import Key
from swarm_operator.shared.service_accounts import FEATURE

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


class FakeObserver:
    def __init__(self):
        self.asked = []
        self.answer = Observation()

    async def observe(self, store, target):
        self.asked.append((store.metadata.name, target))
        return self.answer


class Numbers:
    entries, agents, tasks, patterns, database_size_bytes, cache_hit_rate = 5, 1, 2, 3, 4096, 0.5
    features = frozenset({FEATURE})
    fault, settings, volume_size_bytes, volume_free_bytes = None, {}, 1000, 900


@pytest.fixture
def numbers():
    """What a memory service answers."""
    return Observation(Numbers())


@pytest.fixture
def observer():
    return FakeObserver()


@pytest.fixture
def listed(reads, recorder, observer):
    return reads(lambda client: SwarmMemoryStoreReconciler(client, recorder, observer, ""))


@pytest.fixture
def reconciler(caching, recorder, observer, clock):
    return SwarmMemoryStoreReconciler(
        caching, recorder, observer, "registry/swarm-memory:v1", clock=clock, rng=random.Random(1)
    )


@pytest.fixture
def turn():
    """Lets a poll that was started end."""

    async def let_end():
        for _ in range(5):
            await asyncio.sleep(0)

    return let_end


@pytest.fixture
def reconcile(reconciler, turn):
    """Reconcile, let the poll that this starts end, and reconcile again if it found something new."""
    enqueued = []
    reconciler.poller.enqueue = enqueued.append

    async def passes():
        result = await reconciler.reconcile(KEY)
        await turn()
        if enqueued:
            enqueued.clear()
            result = await reconciler.reconcile(KEY)
        return result

    return passes


@pytest.fixture
def status(cache):
    return lambda: cache.get(STORE, KEY)["status"]


@pytest.fixture
def condition(status):
    return lambda kind: next(found for found in status()["conditions"] if found["type"] == kind)


@pytest.fixture
def ready(seen, cache):
    """What the StatefulSet controller and the volumes' do when all goes well."""

    def make():
        workload = cache.get(kinds.STATEFUL_SET, KEY)
        observed = {"observedGeneration": workload["metadata"]["generation"]}
        revision = {"readyReplicas": 1, "currentRevision": "a", "updateRevision": "a"}
        seen(kinds.STATEFUL_SET, workload | {"status": observed | revision})
        claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
        seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"status": {"phase": "Bound"}})

    return make


@pytest.fixture
def become(seen, store_object, cache, reconcile):
    """Reconciles the store with another spec."""

    async def change(**spec):
        known = cache.get(STORE, KEY)
        obj = store_object(**spec)
        obj["metadata"]["generation"] = known["metadata"]["generation"] + 1 if known else 1
        seen(STORE, obj | ({"status": known["status"]} if known else {}))
        return await reconcile()

    return change
