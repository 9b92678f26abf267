"""The final backup of a store that is being deleted: by its pod while there is one, else by a Job."""

import json

import pytest
from unit.controllers.swarmmemorybackup.conftest import state

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.cmd.memory.backups import NO_DATABASE
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.service import Answer, reason_of
from swarm_operator.controllers.swarmmemorystore.backups.objects import final_name
from swarm_operator.controllers.swarmmemorystore.deletion import NO_DATA
from swarm_operator.runtime.errors import ForbiddenError
from swarm_operator.runtime.resource import Key, owner_reference

BACKUP, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_STORE
DEADLINE = 3600.0
"""Of the fixture `reconciler`: the default."""
MANIFEST = {
    "name": "x",
    "reason": "Final",
    "swarm_id": "bees",
    "started_at": "2026-11-23T12:00:01.000Z",
    "completed_at": "2026-11-23T12:00:05.000Z",
    "verified_at": "2026-11-23T12:00:09.000Z",
    "size": 4096,
    "sha256": "0" * 64,
    "entries": 3,
    "schema_version": 6,
    "feed_position": 17,
    "version": 9,
    "made_by": "swarm-memory 0",
    "damage": None,
    "format": 1,
}


@pytest.fixture
def doomed(ready_store, seen):
    """Makes a store that is being deleted, with its StatefulSet."""

    def make(*, replicas=1, **spec):
        store = ready_store(**spec)
        store["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
        store["status"] = {"phase": "Deleting"}
        seen(STORE, store)
        metadata = {"name": "bees", "namespace": "ns", "uid": "set", "generation": 1}
        metadata["ownerReferences"] = [owner_reference(store)]
        status = {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "a", "readyReplicas": replicas}
        spec = {"replicas": replicas, "template": {"spec": {"volumes": []}}}
        seen(kinds.STATEFUL_SET, {"metadata": metadata, "spec": spec, "status": status})
        return store

    return make


@pytest.fixture
def name(store):
    return final_name(store())


@pytest.fixture
def final(passes, seen, backup_object, name):
    """Makes the final backup, as the store's reconciler does; reconciles it when it is called again."""
    seen(BACKUP, backup_object(name, labels={labels.BACKUP_REASON: "Final"}))

    async def run():
        return await passes(Key("ns", name))

    return run


@pytest.fixture
def job(client):
    """The Job that there is, or None."""
    return lambda: next((obj for (kind, _), obj in client.objects.items() if kind == kinds.JOB), None)


@pytest.fixture
def pod(seen, name, clock):
    """Makes a pod of the Job; `said` is the message with which it has ended."""

    def make(said=None, *, number=0, exit_code=0, reason="Completed", **status):
        created = f"2026-11-23T12:00:{number:02}Z"
        annotations = {labels.BACKUP: name, labels.BACKUP_UID: f"uid-{name}"}
        metadata = {"name": f"job-{number}", "namespace": "ns", "uid": f"pod-{number}", "creationTimestamp": created}
        metadata["annotations"] = annotations
        if said is not None:
            message = said if isinstance(said, str) else json.dumps(said)
            ended = {"exitCode": exit_code, "reason": reason, "message": message}
            status["containerStatuses"] = [{"name": "make", "state": {"terminated": ended}}]
        return seen(kinds.POD, {"metadata": metadata, "status": status})

    return make


def finish(seen, job, kind, reason="R"):
    job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": "it is so"}]}
    return seen(kinds.JOB, job)


async def test_the_pod_makes_it_while_it_serves(final, doomed, service, status, ready, name, job):
    doomed()
    service.answers = [state("Running"), state()]
    await final()
    await final()
    assert service.asked[0] == ("advance", "bees", "admin", name, "Final", False)
    assert (status(name)["phase"], status(name)["reason"], job()) == ("Completed", "Final", None)
    assert ready(name)[:2] == ("True", "Verified")


async def test_what_fails_is_tried_again_until_the_deadline(final, doomed, service, status, ready, clock, name):
    doomed()
    service.answers = [state("Failed", problem=("destination-denied", "wrong key"))]
    result = await final()
    assert (status(name)["phase"], ready(name)) == ("Pending", ("False", "DestinationDenied", "wrong key"))
    assert result.requeue_after == 30
    await final()
    assert [asked[-1] for asked in service.asked] == [False, False], "it is started again"
    clock.advance(DEADLINE)
    await final()
    assert (status(name)["phase"], ready(name)[1]) == ("Failed", "DestinationDenied")
    assert "not made within 3600 s: wrong key" in ready(name)[2]
    assert len(service.asked) == 2


async def test_a_final_one_that_waits_leaves_its_turn_to_others(
    final, doomed, service, passes, seen, backup_object, name, reconciler
):
    doomed()
    service.answers = [Answer(reason="DestinationUnreachable", message="no route")]
    await final()
    (copy,) = reconciler.steps
    assert copy._working == set()


async def test_a_pod_that_is_not_ready_is_not_asked(final, doomed, service, ready, seen, cache, name, job):
    doomed()
    workload = cache.get(kinds.STATEFUL_SET, Key("ns", "bees"))
    seen(kinds.STATEFUL_SET, workload | {"status": {"observedGeneration": 1}})
    await final()
    assert (ready(name)[1], service.asked, job()) == ("StoreNotReady", [], None)


@pytest.mark.parametrize("why", ["still there", "not stopped"])
async def test_a_job_is_not_made_while_a_pod_may_have_the_database_open(
    final, doomed, seen, service, job, ready, name, why
):
    doomed(replicas=0 if why == "still there" else 1)
    service.answers = [Answer(reason="NoAnswer", message="connection refused")]
    if why == "still there":
        seen(kinds.POD, {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "p"}})
    await final()
    assert job() is None


async def test_a_job_makes_it_when_the_pod_is_gone(final, doomed, service, job, status, ready, name):
    doomed(replicas=0, version="v7", enableWAL=False)
    await final()
    assert (service.asked, status(name)["phase"], ready(name)[1]) == ([], "Running", "Running")
    made = job()
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == "registry/swarm-memory:v7", "the release that knows the database"
    assert container["args"] == [
        *("backups", "make", f"file:///backups/bees/{name}", "--data-dir=/data", "--swarm-id=bees"),
        *("--enable-wal=false", "--reason=Final", "--missing-ok", "--report=/dev/termination-log"),
    ]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "bees-data"}} in template["spec"]["volumes"]
    assert {"name": "backups", "persistentVolumeClaim": {"claimName": "bees-backups"}} in template["spec"]["volumes"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["data"], mounts["backups"]) == ("/data", "/backups")
    assert template["metadata"]["labels"] == {labels.MANAGED_BY: labels.FIELD_MANAGER}
    assert made["spec"]["activeDeadlineSeconds"] == DEADLINE


async def test_a_job_with_an_object_store_has_what_reaches_it(final, doomed, job):
    bucket = {"url": "s3://bucket/p", "credentialsSecretRef": {"name": "keys"}}
    doomed(replicas=0, backup={"objectStore": bucket})
    await final()
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    assert container["args"][-2:] == [
        "--backups-options=/etc/swarm-memory/backups/options.json",
        "--backups-credentials=/etc/swarm-memory/backups-credentials",
    ]


async def test_what_the_pod_of_the_job_reports_is_in_the_status(final, doomed, job, pod, seen, status, ready, name):
    doomed(replicas=0)
    await final()
    pod({"problem": {"code": "disk-full", "detail": "no room"}}, number=1, exit_code=1)
    pod(MANIFEST, number=2)
    finish(seen, job(), "Complete")
    await final()
    found = status(name)
    assert (found["phase"], found["entries"], found["sizeBytes"], found["sha256"]) == ("Completed", 3, 4096, "0" * 64)
    assert (found["verifiedAt"], found["feedPosition"], found["reason"]) == (MANIFEST["verified_at"], 17, "Final")
    assert found["location"] == f"file:///backups/bees/{name}"
    assert ready(name)[:2] == ("True", "Verified")


async def test_a_job_that_succeeds_without_a_report_is_not_believed(final, doomed, job, pod, seen, status, name):
    doomed(replicas=0)
    await final()
    finish(seen, job(), "Complete")
    await final()
    assert status(name)["phase"] == "Pending"
    pod("nonsense", number=1)
    await final()
    assert status(name)["phase"] == "Pending"
    pod(MANIFEST, number=2)
    await final()
    assert status(name)["phase"] == "Completed"


async def test_a_database_that_was_never_made_is_told(final, doomed, job, pod, seen, status, ready, name):
    doomed(replicas=0)
    await final()
    pod({"problem": {"code": NO_DATABASE, "detail": "/data/swarm-memory.db does not exist"}})
    finish(seen, job(), "Complete")
    await final()
    assert reason_of(NO_DATABASE) == NO_DATA
    assert (status(name)["phase"], ready(name)[1]) == ("Failed", NO_DATA)


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ({"problem": {"code": "destination-denied", "detail": "wrong key"}}, "DestinationDenied", "wrong key"),
        ("Traceback\nMemoryError", "BackupFailed", "Error: MemoryError"),
        ("", "BackupFailed", "Error: exit code 1"),
    ],
)
async def test_what_a_pod_of_the_job_failed_with_is_told(
    final, doomed, pod, status, ready, name, said, reason, message
):
    doomed(replicas=0)
    await final()
    pod(said, exit_code=1, reason="Error")
    await final()
    assert (status(name)["phase"], ready(name)) == ("Pending", ("False", reason, message))


async def test_a_pod_that_cannot_run_is_told(final, doomed, pod, ready, name):
    doomed(replicas=0)
    await final()
    unbound = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound claims"}
    pod(conditions=[unbound | {"lastTransitionTime": "2026-11-23T11:00:00Z"}])
    await final()
    assert ready(name)[1:] == ("Unschedulable", "pod job-0: unbound claims")


async def test_a_job_that_has_failed_is_told_until_the_deadline(final, doomed, job, seen, status, ready, name, clock):
    doomed(replicas=0)
    await final()
    finish(seen, job(), "Failed", "DeadlineExceeded")
    await final()
    assert (status(name)["phase"], ready(name)[1]) == ("Pending", "DeadlineExceeded")
    clock.advance(DEADLINE)
    await final()
    assert (status(name)["phase"], ready(name)[1]) == ("Failed", "DeadlineExceeded")


async def test_a_job_of_somebody_else_is_not_ours(final, doomed, job, client, ready, name):
    doomed(replicas=0)
    await final()
    job()["metadata"]["annotations"] = {}
    await final()
    assert ready(name)[1] == "NameTaken"


async def test_a_quota_that_refuses_the_job_is_told(final, doomed, client, status, ready, name):
    client.refusals = {("create", "Job"): ForbiddenError("exceeded quota", status=403)}
    doomed(replicas=0)
    with pytest.raises(ForbiddenError):
        await final()
    assert (status(name)["phase"], ready(name)[1]) == ("Error", "Forbidden")


@pytest.mark.parametrize("later", [None, "another"])
async def test_when_the_store_is_gone_it_has_failed(
    final, doomed, forget, ready_store, seen, service, ready, name, later
):
    """Also when there is a later store of its name: its data is another one's."""
    doomed()
    service.answers = [Answer(reason="DestinationDenied", message="wrong key")]
    await final()
    forget(STORE, "bees")
    if later:
        store = ready_store()
        store["metadata"]["uid"] = later
        seen(STORE, store)
    asked = len(service.asked)
    await final()
    assert ready(name)[1] == "StoreNotFound"
    assert "was deleted without it: wrong key" in ready(name)[2]
    assert len(service.asked) == asked


async def test_a_backup_that_only_says_that_it_is_final_is_not_made(
    passes, seen, backup_object, ready_store, service, ready
):
    """The service would refuse all writes from then on."""
    ready_store()
    seen(BACKUP, backup_object(labels={labels.BACKUP_REASON: "Final"}))
    await passes()
    assert (ready()[1], service.asked) == ("StoreNotFound", [])


async def test_a_backup_that_is_being_made_when_its_store_is_deleted_is_finished(
    passes, seen, backup_object, ready_store, doomed, service, status
):
    ready_store()
    seen(BACKUP, backup_object())
    service.answers = [state("Running"), state()]
    await passes()
    doomed()
    await passes()
    assert status()["phase"] == "Completed"


async def test_one_that_was_not_begun_is_not_made_any_more(passes, seen, backup_object, doomed, service, ready):
    doomed()
    seen(BACKUP, backup_object())
    await passes()
    assert (ready()[1], service.asked) == ("StoreNotFound", [])


async def test_its_data_is_not_deleted_while_a_job_makes_it(
    final, doomed, cache, seen, client, job, ready, name, clock
):
    doomed(replicas=0)
    client.put(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": {"name": "bees-backups", "namespace": "ns"}})
    await final()
    making = job()
    obj = cache.get(BACKUP, Key("ns", name))
    deleting = obj["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}
    seen(BACKUP, obj | {"metadata": deleting})
    await final()
    assert (ready(name)[1], FINALIZER in cache.get(BACKUP, Key("ns", name))["metadata"]["finalizers"]) == (
        "JobRunning",
        True,
    )
    assert len([kind for kind, _ in client.objects if kind == kinds.JOB]) == 1
    finish(seen, making, "Failed")
    await final()
    assert len([kind for kind, _ in client.objects if kind == kinds.JOB]) == 2


def test_the_name_of_a_deleted_store_s_backup_is_the_store_s_own(store_object, name):
    assert final_name(SwarmMemoryStore.model_validate(store_object())) == name
