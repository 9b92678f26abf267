import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import TerminalError
from swarm_operator.runtime.resource import Key, owner_reference

KEY, STORE_KEY = Key("ns", "hive"), Key("ns", "hive-memory")
CLUSTER, STORE = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE


@pytest.fixture
def judged(status):
    """Status and reason of the conditions of a swarm that has all in its own namespace and no hive mind."""

    def read():
        found = {c["type"]: (c["status"], c["reason"]) for c in status()["conditions"]}
        is_ready = found["Ready"][0] == "True"
        assert [type_ in found for type_ in ("Stalled", "Reconciling")].count(True) == (not is_ready)
        found = {type_: said for type_, said in found.items() if type_ not in {"Stalled", "Reconciling"}}
        assert found.pop("HiveMindReady", None) in {None, ("False", "Disabled"), ("Unknown", "Pending")}
        assert found.pop("NamespacesReady", None) in {None, ("True", "OwnNamespace"), ("Unknown", "Pending")}
        return found

    return read


async def test_a_cluster_that_is_gone_is_left_alone(reconciler, client, seen, cluster_object):
    assert await reconciler.reconcile(KEY) == Result()
    obj = cluster_object(enableMemoryStore=True)
    obj["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(CLUSTER, obj)
    assert await reconciler.reconcile(KEY) == Result()
    assert client.requests == []


async def test_a_cluster_without_memory_is_ready(reconciler, client, seen, cluster_object, status, judged, message):
    seen(CLUSTER, cluster_object())
    assert await reconciler.reconcile(KEY) == Result()
    assert client.writes() == [("apply status", "SwarmCluster", "hive")]
    assert judged() == {"MemoryReady": ("False", "Disabled"), "Ready": ("True", "Disabled")}
    assert (status()["phase"], "memoryStatus" in status()) == ("Ready", False)
    for condition in ("Ready", "MemoryReady"):
        assert "set spec.memory.enableMemoryStore to true" in message(condition)


async def test_a_cluster_with_an_empty_spec_says_that_it_has_no_memory(reconciler, seen, cluster_object, judged):
    seen(CLUSTER, cluster_object() | {"spec": {}})
    await reconciler.reconcile(KEY)
    assert judged()["Ready"] == ("True", "Disabled")


async def test_a_cluster_with_memory_gets_a_store_that_it_owns(reconciler, seen, cluster_object, cache, judged, status):
    seen(CLUSTER, cluster_object(enableMemoryStore=True, size="1Gi"))
    await reconciler.reconcile(KEY)
    store = cache.get(STORE, STORE_KEY)
    assert store["metadata"]["ownerReferences"] == [owner_reference(cluster_object())]
    assert store["spec"]["storageSize"] == "1Gi"
    assert judged() == {"MemoryReady": ("False", "WaitingForStore"), "Ready": ("False", "WaitingForStore")}
    assert status()["phase"] == "Initializing"


@pytest.mark.parametrize(
    ("phase", "ready", "reason", "shown"),
    [
        ("Ready", "True", "Available", "Ready"),
        ("Initializing", "False", "WaitingForPod", "Initializing"),
        ("Error", "False", "CrashLoopBackOff", "Error"),
        ("BackingUp", "True", "Available", "Ready"),
    ],
)
async def test_the_cluster_says_what_its_store_says(
    reconciler, seen, cluster_object, store_says, status, judged, message, phase, ready, reason, shown
):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    await reconciler.reconcile(KEY)
    store_says(phase, ready, reason)
    await reconciler.reconcile(KEY)
    assert judged() == {"MemoryReady": (ready, reason), "Ready": (ready, reason)}
    assert (status()["phase"], status()["memoryStatus"]) == (shown, {"available": ready == "True"})
    assert message("Ready") == "SwarmMemoryStore hive-memory: so it is"


async def test_what_a_store_says_of_an_older_spec_does_not_count(
    reconciler, seen, cluster_object, store_says, judged, cache
):
    seen(CLUSTER, cluster_object(enableMemoryStore=True, size="1Gi"))
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available")
    await reconciler.reconcile(KEY)
    assert judged()["Ready"] == ("True", "Available")
    seen(CLUSTER, cache.get(CLUSTER, KEY) | {"spec": {"memory": {"enableMemoryStore": True, "size": "2Gi"}}})
    await reconciler.reconcile(KEY)
    assert judged()["Ready"] == ("False", "WaitingForStore")
    store_says("Ready", "True", "Available")
    await reconciler.reconcile(KEY)
    assert judged()["Ready"] == ("True", "Available")


async def test_taking_the_flag_back_keeps_the_store_and_says_so(
    reconciler, seen, cluster_object, client, store_says, status, judged, message
):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available")
    seen(CLUSTER, cluster_object(size="99Gi"))
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert client.requests == [("apply status", "SwarmCluster", "hive")]
    assert judged()["Ready"] == ("True", "Disabled")
    assert "is kept with its data" in message("Ready")
    assert status()["memoryStatus"] == {"available": True}


async def test_when_everything_is_as_wanted_nothing_is_written(reconciler, seen, cluster_object, client, store_says):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available")
    await reconciler.reconcile(KEY)
    client.requests.clear()
    for _ in range(50):
        await reconciler.reconcile(KEY)
    assert client.requests == []


async def test_a_store_of_somebody_else_is_never_taken_over(reconciler, seen, cluster_object, client, judged):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    seen(STORE, {"metadata": {"name": "hive-memory", "namespace": "ns", "uid": "theirs"}, "spec": {}})
    assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
    assert judged() == {"Ready": ("False", "NameTaken"), "MemoryReady": ("Unknown", "Pending")}
    assert client.writes() == [("apply status", "SwarmCluster", "hive")]


async def test_a_spec_that_is_not_valid_makes_no_store(reconciler, seen, cluster_object, cache, judged):
    seen(CLUSTER, cluster_object(enableMemoryStore=True, size="lots"))
    with pytest.raises(TerminalError, match=r"spec\.memory\.size"):
        await reconciler.reconcile(KEY)
    assert judged() == {"Ready": ("False", "InvalidSpec"), "MemoryReady": ("Unknown", "Pending")}
    assert cache.get(STORE, STORE_KEY) is None


async def test_a_changed_spec_is_reconciled_and_a_changed_status_is_not(
    reconciler, cache, caching, client, cluster_object
):
    """Otherwise each status write would cause another pass."""
    fresh = type(cache)(client)
    controller = Controller("watching-clusters-themselves", reconciler, fresh)
    reconciler.client = type(caching)(client, fresh)
    reconciler.set_up(controller)
    (informer,) = [informer for informer in fresh.informers if informer.resource == CLUSTER]
    obj = cluster_object()

    async def due(version, **changed):
        metadata = obj["metadata"] | {"resourceVersion": version} | changed.pop("metadata", {})
        informer.changed(obj | {"metadata": metadata} | changed)
        if not len(controller.queue):
            return False
        assert await controller.queue.get() == (KEY, 0)
        controller.queue.done(KEY)
        return True

    assert await due("1")
    assert not await due("2", status={"phase": "Ready"})
    assert await due("3", metadata={"generation": 2})
    assert not await due("4", metadata={"generation": 2}, status={"phase": "Error"})


async def test_the_numbers_of_its_store_are_the_cluster_s(reconciler, seen, cluster_object, store_says, status):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available", databaseSize=4096, cacheHitRate=0.25)
    await reconciler.reconcile(KEY)
    assert status()["memoryStatus"] == {"available": True, "used": 4096, "hitRate": 0.25}


async def test_a_change_of_its_store_is_a_reason_to_look(reconciler, cache, caching, client, cluster_object):
    fresh = type(cache)(client)
    controller = Controller("watching-clusters", reconciler, fresh)
    reconciler.client = type(caching)(client, fresh)
    reconciler.set_up(controller)
    children = (
        kinds.STATEFUL_SET,
        kinds.SERVICE,
        kinds.CONFIG_MAP,
        kinds.SERVICE_ACCOUNT,
        kinds.NETWORK_POLICY,
        kinds.HORIZONTAL_POD_AUTOSCALER,
        kinds.POD,
    )
    watched = {informer.resource: informer for informer in fresh.informers}
    assert watched.keys() == {CLUSTER, STORE, *children, kinds.PERSISTENT_VOLUME_CLAIM, kinds.SWARM_MEMORY_BACKUP}
    metadata = {"name": "hive-memory", "namespace": "ns", "ownerReferences": [owner_reference(cluster_object())]}
    watched[STORE].changed({"metadata": metadata, "status": {}})
    assert await controller.queue.get() == (KEY, 0)
    controller.queue.done(KEY)
    labels = {"swarm.claudeflow.io/cluster-namespace": "ns", "swarm.claudeflow.io/cluster-name": "hive"}
    watched[STORE].changed({"metadata": {"name": "hive-hivemind", "namespace": "far", "labels": labels}})
    assert await controller.queue.get() == (KEY, 0)


async def test_a_paused_cluster_says_so_and_its_store_stays_as_it_is(
    reconciler, client, seen, cluster_object, cache, judged
):
    seen(CLUSTER, cluster_object(enableMemoryStore=True))
    await reconciler.reconcile(KEY)
    seen(CLUSTER, cache.get(CLUSTER, KEY) | {"spec": {"paused": True, "memory": {"enableMemoryStore": False}}})
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert judged()["Paused"] == ("True", "Paused")
    assert client.writes() == [("apply status", "SwarmCluster", "hive")]
