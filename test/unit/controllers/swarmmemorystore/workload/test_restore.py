"""A store with `restoreFrom`: a Job restores, then the pod is made; and what is told when it cannot."""

import contextlib
import copy
import json

import pytest
from unit.controllers.swarmmemorystore.conftest import KEY

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set
from swarm_operator.runtime.errors import UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

STORE, BACKUP, JOB = kinds.SWARM_MEMORY_STORE, kinds.SWARM_MEMORY_BACKUP, kinds.JOB
JOB_KEY = Key("ns", "bees-restore")
VOLUME = {"claimName": "old-backups"}
DONE = {"completionTime": "2026-11-23T12:30:00Z", "conditions": [{"type": "Complete", "status": "True"}]}
BY_NAME = {"backupRef": {"name": "b1"}}


@pytest.fixture
def a_backup(seen):
    """Puts a SwarmMemoryBackup of the store `old`, or another one, that is not there any more."""

    def make(name="b1", phase="Completed", *, store="old", at="2026-11-23T11:00:00Z", message="", destination=None):
        ready = {"type": "Ready", "status": "True", "reason": "x", "message": message, "lastTransitionTime": at}
        status = {"phase": phase, "startedAt": at, "conditions": [ready], "swarmId": store}
        status |= {"location": f"file:///backups/{store}/{name}", "destination": destination or VOLUME}
        if phase == "Completed":
            status |= {"completedAt": at, "verifiedAt": at}
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        return seen(BACKUP, {"metadata": metadata, "spec": {"storeRef": {"name": store}}, "status": status})

    return make


@pytest.fixture
def a_store(seen, store_object):
    """Puts the store."""

    def make(source=None, **spec):
        return seen(STORE, store_object(restoreFrom=source or BY_NAME, **spec))

    return make


@pytest.fixture
def job(client):
    """The Job that was made, or None."""
    return lambda: client.objects.get((JOB, JOB_KEY))


@pytest.fixture
def job_is(seen, job):
    """The Job controller's write: the Job's status."""

    def put(**status):
        return seen(JOB, copy.deepcopy(job()) | {"status": status})

    return put


@pytest.fixture
def pod_is(seen, job):
    """The kubelet's write: the status of the Job's pod."""

    def put(container=None, *, name="bees-restore-x", **status):
        owners = [owner_reference(job())]
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "ownerReferences": owners}
        containers = [{"restartCount": 0, **container}] if container else []
        return seen(kinds.POD, {"metadata": metadata, "status": {"containerStatuses": containers, **status}})

    return put


@pytest.fixture
def restored(condition):
    def get():
        found = condition("Restored")
        return found["status"], found["reason"], found["message"]

    return get


def ended(message="", *, code=1, reason="Error"):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def container_of(made):
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return container


async def test_a_store_that_asks_for_nothing_has_no_job_and_no_condition(seen, store_object, reconcile, status, client):
    seen(STORE, store_object())
    await reconcile()
    assert "Restored" not in {found["type"] for found in status()["conditions"]}
    assert (kinds.STATEFUL_SET, KEY) in client.objects
    assert [kind for kind, _ in client.objects if kind == JOB] == []


async def test_the_data_comes_first_and_then_the_pod_of_any_other_store(
    a_store, a_backup, reconcile, status, client, job, job_is, restored, recorder, store, forget
):
    a_backup()
    a_store(version="v7")
    await reconcile()
    container = container_of(job())
    assert container["args"] == ["backups", "restore", "file:///backups/old/b1", "--data-dir=/data"]
    assert container["image"] == "registry/swarm-memory:v7", "of the release that will serve the data"
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["backups"] == {"name": "backups", "mountPath": "/backups", "readOnly": True}
    assert mounts["data"] == {"name": "data", "mountPath": "/data"}
    volumes = {volume["name"]: volume for volume in job()["spec"]["template"]["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "bees-data"}
    assert volumes["backups"]["persistentVolumeClaim"] == {"claimName": "old-backups"}
    assert "app.kubernetes.io/name" not in job()["spec"]["template"]["metadata"]["labels"], "no Service selects it"
    assert (kinds.STATEFUL_SET, KEY) not in client.objects
    assert restored() == ("False", "Restoring", "Job bees-restore restores SwarmMemoryBackup b1")
    assert (status()["phase"], status().get("restoredFrom")) == ("Restoring", None)

    forget(BACKUP, "b1")
    job_is(**DONE)
    assert (await reconcile()).requeue_after < 0.1
    assert status()["restoredFrom"] == {
        "backup": "b1",
        "location": "file:///backups/old/b1",
        "restoredAt": "2026-11-23T12:30:00Z",
    }
    assert (kinds.STATEFUL_SET, KEY) not in client.objects, "what was done is stored first"
    forget(JOB, "bees-restore")
    await reconcile()
    assert restored() == ("True", "Restored", "SwarmMemoryBackup b1 was restored")
    assert job() is None, "it is not restored again"
    made = client.objects[kinds.STATEFUL_SET, KEY]["spec"]
    assert made == stateful_set(store(version="v7"), image="registry/swarm-memory:v7")["spec"]
    assert ("Normal", "Restored", "Restored is True: SwarmMemoryBackup b1 was restored") in recorder.events
    assert "restoredFrom" in status()
    before = client.writes()
    await reconcile()
    assert client.writes() == before


async def test_the_credentials_of_an_object_store_are_files_and_nowhere_else(a_store, a_backup, reconcile, job):
    bucket = {
        "url": "s3://bucket/prefix",
        "endpoint": "https://minio:9000",
        "credentialsSecretRef": {"name": "keys"},
        "caSecretRef": {"name": "authority"},
    }
    a_backup(destination={"objectStore": bucket})
    a_store()
    await reconcile()
    template = job()["spec"]["template"]
    container = container_of(job())
    assert container["args"][-2:] == [
        "--backups-options=/etc/swarm-memory/backups/options.json",
        "--backups-credentials=/etc/swarm-memory/backups-credentials",
    ]
    assert "env" not in container
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    assert volumes["backups-credentials"]["secret"]["secretName"] == "keys"
    assert [source["secret"]["name"] for source in volumes["backups-options"]["projected"]["sources"][1:]] == [
        "authority"
    ]
    (options,) = template["metadata"]["annotations"].values()
    assert json.loads(options)["endpoint"] == "https://minio:9000"


@pytest.mark.parametrize(("owner", "near"), [("old", True), (None, False)])
async def test_the_job_runs_where_the_volume_of_the_backup_is_in_use(
    seen, a_store, a_backup, reconcile, job, owner, near
):
    labels = {"swarm.claudeflow.io/memory-store": owner} if owner else {}
    seen(
        kinds.PERSISTENT_VOLUME_CLAIM,
        {"metadata": {"name": "old-backups", "namespace": "ns", "uid": "u", "labels": labels}},
    )
    a_backup()
    a_store()
    await reconcile()
    affinity = job()["spec"]["template"]["spec"].get("affinity")
    assert (affinity is not None) == near
    if near:
        (term,) = affinity["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == labels


async def test_of_a_store_that_is_gone_the_newest_verified_backup_is_taken(a_store, a_backup, reconcile, job):
    a_backup("b1", at="2026-11-23T09:00:00Z")
    a_backup("b2", at="2026-11-23T11:00:00Z")
    a_backup("b3", "Failed", at="2026-11-23T11:30:00Z")
    a_backup("b4", "Running", at="2026-11-23T11:40:00Z")
    a_backup("b5", store="other", at="2026-11-23T11:50:00Z")
    a_store({"storeRef": {"name": "old"}})
    await reconcile()
    assert container_of(job())["args"][2] == "file:///backups/old/b2"


async def test_a_damaged_newest_backup_is_named_and_no_older_one_taken_for_it(
    a_store, a_backup, reconcile, job, pod_is, restored, client, status
):
    a_backup("b1", at="2026-11-23T09:00:00Z")
    a_backup("b2", at="2026-11-23T11:00:00Z")
    a_store({"storeRef": {"name": "old"}})
    await reconcile()
    made = job()
    pod_is({"state": ended("{...}\nswarm-memory: backup-damaged: the copy has another SHA-256 digest\n")})
    await reconcile()
    assert restored() == ("False", "BackupDamaged", "SwarmMemoryBackup b2: the copy has another SHA-256 digest")
    assert status()["phase"] == "Error"
    a_backup("b3", at="2026-11-23T11:30:00Z")  # a newer one does not change what is restored
    await reconcile()
    assert job() == made
    assert (kinds.STATEFUL_SET, KEY) not in client.objects


BUCKET = {"objectStore": {"url": "s3://bucket/prefix"}}


@pytest.mark.parametrize(
    ("source", "spec", "flag"),
    [
        ({"location": "file:///backups/gone/b9"}, {}, None),
        ({"location": "s3://bucket/prefix/gone/b9"}, {"backup": BUCKET}, "--backups-options"),
        ({"location": "s3://bucket/prefix/gone/b9", "destination": BUCKET}, {}, "--backups-options"),
        ({"location": "file:///backups/gone/b9", "destination": VOLUME}, {"backup": BUCKET}, None),
    ],
)
async def test_a_location_needs_no_object(a_store, reconcile, job, job_is, source, spec, flag, status):
    a_store(source, **spec)
    await reconcile()
    args = container_of(job())["args"]
    assert args[2] == source["location"]
    assert any(argument.startswith("--backups-options") for argument in args) == (flag is not None)
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in job()["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert ("bees-backups" in claims) == (flag is None and "destination" not in source)
    job_is(**DONE)
    await reconcile()
    assert status()["restoredFrom"] == {"location": source["location"], "restoredAt": DONE["completionTime"]}


async def test_a_location_elsewhere_says_how_to_name_the_place(a_store, reconcile, restored, job):
    a_store({"location": "s3://bucket/prefix/gone/b9"})
    result = await reconcile()
    state, reason, message = restored()
    assert (state, reason) == ("False", "DestinationMismatch")
    assert "file:///backups" in message
    assert "spec.restoreFrom.destination" in message
    assert job() is None
    assert result.requeue_after


@pytest.mark.parametrize(
    ("backup", "reason", "phase"),
    [
        (None, "BackupNotFound", "Error"),
        ({"phase": "Failed", "message": "no room left"}, "BackupFailed", "Error"),
        ({"phase": "Running"}, "WaitingForBackup", "Initializing"),
        ({"phase": "Pending"}, "WaitingForBackup", "Initializing"),
    ],
)
async def test_a_backup_that_is_not_there_yet_is_waited_for(
    a_store, a_backup, reconcile, restored, status, job, backup, reason, phase, condition, recorder
):
    if backup:
        a_backup(**backup)
    a_store()
    assert 0 < (await reconcile()).requeue_after <= 10
    assert restored()[:2] == ("False", reason)
    assert "SwarmMemoryBackup b1" in restored()[2]
    assert (status()["phase"], condition("Ready")["reason"]) == (phase, reason)
    if backup:
        assert backup.get("message", "") in restored()[2]
    kind = "Warning" if phase == "Error" else "Normal"
    assert (kind, reason) in [event[:2] for event in recorder.events]
    assert job() is None
    a_backup()
    await reconcile()
    assert restored()[1] == "Restoring"
    assert job() is not None


async def test_a_store_without_a_verified_backup_is_named(a_store, a_backup, reconcile, restored):
    a_backup("b1", "Failed")
    a_store({"storeRef": {"name": "old"}})
    await reconcile()
    assert restored() == ("False", "BackupNotFound", "SwarmMemoryStore old has no verified SwarmMemoryBackup")


async def test_a_backup_that_is_being_deleted_is_no_backup(a_store, a_backup, seen, reconcile, restored):
    found = a_backup()
    seen(BACKUP, found | {"metadata": found["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}})
    a_store()
    await reconcile()
    assert restored()[1] == "BackupNotFound"


SAID = "swarm-memory: destination-denied: s3://bucket: the keys are wrong"


@pytest.mark.parametrize(
    ("container", "reason", "said"),
    [
        ({"state": ended(SAID)}, "DestinationDenied", "s3://bucket: the keys are wrong"),
        (
            {"state": {"running": {}}, "lastState": ended(SAID), "restartCount": 3},
            "DestinationDenied",
            "s3://bucket: the keys are wrong",
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(SAID)},
            "DestinationDenied",
            "s3://bucket: the keys are wrong",
        ),
        ({"state": ended("swarm-memory: newer-schema: schema 9")}, "NewerSchema", "schema 9"),
        ({"state": ended("swarm-memory: database-exists: there is one")}, "DatabaseExists", "there is one"),
        ({"state": ended(reason="OOMKilled", code=137)}, "RestoreFailed", "OOMKilled, exit code 137"),
        ({"state": ended("KeyError: 1")}, "RestoreFailed", "Error, exit code 1: KeyError: 1"),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            "ImagePullBackOff",
            "no such image",
        ),
    ],
)
async def test_a_failure_is_told_in_the_service_s_own_words(
    a_store, a_backup, reconcile, restored, pod_is, client, container, reason, said, condition, recorder
):
    a_backup()
    a_store()
    await reconcile()
    pod_is(container)
    await reconcile()
    assert restored()[:2] == ("False", reason)
    assert restored()[2].startswith("SwarmMemoryBackup b1: ")
    assert restored()[2].endswith(said)
    assert condition("Ready")["reason"] == reason
    assert ("Warning", reason) in [event[:2] for event in recorder.events]
    before = client.writes()
    pod_is(container | {"restartCount": 9})
    await reconcile()
    assert client.writes() == before, "the next attempt changes nothing"


async def test_a_pod_that_was_given_up_is_not_the_last_word(a_store, a_backup, reconcile, restored, pod_is):
    a_backup()
    a_store()
    await reconcile()
    pod_is({"state": ended(SAID)}, name="evicted", phase="Failed")
    pod_is({"state": {"running": {}}})
    await reconcile()
    assert restored()[1] == "Restoring"


async def test_a_command_that_has_just_succeeded_is_no_failure(a_store, a_backup, reconcile, restored, pod_is):
    a_backup()
    a_store()
    await reconcile()
    pod_is({"state": ended(code=0, reason="Completed")})
    await reconcile()
    assert restored()[1] == "Restoring"


async def test_a_pod_that_is_refused_is_told(a_store, a_backup, reconcile, restored, tell, clock, job_is):
    a_backup()
    a_store()
    await reconcile()
    job_is()
    tell(JOB, "bees-restore", "job-controller", "FailedCreate", "pods is forbidden: exceeded quota")
    clock.advance(6)
    await reconcile()
    assert restored()[1:] == ("FailedCreate", "pods is forbidden: exceeded quota")


@pytest.mark.parametrize(
    ("controller", "reason", "note"),
    [
        ("kubelet", "FailedMount", 'MountVolume.SetUp failed for volume "backups" : secret "keys" not found'),
        ("attachdetach-controller", "FailedAttachVolume", "Multi-Attach error for volume: it is used by pod old-0"),
    ],
)
async def test_a_volume_that_cannot_be_mounted_is_told_until_it_is(
    a_store, a_backup, reconcile, restored, tell, clock, pod_is, controller, reason, note
):
    a_backup()
    a_store()
    await reconcile()
    pod_is({"state": {"waiting": {"reason": "ContainerCreating"}}})
    tell(kinds.POD, "bees-restore-x", controller, reason, note)
    clock.advance(6)
    await reconcile()
    assert restored()[1:] == (reason, f"SwarmMemoryBackup b1: {note}")
    pod_is({"state": {"running": {}}})
    await reconcile()
    assert restored()[1] == "Restoring"


async def test_a_job_that_ended_without_success_is_told(a_store, a_backup, reconcile, restored, job_is):
    a_backup()
    a_store()
    await reconcile()
    job_is(conditions=[{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}])
    await reconcile()
    assert restored()[1:] == ("RestoreFailed", "SwarmMemoryBackup b1: Job bees-restore: too long")


async def test_a_job_of_somebody_else_is_left_alone(a_store, a_backup, reconcile, client, condition, job):
    theirs = client.put(JOB, {"metadata": {"name": "bees-restore", "namespace": "ns", "uid": "theirs"}})
    a_backup()
    a_store()
    await reconcile()
    assert condition("Ready")["reason"] == "NameTaken"
    assert job() == theirs
    assert (kinds.STATEFUL_SET, KEY) not in client.objects


class DiedError(UnreachableError):
    """The operator has died."""


async def test_killed_after_any_of_its_writes_the_operator_restores_once(
    a_store, a_backup, seen, client, cache, caching, recorder, observer, clock, job, monkeypatch
):
    counted = {"writes": 0, "last": 0}

    def dying(method):
        async def call(*arguments, **keywords):
            answer = await method(*arguments, **keywords)
            counted["writes"] += 1
            if counted["writes"] == counted["last"]:
                raise DiedError("died")
            return answer

        return call

    for name in ("create", "apply"):
        monkeypatch.setattr(client, name, dying(getattr(client, name)))

    async def live():
        a_backup()
        a_store()
        for _ in range(12):
            reconciler = SwarmMemoryStoreReconciler(
                caching, recorder, observer, "registry/swarm-memory:v1", clock=clock
            )
            with contextlib.suppress(DiedError):
                await reconciler.reconcile(KEY)
            reconciler.poller.forget(KEY)
            for (kind, _), obj in list(client.objects.items()):  # what the watch brings
                if kind in {STORE, JOB}:
                    seen(kind, obj)
            if job() is not None and "status" not in job():
                seen(JOB, job() | {"status": DONE})
        made = [name for verb, kind, name in client.requests if (verb, kind) == ("create", "Job")]
        stored = client.objects[STORE, KEY]["status"]
        return made, (stored["restoredFrom"], [(c["type"], c["reason"]) for c in stored["conditions"]])

    made, reference = await live()
    assert made == ["bees-restore"]
    writes = counted["writes"]
    assert writes >= 8
    for last in range(1, writes + 1):
        for kind, key in list(client.objects):
            gone = client.objects.pop((kind, key))
            if kind != kinds.SECRET:
                (informer,) = cache.add(kind)
                informer.deleted(copy.deepcopy(gone))
        client.requests.clear()
        counted.update(writes=0, last=last)
        assert await live() == (["bees-restore"], reference), f"killed after write {last}"
