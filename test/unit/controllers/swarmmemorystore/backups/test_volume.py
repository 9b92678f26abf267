import pytest

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.swarmmemorystore.backups.volume import (
    BackupsVolume,
    backups_claim,
    mounted_destination,
)
from swarm_operator.runtime.errors import InvalidError
from swarm_operator.runtime.resource import Key

CLAIM = kinds.PERSISTENT_VOLUME_CLAIM


@pytest.fixture
def run(reconciliation, store_object, seen):
    """Runs the step over a store; returns the pass and the outcome."""

    async def step(**spec):
        r = reconciliation(store_object(**spec))
        r.parsed = SwarmMemoryStore.model_validate(r.obj)
        return r, await BackupsVolume().run(r)

    return step


def condition(r):
    return {c["type"]: c for c in r.conditions.render()}.get("BackupStorageReady")


async def test_a_store_that_asks_for_none_gets_no_volume_and_no_condition(run, client):
    r, outcome = await run()
    assert outcome.is_done
    assert client.writes() == []
    assert condition(r) is None
    assert mounted_destination(r) is None


async def test_what_was_said_of_an_object_store_goes_with_it(reconciliation, store_object):
    stored = {
        "type": "BackupStorageReady", "status": "True", "reason": "ObjectStore", "message": "",
        "lastTransitionTime": "2026-11-23T12:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    r = reconciliation(store_object() | {"status": {"conditions": [stored]}})
    r.parsed = SwarmMemoryStore.model_validate(r.obj)
    await BackupsVolume().run(r)
    assert condition(r) is None


async def test_a_volume_outlives_its_store(run, client):
    r, outcome = await run(backupInterval="1h", deletionPolicy="Delete", storageSize="2048Mi", storageClass="fast")
    claim = client.objects[CLAIM, Key("ns", "bees-backups")]
    assert "ownerReferences" not in claim["metadata"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["metadata"]["labels"][labels.STORE] == "bees"
    assert (outcome.reason, condition(r)["status"]) == ("WaitingForVolume", "False")
    assert mounted_destination(r).claim_name == "bees-backups"


def test_it_has_its_own_size_and_class_and_never_shrinks(store):
    asked = store(storageClass="fast", backup={"volume": {"size": "5Gi", "storageClassName": "slow"}})
    claim = backups_claim(asked)
    assert claim["spec"]["storageClassName"] == "slow"
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    live = {"spec": {"resources": {"requests": {"storage": "7Gi"}}}}
    assert backups_claim(asked, live)["spec"]["resources"]["requests"]["storage"] == "7Gi"


async def test_an_object_store_needs_no_volume(run, client):
    r, _ = await run(backup={"objectStore": {"url": "s3://bucket"}})
    assert client.writes() == []
    assert condition(r)["reason"] == "ObjectStore"
    assert mounted_destination(r).object_store.url == "s3://bucket"


async def test_a_volume_that_was_made_once_stays_mounted(run, client, seen):
    await run(backupInterval="1h")
    seen(CLAIM, client.objects[CLAIM, Key("ns", "bees-backups")] | {"status": {"phase": "Bound"}})
    r, outcome = await run()
    assert (outcome.reason, condition(r)["status"]) == ("Bound", "True")
    assert mounted_destination(r).claim_name == "bees-backups"


@pytest.mark.parametrize(("spec", "mounted"), [({}, False), ({"backupInterval": "1h"}, True)])
async def test_a_volume_that_is_being_deleted_is_let_go_unless_it_is_asked_for(run, client, seen, spec, mounted):
    await run(backupInterval="1h")
    claim = client.objects[CLAIM, Key("ns", "bees-backups")]
    claim["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(CLAIM, claim)
    r, _ = await run(**spec)
    assert (mounted_destination(r) is not None) is mounted
    if mounted:
        assert condition(r)["reason"] == "VolumeTerminating"


async def test_a_claim_of_somebody_else_is_not_taken(run, seen, client):
    seen(CLAIM, {**backups_claim_of_another(), "status": {"phase": "Bound"}})
    with pytest.raises(NameTakenError):
        await run(backupInterval="1h")
    assert client.writes() == []


def backups_claim_of_another():
    metadata = {"name": "bees-backups", "namespace": "ns", "uid": "u", "labels": {}}
    return {"metadata": metadata, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}


async def test_a_refused_growth_is_told_and_the_volume_stays_mounted(run, client):
    await run(backupInterval="1h", storageSize="1Gi")
    client.refusals = {("apply", "PersistentVolumeClaim"): InvalidError("no growth", status=422)}
    r, outcome = await run(backupInterval="1h", storageSize="2Gi")
    assert (outcome.reason, outcome.requeue_after > 0) == ("VolumeRefused", True)
    assert "no growth" in condition(r)["message"]
    assert mounted_destination(r).claim_name == "bees-backups"
    assert r.errors == []
