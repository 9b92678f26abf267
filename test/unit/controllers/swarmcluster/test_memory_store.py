from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.swarmcluster.memory_store import memory_store


def made(cluster_object, **memory):
    return memory_store(SwarmCluster.model_validate(cluster_object(**memory)))


def test_the_store_belongs_to_its_cluster(cluster_object):
    store = made(cluster_object)
    assert store["metadata"] == {
        "name": "hive-memory",
        "namespace": "ns",
        "labels": {"app.kubernetes.io/managed-by": "swarm-operator", "swarm.claudeflow.io/cluster": "hive"},
    }
    assert store["spec"] == {"type": "sqlite", "swarmId": "hive", "swarmClusterRef": "hive", "storageSize": "10Gi"}


def test_what_the_cluster_states_is_passed_on_and_nothing_else(cluster_object):
    store = made(cluster_object, size="1Gi", sqliteConfig={"enableWAL": False, "cacheMemoryMB": 9})
    assert store["spec"] == {
        "type": "sqlite",
        "swarmId": "hive",
        "swarmClusterRef": "hive",
        "storageSize": "1Gi",
        "enableWAL": False,
        "cacheMemoryMB": 9,
    }


def test_a_migration_is_passed_on_with_its_source(cluster_object):
    legacy = {"migrateFromLegacy": True, "legacyDataPVC": "old"}
    assert made(cluster_object, **legacy)["spec"].items() >= legacy.items()
    assert not legacy.keys() & made(cluster_object, legacyDataPVC="old")["spec"].keys()


def test_every_setting_is_one_that_the_store_has(cluster_object):
    settings = {
        "cacheSize": 1,
        "cacheMemoryMB": 2,
        "enableWAL": False,
        "enableVacuum": False,
        "searchLanguage": "english",
    }
    backup = {"objectStore": {"url": "s3://bucket", "credentialsSecretRef": {"name": "keys"}}}
    times = {"backupInterval": "2h", "backupSchedule": "0 3 * * *", "backupTimeZone": "UTC", "backupRetention": 3}
    tuning = settings | {"gcInterval": "9m", "backup": backup} | times
    source = {"location": "s3://bucket/hive/b1", "destination": {"objectStore": {"url": "s3://bucket"}}}
    passed_on = {
        "deletionPolicy": "Delete",
        "restoreFrom": source,
        "autogrow": {"threshold": 90, "step": "1Gi", "max": "20Gi"},
        "networkPolicy": {"enabled": True, "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
        "enableDisruptionBudget": False,
        "tls": {"mode": "secret", "secretName": "mine"},
        "embedder": {
            "mode": "http",
            "url": "https://api.example.com/v1",
            "model": "m",
            "width": 384,
            "secretRef": {"name": "keys", "key": "mine"},
            "caSecretRef": {"name": "ca"},
            "timeout": "1m",
            "batch": 8,
        },
    }
    store = made(cluster_object, **passed_on, sqliteConfig=tuning)
    read = SwarmMemoryStore.model_validate(store)
    assert read.spec.model_dump(by_alias=True, exclude_unset=True) == store["spec"]
    assert store["spec"].items() >= {**tuning, **passed_on}.items()


def test_a_pod_template_is_passed_on_as_it_is(cluster_object):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"x": "y"}, "containers": [{"n": None}]}}
    assert made(cluster_object, podTemplate=template)["spec"]["podTemplate"] == template
    assert "podTemplate" not in made(cluster_object)["spec"]
