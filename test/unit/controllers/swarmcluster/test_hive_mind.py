from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.hive_mind import hive_mind
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "hive")
CLUSTER, STORE = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE
HIVE_MIND = Key("ns", "hive-hivemind")


def asking(cluster_object, *, memory=None, **hive):
    obj = cluster_object(**(memory or {}))
    obj["spec"]["hiveMind"] = {"enabled": True, **hive}
    return obj


def test_it_is_a_store_of_a_swarm_of_its_own(cluster_object):
    store = hive_mind(SwarmCluster.model_validate(asking(cluster_object, databaseSize="2Gi")))
    assert store["spec"] == {
        "type": "sqlite",
        "swarmId": "hive-hivemind",
        "swarmClusterRef": "hive",
        "storageSize": "2Gi",
    }
    assert SwarmMemoryStore.model_validate(store).swarm_id == "hive-hivemind"


def test_its_backups_are_where_the_memory_s_are_or_on_a_volume(cluster_object):
    cluster = SwarmCluster.model_validate(asking(cluster_object, backupEnabled=True, backupInterval="2h"))
    assert hive_mind(cluster)["spec"].items() >= {"backup": {"volume": {}}, "backupInterval": "2h"}.items()
    places = {"objectStore": {"url": "s3://bucket", "credentialsSecretRef": {"name": "keys"}}}
    memory = {"sqliteConfig": {"backup": places}, "deletionPolicy": "Retain"}
    spec = hive_mind(SwarmCluster.model_validate(asking(cluster_object, backupEnabled=True, memory=memory)))["spec"]
    assert (spec["backup"], spec["deletionPolicy"]) == (places, "Retain")


def test_agents_in_another_namespace_reach_it(cluster_object):
    """By default only pods of its own namespace would."""
    obj = asking(cluster_object)
    obj["spec"]["namespaceConfig"] = {"swarmNamespace": "agents", "hiveMindNamespace": "minds"}
    spec = hive_mind(SwarmCluster.model_validate(obj))["spec"]
    allowed = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: peer["podSelector"]
        for peer in spec["networkPolicy"]["from"]
    }
    assert allowed.keys() == {"minds", "agents"}
    assert allowed["agents"]["matchLabels"]["app.kubernetes.io/instance"] == "hive", "its own agents, and no others"
    obj["spec"]["namespaceConfig"]["hiveMindNamespace"] = "agents"
    assert "networkPolicy" not in hive_mind(SwarmCluster.model_validate(obj))["spec"]


def test_it_serves_tls_as_the_memory_does(cluster_object):
    tls = {"mode": "auto"}
    assert hive_mind(SwarmCluster.model_validate(asking(cluster_object, memory={"tls": tls})))["spec"]["tls"] == tls
    assert "tls" not in hive_mind(SwarmCluster.model_validate(asking(cluster_object)))["spec"]


async def test_a_cluster_has_a_second_store_that_it_owns(reconciler, seen, cluster_object, cache, conditions, status):
    seen(CLUSTER, asking(cluster_object, memory={"enableMemoryStore": True}))
    await reconciler.reconcile(KEY)
    assert cache.get(STORE, HIVE_MIND)["metadata"]["ownerReferences"] == [owner_reference(cluster_object())]
    assert cache.get(STORE, Key("ns", "hive-memory"))
    assert conditions()["HiveMindReady"] == ("False", "WaitingForStore")
    assert status()["hiveMindStatus"] == {"available": False}


async def test_a_hive_mind_that_is_away_leaves_the_memory_as_it_is(
    reconciler, seen, cluster_object, store_says, conditions, status, cache
):
    seen(CLUSTER, asking(cluster_object, memory={"enableMemoryStore": True}))
    await reconciler.reconcile(KEY)
    store_says("Ready", "True", "Available")
    store_says("Error", "False", "CrashLooping", key=HIVE_MIND, entryCount=7, databaseSize=4096)
    seen(CLUSTER, asking(cluster_object, memory={"enableMemoryStore": True, "size": "20Gi"}))
    await reconciler.reconcile(KEY)
    assert cache.get(STORE, Key("ns", "hive-memory"))["spec"]["storageSize"] == "20Gi"
    assert conditions()["HiveMindReady"] == conditions()["Ready"] == ("False", "CrashLooping")
    assert conditions()["MemoryReady"] == ("False", "WaitingForStore")
    assert status()["hiveMindStatus"] == {"available": False, "used": 4096, "entryCount": 7}
    store_says("Ready", "True", "Available")
    await reconciler.reconcile(KEY)
    assert conditions()["MemoryReady"] == ("True", "Available")
    assert status()["phase"] == "Error"


async def test_taking_the_flag_back_keeps_it_and_says_so(reconciler, seen, cluster_object, conditions, message, client):
    seen(CLUSTER, asking(cluster_object))
    await reconciler.reconcile(KEY)
    seen(CLUSTER, cluster_object())
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert client.requests == [("apply status", "SwarmCluster", "hive")]
    assert conditions()["HiveMindReady"] == ("False", "Disabled")
    assert "is kept with its data" in message("HiveMindReady")
