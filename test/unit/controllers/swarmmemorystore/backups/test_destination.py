import json

import pytest

from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.swarmmemorystore.backups.destination import (
    OPTIONS_ANNOTATION,
    access,
    asks_for_backups,
    destination_of,
    with_backups,
)
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set

BUCKET = {
    "url": "s3://bucket/prefix",
    "endpoint": "http://minio:9000",
    "region": "eu-west-1",
    "credentialsSecretRef": {"name": "keys"},
    "caSecretRef": {"name": "authority"},
}


@pytest.mark.parametrize(
    ("spec", "asks"),
    [
        ({}, False),
        ({"backupRetention": 3, "backupOnDelete": False}, False),
        ({"backupInterval": "1h"}, True),
        ({"backupOnDelete": True}, False),
        ({"backup": {}}, True),
    ],
)
def test_a_place_is_made_only_for_stores_that_ask_for_backups(store, spec, asks):
    assert asks_for_backups(store(**spec)) is asks


@pytest.mark.parametrize(("policy", "asks"), [("Backup", True), ("Retain", False), ("Delete", False)])
def test_a_place_is_made_for_the_final_backup_when_the_store_is_deleted(store, policy, asks):
    deleted = store(deletionPolicy=policy)
    deleted.metadata.deletion_timestamp = "2026-11-23T12:00:00Z"
    assert asks_for_backups(deleted) is asks


def test_backups_are_kept_on_a_volume_of_the_store_s_unless_an_object_store_is_named(store):
    assert destination_of(store(backup={})) == BackupDestination(claim_name="bees-backups")
    assert destination_of(store(backup={"objectStore": BUCKET})).object_store.url == BUCKET["url"]


def test_the_pod_gets_the_volume_and_says_where_it_is(store):
    plain = stateful_set(store(), image="i")
    made = with_backups(plain, BackupDestination(claim_name="bees-backups"))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        *plain["spec"]["template"]["spec"]["containers"][0]["args"],
        "--backups=file:///backups",
    ]
    assert {"name": "backups", "mountPath": "/backups"} in container["volumeMounts"]
    volumes = {volume["name"]: volume for volume in made["spec"]["template"]["spec"]["volumes"]}
    assert volumes["backups"] == {"name": "backups", "persistentVolumeClaim": {"claimName": "bees-backups"}}
    assert volumes.keys() >= {"data", "tokens", "tmp"}
    assert plain == stateful_set(store(), image="i"), "what was given is not changed"


def test_an_object_store_is_reached_with_files_only(store):
    destination = destination_of(store(backup={"objectStore": BUCKET}))
    made = with_backups(stateful_set(store(), image="i"), destination)
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["args"][-3:] == [
        "--backups=s3://bucket/prefix",
        "--backups-options=/etc/swarm-memory/backups/options.json",
        "--backups-credentials=/etc/swarm-memory/backups-credentials",
    ]
    assert json.loads(template["metadata"]["annotations"][OPTIONS_ANNOTATION]) == {
        "endpoint": "http://minio:9000",
        "allow_http": True,
        "region": "eu-west-1",
        "ca_file": "/etc/swarm-memory/backups/ca.crt",
    }
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert volumes["backups-credentials"]["secret"] == {"secretName": "keys", "defaultMode": 0o440}
    (options, authority) = volumes["backups-options"]["projected"]["sources"]
    (item,) = options["downwardAPI"]["items"]
    assert item["path"] == "options.json"
    assert OPTIONS_ANNOTATION in item["fieldRef"]["fieldPath"]
    assert authority["secret"] == {"name": "authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    read_only = [mount for mount in container["volumeMounts"] if mount["name"].startswith("backups-")]
    assert all(mount["readOnly"] for mount in read_only)


def test_without_credentials_none_are_mounted():
    found = access(BackupDestination.model_validate({"objectStore": {"url": "gs://bucket"}}))
    assert (found.url, found.credentials) == ("gs://bucket", None)
    assert [volume["name"] for volume in found.volumes] == ["backups-options"]
    assert json.loads(found.annotations[OPTIONS_ANNOTATION]) == {}
