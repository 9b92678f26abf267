import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.children import ELSEWHERE_INDEX, by_owner_elsewhere
from swarm_operator.controllers.swarmcluster.namespaces import FINALIZER
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.errors import ConflictError, ForbiddenError
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "hive")
STORE, NAMESPACE = kinds.SWARM_MEMORY_STORE, kinds.NAMESPACE
ALLOW = "swarm.claudeflow.io/allow-clusters-from"
OWNER = {
    "swarm.claudeflow.io/cluster-name": "hive",
    "swarm.claudeflow.io/cluster-namespace": "ns",
    "swarm.claudeflow.io/cluster-uid": "uid-hive",
}


@pytest.fixture
def made(client):
    """Names of the objects of a kind, with their namespaces."""
    return lambda kind: [str(key) for (resource, key) in client.objects if resource == kind]


async def test_a_cluster_that_names_no_namespaces_gets_those_of_the_operator(reconciler, separate, client, made):
    separate(hive=True)
    await reconciler.reconcile(KEY)
    assert made(NAMESPACE) == ["claude-flow-swarm", "claude-flow-hivemind"]
    assert sorted(made(STORE)) == ["claude-flow-hivemind/hive-hivemind", "claude-flow-swarm/hive-memory"]
    namespace = client.objects[NAMESPACE, Key("", "claude-flow-swarm")]
    managed = {"app.kubernetes.io/managed-by": "swarm-operator", "pod-security.kubernetes.io/enforce": "restricted"}
    assert namespace["metadata"]["labels"] == OWNER | managed


async def test_the_finalizer_is_there_before_anything_that_needs_it(reconciler, separate, client):
    separate()
    await reconciler.reconcile(KEY)
    first, second, third, _ = client.writes()
    assert (first, second) == (("merge", "SwarmCluster", "hive"), ("create", "Namespace", "claude-flow-swarm"))
    assert third == ("apply", "SwarmMemoryStore", "hive-memory")
    assert client.objects[kinds.SWARM_CLUSTER, KEY]["metadata"]["finalizers"] == [FINALIZER]


async def test_a_hive_mind_that_is_not_asked_for_needs_no_namespace(reconciler, separate, made):
    separate(swarmNamespace="far")
    await reconciler.reconcile(KEY)
    assert made(NAMESPACE) == ["far"]


async def test_the_cluster_s_own_namespace_is_not_read(reconciler, separate, client, conditions):
    separate(hive=True, swarmNamespace="ns", hiveMindNamespace="ns")
    await reconciler.reconcile(KEY)
    assert [request for request in client.requests if request[1] == "Namespace"] == []
    assert "finalizers" not in client.objects[kinds.SWARM_CLUSTER, KEY]["metadata"]
    assert conditions()["NamespacesReady"] == ("True", "OwnNamespace")


async def test_names_stay_when_the_operator_s_defaults_change(reconciler, separate, seen, cache, made, status):
    obj = separate()
    seen(kinds.SWARM_CLUSTER, obj | {"status": {"swarmNamespace": "of-before"}})
    await reconciler.reconcile(KEY)
    assert made(NAMESPACE) == ["of-before"]
    assert (status()["swarmNamespace"], status()["hiveMindNamespace"]) == ("of-before", "claude-flow-hivemind")


@pytest.mark.parametrize("allowed", ["ns", "*", "others, ns", "ns,others"])
async def test_a_namespace_that_allows_the_cluster_is_used(reconciler, separate, namespace, made, conditions, allowed):
    namespace("far", annotations={ALLOW: allowed})
    separate(swarmNamespace="far")
    await reconciler.reconcile(KEY)
    assert made(STORE) == ["far/hive-memory"]
    assert conditions()["NamespacesReady"] == ("True", "NamespacesExist")


@pytest.mark.parametrize(
    ("labels", "annotations", "reason"),
    [
        ({}, {}, "NamespaceNotAllowed"),
        ({}, {ALLOW: ""}, "NamespaceNotAllowed"),
        ({}, {ALLOW: "other,nsx"}, "NamespaceNotAllowed"),
        ({ALLOW: "ns"}, {}, "NamespaceNotAllowed"),
        (OWNER | {"swarm.claudeflow.io/cluster-uid": "another"}, {}, "NamespaceTaken"),
    ],
    ids=["not", "nobody", "others", "as-label", "of-another-cluster"],
)
async def test_rights_in_one_namespace_give_none_in_another(
    reconciler, separate, namespace, client, conditions, message, labels, annotations, reason
):
    namespace("far", labels=labels, annotations=annotations)
    separate(swarmNamespace="far")
    assert (await reconciler.reconcile(KEY)).requeue_after == 10.0
    assert conditions()["NamespacesReady"] == ("False", reason)
    assert conditions()["Ready"] == ("False", reason)
    assert f"{ALLOW}=ns" in message("NamespacesReady")
    writes = [request[:2] for request in client.writes()]
    assert writes == [("merge", "SwarmCluster"), ("apply status", "SwarmCluster")], "nothing is made"


@pytest.mark.parametrize(
    ("config", "reason", "says"),
    [
        ({"allowedNamespaces": ["other"]}, "NamespaceNotAllowed", "not in allowedNamespaces"),
        ({"createNamespaces": False}, "NamespaceMissing", "createNamespaces"),
    ],
)
async def test_what_the_cluster_itself_rules_out_is_not_used(
    reconciler, separate, made, conditions, message, config, reason, says
):
    separate(**config)
    await reconciler.reconcile(KEY)
    assert conditions()["NamespacesReady"] == ("False", reason)
    assert says in message("NamespacesReady")
    assert made(STORE) == made(NAMESPACE) == []


async def test_a_namespace_of_kubernetes_is_never_used_whatever_it_allows(
    reconciler, separate, namespace, seen, made, conditions
):
    """The CRD refuses such a name; what the flags and an old status say, it does not see."""
    namespace("kube-system", annotations={ALLOW: "*"})
    seen(kinds.SWARM_CLUSTER, separate() | {"status": {"swarmNamespace": "kube-system"}})
    await reconciler.reconcile(KEY)
    assert conditions()["NamespacesReady"] == ("False", "NamespaceNotAllowed")
    assert made(STORE) == []


async def test_a_namespace_that_is_being_deleted_gets_nothing(reconciler, separate, namespace, made, conditions):
    namespace("far", labels=OWNER, deletionTimestamp="2026-11-23T12:00:00Z")
    separate(swarmNamespace="far")
    await reconciler.reconcile(KEY)
    assert conditions()["NamespacesReady"] == ("False", "NamespaceTerminating")
    assert made(STORE) == []


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_the_right_to_read_and_make_namespaces_may_be_missing(reconciler, separate, client, conditions, verb):
    client.refusals[verb, "Namespace"] = ForbiddenError("namespaces is forbidden", status=403)
    separate(swarmNamespace="ns", hive=True)
    await reconciler.reconcile(KEY)
    assert conditions()["NamespacesReady"] == ("False", "NamespacesForbidden")
    assert conditions()["HiveMindReady"] == ("Unknown", "Pending")
    assert conditions()["MemoryReady"] == ("False", "WaitingForStore"), "what needs no other namespace goes on"


async def test_a_namespace_that_the_operator_does_not_watch_gets_nothing(
    client, recorder, clock, separate, reconciler, conditions, cache
):
    separate()
    watching = Cache(client, namespaces=["ns"])
    for kind in dict.fromkeys((kinds.SWARM_CLUSTER, STORE, *(kind for step in reconciler.steps for kind in step.owns))):
        watching.add(kind)[0].replaced([], "0")
        watching.add_index(kind, ELSEWHERE_INDEX, by_owner_elsewhere)
    watching.add(kinds.SWARM_CLUSTER)[0].changed(cache.get(kinds.SWARM_CLUSTER, KEY))
    reconciler.client = CachedClient(client, watching)
    await reconciler.reconcile(KEY)
    (status,) = [obj["status"] for (kind, _), obj in client.objects.items() if kind == kinds.SWARM_CLUSTER]
    assert {c["type"]: c["reason"] for c in status["conditions"]}["NamespacesReady"] == "NamespaceNotWatched"
    assert (NAMESPACE, Key("", "claude-flow-swarm")) not in client.objects


async def test_of_two_clusters_the_first_has_the_namespace(
    reconciler, separate, client, namespace, conditions, message
):
    """Both saw that it does not exist; the other was faster."""
    create = client.create

    async def too_late(resource, obj, *, field_manager):
        namespace("claude-flow-swarm", labels=OWNER | {"swarm.claudeflow.io/cluster-uid": "another"})
        client.create = create
        raise ConflictError("exists", status=409)

    client.create = too_late
    separate()
    await reconciler.reconcile(KEY)
    assert conditions()["NamespacesReady"] == ("False", "NamespaceTaken")
    assert "was made for SwarmCluster ns/hive" in message("NamespacesReady")


async def test_a_hive_mind_that_may_not_be_there_leaves_the_memory_alone(
    reconciler, separate, namespace, conditions, store_says, status
):
    namespace("far")
    separate(hive=True, swarmNamespace="ns", hiveMindNamespace="far")
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available")
    await reconciler.reconcile(KEY)
    assert conditions()["MemoryReady"] == ("True", "Available")
    assert conditions()["NamespacesReady"] == conditions()["Ready"] == ("False", "NamespaceNotAllowed")
    assert status()["memoryStatus"] == {"available": True}


async def test_a_store_of_the_same_name_in_a_shared_namespace_is_never_taken_over(
    reconciler, separate, namespace, client, seen, conditions
):
    namespace("far", annotations={ALLOW: "*"})
    theirs = {"name": "hive-memory", "namespace": "far", "uid": "theirs"}
    theirs["labels"] = OWNER | {"swarm.claudeflow.io/cluster-uid": "another"}
    seen(STORE, {"metadata": theirs, "spec": {}})
    separate(swarmNamespace="far")
    await reconciler.reconcile(KEY)
    assert conditions()["Ready"] == ("False", "NameTaken")
    assert client.objects[STORE, Key("far", "hive-memory")]["spec"] == {}


async def test_when_everything_is_as_wanted_nothing_is_written(reconciler, separate, client, store_says, conditions):
    separate(hive=True)
    await reconciler.reconcile(KEY)
    for namespace, name in (("claude-flow-swarm", "hive-memory"), ("claude-flow-hivemind", "hive-hivemind")):
        store_says("Ready", "True", "Available", key=Key(namespace, name))
    await reconciler.reconcile(KEY)
    assert conditions()["Ready"] == ("True", "Available")
    client.requests.clear()
    for _ in range(5):
        assert (await reconciler.reconcile(KEY)).requeue_after == 300.0
    assert client.writes() == []
