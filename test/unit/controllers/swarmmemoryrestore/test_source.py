"""Which backups can be restored into a store, and what is said of those that cannot."""

import copy

import pytest
from unit.controllers.swarmmemoryrestore.conftest import KIND, LOCATION, observed

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.resource import Key

BUCKET = {"url": "s3://bucket/old", "credentialsSecretRef": {"name": "keys"}}


def failed(reason):
    transition = {"lastTransitionTime": "2026-11-23T12:00:00Z", "message": "no room"}
    return {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False", "reason": reason, **transition}]}


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (failed("DiskFull"), "BackupFailed", "SwarmMemoryBackup b1 has failed: no room"),
        (
            {"swarmId": "wasps"},
            "BackupOfAnotherSwarm",
            "SwarmMemoryBackup b1 is one of swarm wasps; the store's is bees",
        ),
        (
            {"destination": {"claimName": "wasps-backups"}},
            "DestinationMismatch",
            "SwarmMemoryBackup b1 lies in PersistentVolumeClaim wasps-backups, which the store's pod cannot reach",
        ),
        (
            {"destination": {"objectStore": {"url": "s3://bucket"}}},
            "DestinationMismatch",
            "SwarmMemoryBackup b1 lies in s3://bucket, which the store's pod cannot reach",
        ),
    ],
)
async def test_a_backup_that_cannot_be_restored_is_refused_before_the_service_is_asked(
    seen, restore_object, ready_store, backup, passes, service, stored, ready, status, reason, said
):
    ready_store()
    backup(**status)
    seen(KIND, restore_object())
    assert (await passes()).requeue_after == 0.0
    assert (stored()["status"]["phase"], ready()) == ("Failed", ("False", reason, said))
    assert service.asked == []
    assert "finalizers" not in stored()["metadata"]


async def test_a_backup_that_is_being_deleted_is_refused(
    seen, restore_object, ready_store, backup, passes, cache, ready
):
    ready_store()
    backup()
    deleted = copy.deepcopy(cache.get(kinds.SWARM_MEMORY_BACKUP, Key("ns", "b1")))
    deleted["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(kinds.SWARM_MEMORY_BACKUP, deleted)
    seen(KIND, restore_object())
    await passes()
    assert ready()[1:] == ("BackupDeleting", "SwarmMemoryBackup b1 is being deleted")


@pytest.mark.parametrize(
    ("other", "reaches"),
    [
        (BUCKET, True),
        (BUCKET | {"url": "s3://another/new"}, True),
        (BUCKET | {"url": "gs://another"}, False),
        (BUCKET | {"credentialsSecretRef": {"name": "others"}}, False),
        (BUCKET | {"endpoint": "https://minio:9000"}, False),
    ],
)
async def test_another_bucket_is_reached_with_the_same_access(
    seen, restore_object, ready_store, backup, passes, service, ready, other, reaches
):
    ready_store(backup={"objectStore": BUCKET})
    backup(destination={"objectStore": other}, location=f"{other['url']}/bees/b1")
    seen(KIND, restore_object())
    service.answers = [observed()]
    await passes()
    assert ready()[1] == ("Restored" if reaches else "DestinationMismatch")
    assert [request.location for *_, request, _, _ in service.asked][:1] == (
        [f"{other['url']}/bees/b1"] if reaches else []
    )


async def test_a_location_is_passed_on_as_it_is(seen, restore_object, ready_store, passes, service, stored, ready):
    ready_store()
    seen(KIND, restore_object(source={"location": LOCATION}))
    service.answers = [observed("Failed", problem=("backup-not-found", "there is no complete backup b1"))]
    await passes()
    assert service.asked[0][3].location == LOCATION
    assert stored()["status"]["from"] == LOCATION
    assert ready() == ("False", "BackupNotFound", "there is no complete backup b1")
