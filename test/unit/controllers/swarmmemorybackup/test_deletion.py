import json

import pytest
from unit.controllers.swarmmemorybackup.conftest import KEY

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.deletion import SERVICE_GRACE
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.runtime.errors import Cause, ForbiddenError
from swarm_operator.runtime.resource import Key

KIND = kinds.SWARM_MEMORY_BACKUP
DONE = Answer()


@pytest.fixture
def deleted(seen, backup_object):
    """Makes a backup that is being deleted."""

    def make(*, destination=None, **metadata):
        obj = backup_object(deletionTimestamp="2026-11-23T12:00:00Z", finalizers=["other", FINALIZER], **metadata)
        if destination:
            location = "file:///backups/bees/b1" if "claimName" in destination else "s3://bucket/p/bees/b1"
            obj["status"] = {"phase": "Completed", "destination": destination, "location": location, "swarmId": "bees"}
        return seen(KIND, obj)

    return make


@pytest.fixture
def finalizers(client):
    return lambda: client.objects[KIND, KEY]["metadata"]["finalizers"]


@pytest.fixture
def job(client):
    """The Job that there is, or None."""
    return lambda: next((obj for (kind, _), obj in client.objects.items() if kind == kinds.JOB), None)


VOLUME = {"claimName": "bees-backups"}
BUCKET = {"objectStore": {"url": "s3://bucket/p", "credentialsSecretRef": {"name": "keys"}}}


async def test_what_was_never_asked_for_leaves_nothing_to_delete(passes, deleted, service, finalizers, job):
    deleted()
    await passes()
    assert (finalizers(), service.asked, job()) == (["other"], [], None)


async def test_the_service_deletes_the_data_while_its_store_is_there(
    passes, deleted, ready_store, service, finalizers, job
):
    ready_store()
    deleted(destination=VOLUME)
    service.answers = [DONE]
    await passes()
    assert service.asked == [("delete", "bees", "admin", "b1")]
    assert (finalizers(), job()) == (["other"], None)


async def test_it_is_waited_for_a_while_and_then_a_job_does_it(
    passes, deleted, ready_store, service, finalizers, job, clock, status, ready, seen, client
):
    ready_store()
    deleted(destination=BUCKET | {})
    seen(kinds.SWARM_MEMORY_STORE, ready_store(backup=BUCKET))
    service.answers = [Answer(reason="NoAnswer", message="connection refused")]
    await passes()
    assert (status()["phase"], ready()[1], job()) == ("Deleting", "NoAnswer", None)
    clock.advance(SERVICE_GRACE)
    await passes()
    assert job() is not None
    assert ready()[1] == "JobRunning"
    assert FINALIZER in finalizers()


@pytest.mark.parametrize("why", ["gone", "being deleted", "other place", "other swarm"])
async def test_a_job_deletes_the_data_that_no_service_reaches(
    passes, deleted, ready_store, seen, client, service, job, why
):
    if why == "being deleted":
        seen(kinds.SWARM_MEMORY_STORE, doomed(ready_store(backup=BUCKET)))
    elif why == "other place":
        ready_store()
    elif why == "other swarm":
        ready_store(backup=BUCKET, swarmId="wasps")
    deleted(destination=BUCKET)
    await passes()
    made = job()
    assert service.asked == []
    pod = made["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry/swarm-memory:v1"
    assert container["args"] == [
        *("backups", "delete", "s3://bucket/p/bees/b1"),
        "--backups-options=/etc/swarm-memory/backups/options.json",
        "--backups-credentials=/etc/swarm-memory/backups-credentials",
    ]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert made["spec"]["activeDeadlineSeconds"] > 0
    assert "ownerReferences" not in made["metadata"], "a deletion in the foreground would delete it first"


def doomed(store):
    store["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    return store


def finish(seen, job, kind):
    job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "R", "message": "it is so"}]}
    return seen(kinds.JOB, job)


async def test_when_the_job_has_succeeded_the_object_goes(passes, deleted, seen, job, finalizers):
    deleted(destination=BUCKET)
    await passes()
    finish(seen, job(), "Complete")
    await passes()
    assert finalizers() == ["other"]


async def test_a_job_that_fails_is_told_with_what_helps(passes, deleted, seen, job, finalizers, status, ready):
    deleted(destination=BUCKET)
    await passes()
    finish(seen, job(), "Failed")
    result = await passes()
    assert result.requeue_after > 0
    assert (status()["phase"], ready()[:2]) == ("Deleting", ("False", "DeletionFailed"))
    assert f"{labels.SKIP_DATA_DELETION}=true" in ready()[2]
    assert "it is so" in ready()[2]
    assert FINALIZER in finalizers()


async def test_the_annotation_lets_it_go_and_leaves_the_data(passes, deleted, service, finalizers, job, recorder):
    deleted(destination=BUCKET, annotations={labels.SKIP_DATA_DELETION: "true"})
    await passes()
    assert (finalizers(), service.asked, job()) == (["other"], [], None)
    assert ("Warning", "DataKept", "s3://bucket/p/bees/b1 was not deleted") in recorder.events


async def test_a_volume_that_is_gone_has_taken_the_data_along(passes, deleted, finalizers, job):
    deleted(destination=VOLUME)
    await passes()
    assert (finalizers(), job()) == (["other"], None)


async def test_a_volume_that_is_there_is_mounted_by_the_job(passes, deleted, client, job):
    client.put(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "bees-backups", "namespace": "ns"}})
    deleted(destination=VOLUME)
    await passes()
    pod = job()["spec"]["template"]["spec"]
    assert {"name": "backups", "persistentVolumeClaim": VOLUME} in pod["volumes"]
    assert pod["containers"][0]["args"] == ["backups", "delete", "file:///backups/bees/b1"]


async def test_the_deletion_of_a_namespace_does_not_wait_for_it(passes, deleted, client, finalizers, recorder):
    causes = (Cause(field="", message="", reason="NamespaceTerminating"),)
    cause = ForbiddenError("being terminated", status=403, causes=causes)
    client.refusals = {("create", "Job"): cause}
    deleted(destination=BUCKET)
    await passes()
    assert finalizers() == ["other"]
    assert "DataKept" in recorder.reasons


async def test_a_job_of_somebody_else_is_not_ours(passes, deleted, client, seen, job, ready):
    deleted(destination=BUCKET)
    await passes()
    ours = job()
    ours["metadata"]["annotations"] = {}
    client.put(kinds.JOB, ours)
    await passes()
    assert ready()[1] == "DeletionFailed"
    assert "belongs to another owner" in ready()[2]


async def test_a_quota_that_refuses_the_job_is_told_and_tried_again(passes, deleted, client, status, ready):
    client.refusals = {("create", "Job"): ForbiddenError("exceeded quota", status=403)}
    deleted(destination=BUCKET)
    with pytest.raises(ForbiddenError):
        await passes()
    assert (status()["phase"], ready()) == ("Error", ("False", "Forbidden", "exceeded quota"))


@pytest.mark.parametrize("name", ["a", "a" * 253, "a.b-" + "c" * 100])
def test_a_job_has_a_name_that_its_pods_can_carry(name, backup_object):
    from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
    from swarm_operator.api.v1alpha1.backups import BackupDestination
    from swarm_operator.controllers.swarmmemorybackup.job import backup_of, deletion_job

    backup = SwarmMemoryBackup.model_validate(backup_object(name))
    made = deletion_job(backup, BackupDestination.model_validate(BUCKET), "s3://b/n", image="i")
    assert len(made["metadata"]["name"]) <= 63
    assert "." not in made["metadata"]["name"]
    assert backup_of(made) == (Key("ns", name),)


LOCATION = "s3://bucket/p/bees/b1"


@pytest.fixture
def restore(seen):
    """Makes a restore in a phase, which reads a location."""

    def make(phase, location=LOCATION, namespace="ns"):
        status = {name: value for name, value in {"phase": phase, "location": location}.items() if value}
        metadata = {"name": "back", "namespace": namespace, "uid": "uid-back"}
        return seen(kinds.SWARM_MEMORY_RESTORE, {"metadata": metadata, "spec": {}, "status": status})

    return make


@pytest.fixture
def new_store_job(seen):
    """Makes the Job of a store with restoreFrom."""

    def make(location=LOCATION, ended=None):
        annotations = {labels.RESTORE_SOURCE: json.dumps({"location": location})}
        conditions = [{"type": ended, "status": "True"}] if ended else []
        metadata = {"name": "new-restore", "namespace": "ns", "uid": "uid-job", "annotations": annotations}
        return seen(kinds.JOB, {"metadata": metadata, "spec": {}, "status": {"conditions": conditions}})

    return make


async def test_a_restore_that_reads_it_is_waited_for(passes, deleted, restore, finalizers, ready, job, status):
    deleted(destination=BUCKET)
    restore("Fetching")
    result = await passes()
    assert (status()["phase"], ready()[1], result.requeue_after) == ("Deleting", "InUse", 5)
    assert "SwarmMemoryRestore back" in ready()[2]
    assert (FINALIZER in finalizers(), job()) == (True, None)
    restore("Completed")
    await passes()
    assert (ready()[1], job() is not None) == ("JobRunning", True)


async def test_a_job_that_makes_a_new_store_from_it_is_waited_for(passes, deleted, new_store_job, finalizers, ready):
    deleted(destination=BUCKET)
    new_store_job()
    await passes()
    assert (ready()[1], "Job new-restore" in ready()[2], FINALIZER in finalizers()) == ("InUse", True, True)
    new_store_job(ended="Complete")
    await passes()
    assert ready()[1] == "JobRunning"


@pytest.mark.parametrize(
    ("phase", "location", "namespace"),
    [
        ("Failed", LOCATION, "ns"),
        ("Pending", None, "ns"),
        ("Fetching", "s3://bucket/p/bees/b2", "ns"),
        ("Fetching", LOCATION, "other"),
    ],
)
async def test_other_restores_are_not_waited_for(passes, deleted, restore, ready, phase, location, namespace):
    deleted(destination=BUCKET)
    restore(phase, location, namespace)
    await passes()
    assert ready()[1] == "JobRunning"


async def test_the_annotation_lets_one_go_that_is_read(passes, deleted, restore, finalizers):
    deleted(destination=BUCKET, annotations={labels.SKIP_DATA_DELETION: "true"})
    restore("Fetching")
    await passes()
    assert finalizers() == ["other"]
