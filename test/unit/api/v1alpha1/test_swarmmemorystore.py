import re

import pytest
from pydantic import ValidationError

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.swarmmemorystore import MAX_NAME, NAME_PATTERN


def store(**spec):
    return SwarmMemoryStore.model_validate({"metadata": {"name": "bees", "namespace": "ns"}, "spec": spec})


def test_every_field_has_the_default_that_is_documented():
    assert store().spec.model_dump(by_alias=True) == {
        "type": "sqlite",
        "swarmId": None,
        "swarmClusterRef": None,
        "storageSize": "10Gi",
        "storageClass": None,
        "deletionPolicy": None,
        "onVolumeLoss": "Stop",
        "version": None,
        "cacheSize": 1000,
        "cacheMemoryMB": 50,
        "compressionThreshold": 10240,
        "gcInterval": "5m",
        "backupInterval": None,
        "backupSchedule": None,
        "backupTimeZone": "UTC",
        "backupRetention": 7,
        "backup": None,
        "restoreFrom": None,
        "podTemplate": None,
        "updateStrategy": "Rolling",
        "upgradeDeadline": "10m",
        "migrateFromLegacy": False,
        "legacyDataPVC": None,
        "backupOnDelete": None,
        "logLevel": "info",
        "searchLanguage": "none",
        "mcpMode": True,
        "enableWAL": True,
        "enableVacuum": True,
        "autogrow": None,
        "networkPolicy": None,
        "access": None,
        "tls": None,
        "embedder": None,
        "enableDisruptionBudget": True,
        "hibernated": False,
        "paused": False,
    }


def test_an_object_without_a_spec_and_a_status_is_complete():
    assert SwarmMemoryStore.model_validate({"metadata": {"name": "bees"}}).spec == store().spec


def test_the_json_names_are_those_of_the_status_too():
    names = SwarmMemoryStore.model_validate({"metadata": {"name": "bees"}}).status.model_dump(by_alias=True)
    assert set(names) == {
        *("phase", "storageReady", "databaseSize", "entryCount", "agentCount", "taskCount", "patternCount"),
        *("cacheHitRate", "lastBackup", "migrationCompleted", "migrationTime", "endpoints", "observedGeneration"),
        *("conditions", "storageCapacity", "claimUID", "swarmId", "nextBackup", "lastVerifiedBackup"),
        *("restoredFrom", "migration", "volumeUsedPercent", "image", "rolledBack"),
    }


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ({}, "Backup"),
        ({"backupOnDelete": True}, "Backup"),
        ({"backupOnDelete": False}, "Delete"),
        ({"backupOnDelete": True, "deletionPolicy": "Delete"}, "Delete"),
        ({"backupOnDelete": False, "deletionPolicy": "Backup"}, "Backup"),
        # As the default of earlier releases is stored.
        ({"backupOnDelete": True, "deletionPolicy": "Retain"}, "Retain"),
    ],
)
def test_the_policy_goes_before_the_older_field_and_a_backup_is_the_default(spec, policy):
    assert store(**spec).deletion_policy == policy


def test_a_store_without_a_swarm_is_its_own():
    assert store().swarm_id == "bees"
    assert store(swarmId="hive").swarm_id == "hive"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "redis"),
        ("swarmId", ""),
        ("swarmId", "-bees"),
        ("swarmId", "b" * 64),
        ("storageSize", "lots"),
        ("storageSize", "0"),
        ("storageSize", "1" * 33),
        ("version", "a/b"),
        ("version", "-x"),
        ("version", "a:b"),
        ("cacheSize", 0),
        ("cacheMemoryMB", 0),
        ("compressionThreshold", -1),
        ("gcInterval", "5 minutes"),
        ("gcInterval", "1ms"),
        ("backupInterval", "x"),
        ("backupRetention", 0),
        ("enableWAL", "perhaps"),
        ("searchLanguage", "welsh"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field, value):
    with pytest.raises(ValidationError) as caught:
        store(**{field: value})
    assert [error["loc"] for error in caught.value.errors()] == [("spec", field)]


@pytest.mark.parametrize("name", ["a", "bees", "b-2", "a--b", "a1"])
def test_names_that_a_service_can_have_are_allowed(name):
    assert re.fullmatch(NAME_PATTERN, name)


@pytest.mark.parametrize("name", ["", "1a", "-a", "a-", "a.b", "A", "a_b"])
def test_names_that_a_service_cannot_have_are_not(name):
    assert not re.fullmatch(NAME_PATTERN, name)


def test_the_longest_name_leaves_room_for_what_kubernetes_appends():
    assert MAX_NAME + len("-") + 10 <= 63, "the revision hash in a label of the pod"
    assert MAX_NAME + len("-headless") <= 63, "a Service"


def test_what_holds_the_data_cannot_be_changed():
    schema = str(SwarmMemoryStore.model_json_schema(by_alias=True))
    for rule in ("self.storageClass == oldSelf.storageClass", "self == oldSelf", "oldSelf.spec.swarmId"):
        assert rule in schema
