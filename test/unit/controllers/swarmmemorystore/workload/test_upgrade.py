"""A store that keeps backups is backed up before its pod gets another image."""

import copy

import pytest

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
BACKUP, SET, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.STATEFUL_SET, kinds.SWARM_MEMORY_STORE
OLD, NEW = "registry/swarm-memory:v1", "registry/swarm-memory:v2"


@pytest.fixture
def upgrade(reconcile, seen, store_object, cache):
    """Reconciles the store with another version, or with other fields."""

    async def to(version="v2", annotations=None, **spec):
        obj = store_object(**{"backup": {}, "version": version} | spec)
        obj["metadata"]["annotations"] = annotations or {}
        obj["metadata"]["generation"] = cache.get(STORE, KEY)["metadata"]["generation"] + 1
        seen(STORE, obj | {"status": cache.get(STORE, KEY)["status"]})
        return await reconcile()

    return to


@pytest.fixture
async def serving(reconcile, seen, store_object, ready, client):
    """A store of the old version that keeps backups; returns what the API server has of its StatefulSet."""
    seen(STORE, store_object(backup={}, version="v1"))
    await reconcile()
    ready()
    await reconcile()
    return lambda: client.objects[SET, KEY]


@pytest.fixture
def backups(client):
    """The backups that were made for upgrades, by name."""
    return lambda: [
        obj
        for (kind, _), obj in client.objects.items()
        if kind is BACKUP and obj["metadata"]["labels"][labels.BACKUP_REASON] == "PreUpgrade"
    ]


@pytest.fixture
def finish(seen):
    """finish(backup, "Completed") is what the controller of backups says in the end."""

    def end(backup, phase, message=""):
        condition = {
            "type": "Ready", "status": str(phase == "Completed"), "reason": "Verified", "message": message,
            "lastTransitionTime": "2026-11-23T12:00:00Z", "observedGeneration": 1,
        }  # fmt: skip
        times = {"verifiedAt": "2026-11-23T12:00:00Z", "completedAt": "2026-11-23T12:00:00Z"}
        seen(BACKUP, {**copy.deepcopy(backup), "status": {"phase": phase, "conditions": [condition], **times}})

    return end


@pytest.fixture
def image():
    return lambda workload: workload["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.fixture
def types(status):
    return lambda: {found["type"] for found in status()["conditions"]}


async def test_the_pod_stays_as_it_is_until_the_backup_is_verified(
    upgrade, serving, backups, finish, image, condition, types, reconcile, client
):
    before = copy.deepcopy(serving())
    await upgrade(cacheSize=7)
    assert serving() == before
    (backup,) = backups()
    assert (condition("Upgraded")["status"], condition("Upgraded")["reason"]) == ("False", "PreUpgradeBackup")
    assert condition("Ready")["status"] == "True"
    await reconcile()
    assert len(backups()) == 1
    finish(backup, "Running")
    await reconcile()
    assert serving() == before
    finish(backup, "Completed")
    await reconcile()
    assert image(serving()) == NEW
    assert "Upgraded" not in types()


async def test_each_upgrade_has_a_backup_of_its_own(upgrade, serving, backups, finish, ready, image):
    for number, (version, before) in enumerate((("v2", OLD), ("v1", NEW), ("v2", OLD)), start=1):
        await upgrade(version)
        assert (image(serving()), len(backups())) == (before, number)
        for backup in backups():
            finish(backup, "Completed")
        await upgrade(version)
        ready()


async def test_a_backup_that_failed_holds_the_upgrade_up_until_somebody_decides(
    upgrade, serving, backups, finish, image, condition, recorder
):
    await upgrade()
    finish(backups()[0], "Failed", "the bucket says no")
    await upgrade()
    assert image(serving()) == OLD
    assert condition("Upgraded")["reason"] == "PreUpgradeBackupFailed"
    assert "the bucket says no" in condition("Upgraded")["message"]
    assert ("Warning", "PreUpgradeBackupFailed") in [(kind, reason) for kind, reason, _ in recorder.events]
    await upgrade(annotations={labels.SKIP_UPGRADE_BACKUP: "true"})
    assert image(serving()) == NEW


async def test_a_pod_with_a_problem_gets_the_release_that_mends_it_at_once(upgrade, serving, backups, image, seen):
    waits = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "restartCount": 0}
    metadata = {"name": "bees-0", "namespace": "ns", "uid": "uid-pod"}
    seen(kinds.POD, {"metadata": metadata, "status": {"containerStatuses": [waits]}})
    seen(SET, serving() | {"status": {}})
    await upgrade()
    assert (image(serving()), backups()) == (NEW, [])


@pytest.mark.parametrize("spec", [{"hibernated": True}, {"backup": {"objectStore": {"url": "s3://other"}}}])
async def test_what_cannot_be_backed_up_by_the_pod_that_runs_is_upgraded_at_once(
    upgrade, serving, backups, image, spec
):
    await upgrade(**spec)
    assert (image(serving()), backups()) == (NEW, [])


async def test_a_store_that_keeps_no_backups_is_upgraded_at_once(
    reconcile, seen, store_object, ready, image, backups, client
):
    for version in ("v1", "v2"):
        seen(STORE, store_object(version=version))
        await reconcile()
        ready()
    assert (image(client.objects[SET, KEY]), backups()) == (NEW, [])
