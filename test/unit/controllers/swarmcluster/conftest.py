import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.runtime.resource import Key

KEY, STORE_KEY = Key("ns", "hive"), Key("ns", "hive-memory")


@pytest.fixture
def listed(reads, recorder):
    return reads(lambda client: SwarmClusterReconciler(client, recorder, image=""))


@pytest.fixture
def reconciler(caching, recorder, clock):
    return SwarmClusterReconciler(caching, recorder, clock, image="swarm-memory:v1")


@pytest.fixture
def status(cache):
    return lambda: cache.get(kinds.SWARM_CLUSTER, KEY)["status"]


@pytest.fixture
def conditions(status):
    """Status and reason of all conditions."""
    return lambda: {c["type"]: (c["status"], c["reason"]) for c in status()["conditions"]}


@pytest.fixture
def message(status):
    """Message of a condition."""
    return lambda of: {c["type"]: c["message"] for c in status()["conditions"]}[of]


@pytest.fixture
def store_says(seen, cache):
    def say(phase, status, reason, message="so it is", key=STORE_KEY, **numbers):
        store = cache.get(kinds.SWARM_MEMORY_STORE, key)
        ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
        generation = store["metadata"]["generation"]
        told = {"phase": phase, "observedGeneration": generation, "conditions": [ready]}
        seen(kinds.SWARM_MEMORY_STORE, store | {"status": told | numbers})

    return say


@pytest.fixture
def separate(seen, cluster_object):
    """A cluster that asks for namespaces, with its memory."""

    def make(*, hive=False, **config):
        obj = cluster_object(enableMemoryStore=True)
        obj["spec"] |= {"namespaceConfig": config, "hiveMind": {"enabled": hive}}
        return seen(kinds.SWARM_CLUSTER, obj)

    return make


@pytest.fixture
def namespace(client):
    """A namespace that somebody made."""

    def put(name, *, labels=None, annotations=None, **metadata):
        metadata |= {"name": name, "uid": f"uid-{name}", "labels": labels or {}, "annotations": annotations or {}}
        return client.put(kinds.NAMESPACE, {"metadata": metadata})

    return put
