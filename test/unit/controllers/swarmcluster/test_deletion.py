import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.deletion import CONTENTS, NAMESPACE_GRACE, SETTLING, contents_quota
from swarm_operator.controllers.swarmcluster.namespaces import FINALIZER
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import ForbiddenError
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "hive")
CLUSTER, STORE, NAMESPACE = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE, kinds.NAMESPACE
SWARM, HIVE = Key("", "claude-flow-swarm"), Key("", "claude-flow-hivemind")
ALLOW = "swarm.claudeflow.io/allow-clusters-from"


@pytest.fixture
async def deleted(reconciler, separate, seen, client, cache):
    """A cluster with a hive mind in two namespaces that were made for it, whose deletion has begun."""
    separate(hive=True)
    await reconciler.reconcile(KEY)
    live = client.objects[CLUSTER, KEY]
    seen(CLUSTER, live | {"metadata": live["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}})
    client.requests.clear()
    return reconciler


@pytest.fixture
def counted(client):
    """What the quota controller of Kubernetes writes."""

    def write(namespace, **contents):
        quota = client.objects[kinds.RESOURCE_QUOTA, Key(namespace, CONTENTS)]
        empty = dict.fromkeys(quota["spec"]["hard"], "0") | {"count/configmaps": "1", "count/serviceaccounts": "1"}
        used = empty | {f"count/{name}": number for name, number in contents.items()}
        client.put(kinds.RESOURCE_QUOTA, quota | {"status": {"used": used}})

    return write


@pytest.fixture
def stores_are_gone(forget, client, cache):
    """The deletion of the stores, which the fake server has carried out, is seen."""

    def see():
        (informer,) = cache.add(STORE)
        for obj in list(informer.store):
            informer.deleted(obj)

    return see


def left(client, kind):
    return [key for (resource, key) in client.objects if resource == kind]


async def test_stores_elsewhere_are_deleted_first_and_waited_for(deleted, client, status):
    await deleted.reconcile(KEY)
    assert [request for request in client.writes() if request[0] == "delete"] == [
        ("delete", "SwarmMemoryStore", "hive-hivemind"),
        ("delete", "SwarmMemoryStore", "hive-memory"),
    ]
    assert status()["phase"] == "Deleting"
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == [FINALIZER]


async def test_empty_namespaces_that_were_made_for_it_go_with_it(deleted, client, stores_are_gone, counted):
    await deleted.reconcile(KEY)
    stores_are_gone()
    assert (await deleted.reconcile(KEY)).requeue_after == 2.0
    counted(SWARM.name)
    await deleted.reconcile(KEY)
    assert left(client, NAMESPACE) == [HIVE], "what is not known of the other keeps it"
    counted(HIVE.name)
    assert await deleted.reconcile(KEY) == Result()
    assert left(client, NAMESPACE) == []
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []


@pytest.mark.parametrize("kind", ["secrets", "configmaps", "pods", "deployments.apps", "persistentvolumeclaims"])
async def test_a_namespace_with_something_of_a_user_stays(
    deleted, client, stores_are_gone, counted, kind, clock, recorder
):
    await deleted.reconcile(KEY)
    stores_are_gone()
    await deleted.reconcile(KEY)
    counted(SWARM.name, **{kind: "2"})
    await deleted.reconcile(KEY)
    assert SWARM in left(client, NAMESPACE)
    clock.advance(NAMESPACE_GRACE + 1)
    await deleted.reconcile(KEY)
    assert SWARM in left(client, NAMESPACE)
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []
    assert ("Warning", "NamespaceKept", f"Namespace {SWARM.name} stays: in it are 2 {kind}") in recorder.events
    assert left(client, kinds.RESOURCE_QUOTA) == [], "ours goes"


async def test_a_namespace_whose_contents_nobody_counts_stays(deleted, client, stores_are_gone, clock, recorder):
    await deleted.reconcile(KEY)
    stores_are_gone()
    await deleted.reconcile(KEY)
    clock.advance(NAMESPACE_GRACE + 1)
    await deleted.reconcile(KEY)
    assert left(client, NAMESPACE) == [SWARM, HIVE]
    assert recorder.reasons.count("NamespaceKept") == 2


@pytest.mark.parametrize("kind", [kinds.PERSISTENT_VOLUME_CLAIM, kinds.SWARM_MEMORY_BACKUP], ids=lambda k: k.kind)
async def test_what_is_retained_is_not_waited_for(
    deleted, client, stores_are_gone, counted, clock, seen, kind, recorder
):
    seen(kind, {"metadata": {"name": "kept", "namespace": SWARM.name, "uid": "u"}, "spec": {"storeRef": {"name": "x"}}})
    await deleted.reconcile(KEY)
    stores_are_gone()
    await deleted.reconcile(KEY)
    counted(SWARM.name, persistentvolumeclaims="1")
    assert (await deleted.reconcile(KEY)).requeue_after == 2.0, "it may be on its way out, and the cache behind"
    clock.advance(SETTLING + 1)
    await deleted.reconcile(KEY)
    counted(HIVE.name)
    await deleted.reconcile(KEY)
    assert left(client, NAMESPACE) == [SWARM]
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []


async def test_a_namespace_that_only_allows_the_cluster_stays(
    reconciler, separate, namespace, client, seen, stores_are_gone
):
    namespace("far", annotations={ALLOW: "ns"})
    separate(swarmNamespace="far")
    await reconciler.reconcile(KEY)
    live = client.objects[CLUSTER, KEY]
    seen(CLUSTER, live | {"metadata": live["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}})
    await reconciler.reconcile(KEY)
    stores_are_gone()
    client.requests.clear()
    assert await reconciler.reconcile(KEY) == Result()
    assert client.writes() == [("merge", "SwarmCluster", "hive")]
    assert left(client, NAMESPACE) == [Key("", "far")]


async def test_the_right_to_see_namespaces_may_be_missing(deleted, client, stores_are_gone, recorder):
    await deleted.reconcile(KEY)
    stores_are_gone()
    client.refusals["get", "Namespace"] = ForbiddenError("namespaces is forbidden", status=403)
    assert await deleted.reconcile(KEY) == Result()
    assert "NamespaceKept" in recorder.reasons
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []


async def test_somebody_else_s_quota_of_that_name_does_not_stop_the_deletion(deleted, client, stores_are_gone, counted):
    theirs = contents_quota(SWARM.name)
    client.put(kinds.RESOURCE_QUOTA, theirs | {"metadata": theirs["metadata"] | {"labels": {}, "uid": "theirs"}})
    await deleted.reconcile(KEY)
    stores_are_gone()
    await deleted.reconcile(KEY)
    counted(HIVE.name)
    assert await deleted.reconcile(KEY) == Result()
    assert left(client, NAMESPACE) == [SWARM]
    assert Key(SWARM.name, CONTENTS) in left(client, kinds.RESOURCE_QUOTA)
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []
