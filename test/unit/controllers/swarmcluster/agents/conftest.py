"""Swarms with agents, and what the controllers of Kubernetes say of these."""

import pytest

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.runtime.resource import Key

KEY, AGENTS_KEY = Key("ns", "hive"), Key("ns", "hive-agent")
CLUSTER, STORE = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE


@pytest.fixture
def agents_object(cluster_object):
    """Makes SwarmClusters with a memory and agents, as the API server has them."""

    def make(template=None, *, generation=1, **spec):
        obj = cluster_object(enableMemoryStore=True)
        obj["spec"] |= {"agentTemplate": template or {}} | spec
        obj["metadata"]["generation"] = generation
        return obj

    return make


@pytest.fixture
def swarm(agents_object):
    """Makes them as the reconciler reads them."""

    def make(template=None, **spec):
        return SwarmCluster.model_validate(agents_object(template, **spec))

    return make


@pytest.fixture
def memory():
    """The swarm's memory."""
    metadata = {"name": "hive-memory", "namespace": "ns"}
    return SwarmMemoryStore.model_validate({"metadata": metadata, "spec": {"swarmId": "hive"}})


@pytest.fixture
def reconciler(caching, recorder, clock):
    return SwarmClusterReconciler(caching, recorder, clock, image="swarm-memory:v1", pull_secrets=("keys",))


@pytest.fixture
def run(reconciler, seen, cache):
    """Reconcile a SwarmCluster with this spec, and return its status."""

    async def once(obj=None):
        if obj is not None:
            stored = cache.get(CLUSTER, KEY) or {}
            seen(CLUSTER, {**obj, "status": stored.get("status", {})})
        result = await reconciler.reconcile(KEY)
        status = cache.get(CLUSTER, KEY)["status"]
        conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
        return status | {"conditions": conditions, "result": result}

    return once


@pytest.fixture
def memory_serves(run, agents_object, seen, cache):
    """The swarm is made, and its memory is ready."""

    async def become(obj=None):
        await run(obj or agents_object())
        store = cache.get(STORE, Key("ns", "hive-memory"))
        ready = {"type": "Ready", "status": "True", "reason": "Available", "message": "it answers"}
        generation = store["metadata"]["generation"]
        seen(STORE, store | {"status": {"phase": "Ready", "observedGeneration": generation, "conditions": [ready]}})

    return become


@pytest.fixture
def workload(cache):
    return lambda: cache.get(kinds.STATEFUL_SET, AGENTS_KEY)


@pytest.fixture
def agents_are(seen, workload):
    """What the StatefulSet controller says of the newest template."""

    def say(ready, total=None, **status):
        live = workload()
        revision = {"currentRevision": "a", "updateRevision": "a", "observedGeneration": live["metadata"]["generation"]}
        total = ready if total is None else total
        seen(kinds.STATEFUL_SET, live | {"status": {"replicas": total, "readyReplicas": ready, **revision, **status}})

    return say
