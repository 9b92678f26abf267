import pytest
from pydantic import ValidationError

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.swarmcluster import AGENTS_SUFFIX, STORE_SUFFIX
from swarm_operator.api.v1alpha1.swarmmemorystore import MAX_NAME


def cluster(**memory):
    return SwarmCluster.model_validate({"metadata": {"name": "hive"}, "spec": {"memory": memory}})


def test_every_field_has_the_default_that_is_documented():
    assert cluster().spec.model_dump(by_alias=True) == {
        "memory": {
            "type": "sqlite",
            "size": "10Gi",
            "deletionPolicy": None,
            "persistence": True,
            "enableMemoryStore": False,
            "restoreFrom": None,
            "migrateFromLegacy": False,
            "legacyDataPVC": None,
            "autogrow": None,
            "networkPolicy": None,
            "access": None,
            "tls": None,
            "embedder": None,
            "enableDisruptionBudget": None,
            "sqliteConfig": None,
            "podTemplate": None,
        },
        "hiveMind": {"enabled": False, "databaseSize": "10Gi", "backupEnabled": False, "backupInterval": "1h"},
        "githubApp": None,
        "namespaceConfig": None,
        "paused": False,
        "topology": "mesh",
        "agents": 1,
        "minAgents": 0,
        "maxAgents": None,
        "agentTemplate": None,
        "autoscaling": None,
    }


def test_an_object_without_a_spec_is_complete():
    assert SwarmCluster.model_validate({"metadata": {"name": "hive"}}).spec == cluster().spec


def test_fine_tuning_that_is_not_given_is_not_known():
    tuning = cluster(sqliteConfig={"enableWAL": False, "cacheMemoryMB": 9}).spec.memory.sqlite_config
    assert tuning.model_dump(by_alias=True, exclude_none=True) == {"cacheMemoryMB": 9, "enableWAL": False}


def test_the_store_is_named_after_the_cluster():
    assert cluster().store_name == "hive-memory"


def test_the_longest_name_of_a_cluster_leaves_room_for_its_store_s():
    rule, *_ = SwarmCluster.model_json_schema()["x-kubernetes-validations"]
    assert f"size(self.metadata.name) <= {MAX_NAME - len(STORE_SUFFIX)}" in rule["rule"]
    assert len(AGENTS_SUFFIX) <= len(STORE_SUFFIX)


@pytest.mark.parametrize(
    ("memory", "field"),
    [
        ({"type": "redis"}, ("type",)),
        ({"size": "0"}, ("size",)),
        ({"size": "x"}, ("size",)),
        ({"sqliteConfig": {"cacheSize": 0}}, ("sqliteConfig", "cacheSize")),
        ({"sqliteConfig": {"gcInterval": "1ms"}}, ("sqliteConfig", "gcInterval")),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(memory, field):
    with pytest.raises(ValidationError) as caught:
        cluster(**memory)
    assert [error["loc"] for error in caught.value.errors()] == [("spec", "memory", *field)]


def test_agents_have_the_defaults_that_are_documented():
    spec = SwarmCluster.model_validate(
        {"metadata": {"name": "hive"}, "spec": {"agentTemplate": {}, "autoscaling": {}}}
    ).spec
    assert spec.agent_template.model_dump(by_alias=True) == {
        "image": None,
        "command": None,
        "args": None,
        "env": [],
        "capabilities": [],
        "cognitivePatterns": [],
        "podTemplate": None,
        "terminationGracePeriod": "30s",
    }
    assert spec.autoscaling.model_dump(by_alias=True) == {
        "enabled": False,
        "minAgents": None,
        "maxAgents": None,
        "targetUtilization": None,
        "stabilizationWindow": "5m",
        "metrics": [],
    }


@pytest.mark.parametrize(
    ("spec", "agents"),
    [
        ({}, 1),
        ({"agents": 7}, 7),
        ({"agents": 0}, 0),
        ({"agents": 0, "minAgents": 2}, 2),
        ({"minAgents": 3, "maxAgents": 9}, 3),
        ({"agents": 10, "maxAgents": 9}, 9),
        ({"agents": 9, "minAgents": 3, "maxAgents": 9}, 9),
        ({"agents": 4, "minAgents": 3, "maxAgents": 9}, 4),
        ({"agents": 4, "maxAgents": 0}, 0),
    ],
)
def test_the_number_of_agents_is_kept_within_its_bounds(spec, agents):
    body = {"metadata": {"name": "hive"}, "spec": {"agentTemplate": {}, **spec}}
    assert SwarmCluster.model_validate(body).agents == agents


def test_without_a_template_there_are_no_agents():
    assert SwarmCluster.model_validate({"metadata": {"name": "hive"}, "spec": {"minAgents": 3}}).agents == 0
