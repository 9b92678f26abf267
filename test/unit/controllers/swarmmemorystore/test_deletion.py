"""Deletion of a store: what becomes of its data volume, of its pod and of its final backup."""

import copy

import pytest

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.backups.objects import final_name
from swarm_operator.controllers.swarmmemorystore.deletion import SERVICE_GRACE
from swarm_operator.controllers.swarmmemorystore.storage import FINALIZER
from swarm_operator.runtime.errors import Cause, ConflictError, ForbiddenError, UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE, CLAIM, BACKUP = kinds.SWARM_MEMORY_STORE, kinds.PERSISTENT_VOLUME_CLAIM, kinds.SWARM_MEMORY_BACKUP
BUCKET = {"objectStore": {"url": "s3://bucket/prefix", "endpoint": "https://minio:9000"}}
DEADLINE = 3600.0
"""Of the fixture `reconciler`: the default."""


@pytest.fixture
def deleted(seen, store_object):
    """Makes a store that is being deleted."""

    def make(*, annotations=None, **spec):
        obj = store_object(**spec)
        obj["metadata"] |= {
            "deletionTimestamp": "2026-11-23T12:00:00Z",
            "finalizers": ["other", FINALIZER],
            "annotations": annotations or {},
        }
        obj["status"] = {"phase": "Ready", "entryCount": 5}
        return seen(STORE, obj)

    return make


@pytest.fixture
def claim(seen, store):
    """Makes the claim of the data volume."""

    def make(phase="Bound", **metadata):
        known = {"name": "bees-data", "namespace": "ns", "uid": "claim", "labels": labels.of_store(store())}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
        return seen(CLAIM, {"metadata": known | metadata, "spec": spec, "status": {"phase": phase}})

    return make


@pytest.fixture
def workload(seen, store_object):
    """Makes the StatefulSet of a store, whose service keeps its backups at `--backups`."""

    def make(*, ready=True, backups=None, **annotations):
        metadata = {"name": "bees", "namespace": "ns", "uid": "set", "generation": 1}
        metadata["ownerReferences"] = [owner_reference(store_object())]
        container = {"name": "memory", "args": ["serve", *([f"--backups={backups}"] if backups else [])]}
        template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}
        status = {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "a"}
        status |= {"readyReplicas": 1} if ready else {}
        spec = {"replicas": 1, "template": template}
        return seen(kinds.STATEFUL_SET, {"metadata": metadata, "spec": spec, "status": status})

    return make


@pytest.fixture
def name(store):
    """Name of the final backup."""
    return final_name(store())


@pytest.fixture
def backup(seen, name):
    """Makes the final backup."""

    def make(phase, reason="Verified", message="so it is", **metadata):
        ready = {"type": "Ready", "status": "True" if phase == "Completed" else "False", "reason": reason}
        ready |= {"message": message, "lastTransitionTime": "2026-11-23T12:00:00Z"}
        status = {"phase": phase, "conditions": [ready], "swarmId": "bees"}
        status |= {"verifiedAt": "2026-11-23T12:00:00Z"} if phase == "Completed" else {}
        body = {"metadata": {"name": name, "namespace": "ns", "uid": "b", **metadata}, "status": status}
        return seen(BACKUP, body | {"spec": {"storeRef": {"name": "bees"}}})

    return make


@pytest.fixture
def objects(client):
    """Names of the objects of a kind."""
    return lambda kind: sorted(key.name for its, key in client.objects if its == kind)


@pytest.fixture
def finalizers(client):
    return lambda: client.objects[STORE, KEY]["metadata"]["finalizers"]


@pytest.fixture
def replicas(client):
    return lambda: client.objects[kinds.STATEFUL_SET, KEY]["spec"]["replicas"]


@pytest.mark.parametrize(
    ("spec", "guarded", "owned"),
    [
        ({}, True, False),
        ({"deletionPolicy": "Backup"}, True, False),
        ({"backupOnDelete": True}, True, False),
        ({"deletionPolicy": "Backup", "backupOnDelete": False}, True, False),
        ({"deletionPolicy": "Retain"}, False, False),
        ({"deletionPolicy": "Retain", "backupOnDelete": True}, False, False),
        ({"deletionPolicy": "Delete"}, False, True),
        ({"backupOnDelete": False}, False, True),
    ],
)
async def test_a_store_needs_a_finalizer_or_owns_its_claim_or_neither(
    reconciler, seen, store_object, client, spec, guarded, owned
):
    seen(STORE, store_object(**spec))
    await reconciler.reconcile(KEY)
    assert (FINALIZER in client.objects[STORE, KEY]["metadata"].get("finalizers", [])) is guarded
    claim = client.objects[CLAIM, Key("ns", "bees-data")]
    assert bool(claim["metadata"].get("ownerReferences")) is owned
    if guarded:
        writes = [kind for _, kind, _ in client.writes()]
        assert writes.index("SwarmMemoryStore") < writes.index("PersistentVolumeClaim"), "stored before there is data"


async def test_another_policy_takes_the_finalizer_away_and_gives_it_back(reconciler, seen, store_object, client, cache):
    seen(STORE, store_object())
    for policy, guarded in (("Backup", True), ("Retain", False), ("Backup", True), ("Delete", False)):
        seen(STORE, copy.deepcopy(cache.get(STORE, KEY)) | {"spec": {"deletionPolicy": policy}})
        await reconciler.reconcile(KEY)
        assert (FINALIZER in client.objects[STORE, KEY]["metadata"].get("finalizers", [])) is guarded


async def test_a_deletion_asks_for_a_backup_that_outlives_the_store(
    reconciler, deleted, claim, client, name, objects, finalizers, status, condition, recorder
):
    deleted()
    claim()
    result = await reconciler.reconcile(KEY)
    (made,) = (obj for (kind, _), obj in client.objects.items() if kind == BACKUP)
    assert (made["metadata"]["name"], made["spec"]) == (name, {"storeRef": {"name": "bees"}})
    assert made["metadata"]["labels"][labels.BACKUP_REASON] == "Final"
    assert "ownerReferences" not in made["metadata"]
    assert objects(CLAIM) == ["bees-backups", "bees-data"], "a place for it is made"
    assert finalizers() == ["other", FINALIZER]
    assert (status()["phase"], status()["entryCount"]) == ("Deleting", 5)
    assert (condition("Ready")["status"], condition("Ready")["reason"]) == ("False", "FinalBackup")
    assert 0 < result.requeue_after <= 5
    assert "BackupCreated" in recorder.reasons
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")], "now the status knows of the backup"
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert client.writes() == []


@pytest.mark.parametrize(
    ("pod", "spec", "stopped"),
    [
        ({}, {}, True),
        ({"ready": False, "backups": "file:///backups"}, {}, True),
        ({"backups": "file:///backups"}, {}, False),
        ({"backups": "file:///backups"}, {"backup": BUCKET}, True),
        ({"backups": "s3://bucket/prefix"}, {"backup": BUCKET}, True),
    ],
)
async def test_a_pod_that_cannot_make_it_is_stopped(
    reconciler, deleted, claim, workload, replicas, recorder, pod, spec, stopped
):
    deleted(**spec)
    claim()
    workload(**pod)
    await reconciler.reconcile(KEY)
    assert (replicas() == 0) is stopped
    assert ("PodStopped" in recorder.reasons) is stopped


async def test_a_pod_with_the_same_object_store_goes_on(reconciler, deleted, claim, workload, replicas):
    deleted(backup=BUCKET)
    claim()
    options = {"swarm.claudeflow.io/backups-options": '{"allow_http": false, "endpoint": "https://minio:9000"}'}
    workload(backups="s3://bucket/prefix", **options)
    await reconciler.reconcile(KEY)
    assert replicas() == 1


async def test_a_service_that_does_not_answer_is_asked_for_a_while(
    reconciler, deleted, claim, workload, backup, replicas, clock
):
    deleted(backup={})
    claim()
    workload(backups="file:///backups")
    backup("Pending", "NoAnswer", "connection refused")
    await reconciler.reconcile(KEY)
    assert replicas() == 1
    clock.advance(SERVICE_GRACE)
    await reconciler.reconcile(KEY)
    assert replicas() == 0


async def test_a_newer_workload_of_the_same_name_is_not_stopped(reconciler, deleted, claim, workload, client, replicas):
    deleted()
    claim()
    workload()
    client.objects[kinds.STATEFUL_SET, KEY]["metadata"]["uid"] = "newer"  # and the cache is behind
    with pytest.raises(ConflictError):
        await reconciler.reconcile(KEY)
    assert replicas() == 1


async def test_a_pod_that_holds_a_volume_on_its_way_out_is_not_stopped(
    reconciler, deleted, claim, workload, replicas, finalizers
):
    deleted()
    claim(deletionTimestamp="2026-11-23T11:00:00Z")
    workload()
    await reconciler.reconcile(KEY)
    assert replicas() == 1, "the data is gone with the pod"
    assert FINALIZER in finalizers(), "the pod can make the backup yet"


async def test_a_volume_on_its_way_out_without_a_pod_is_not_waited_for(
    reconciler, deleted, claim, objects, finalizers, recorder
):
    """As after a cluster that was deleted unnoticed has made its store anew."""
    deleted()
    claim(deletionTimestamp="2026-11-23T11:00:00Z")
    await reconciler.reconcile(KEY)
    assert (objects(BACKUP), finalizers()) == ([], ["other"])
    assert "VolumeLost" in recorder.reasons


async def test_a_backup_of_a_volume_on_its_way_out_is_waited_for(reconciler, deleted, claim, backup, finalizers):
    """The pod of its Job keeps the volume."""
    deleted()
    claim(deletionTimestamp="2026-11-23T11:00:00Z")
    backup("Running", "Running")
    await reconciler.reconcile(KEY)
    assert FINALIZER in finalizers()


async def test_when_it_is_verified_the_volume_goes_and_then_the_store(
    reconciler, deleted, claim, backup, client, objects, finalizers, recorder
):
    deleted(backup={})
    claim()
    backup("Completed")
    client.put(CLAIM, {"metadata": {"name": "bees-backups", "namespace": "ns", "uid": "x"}})
    await reconciler.reconcile(KEY)
    assert client.writes() == [
        ("delete", "PersistentVolumeClaim", "bees-data"),
        ("merge", "SwarmMemoryStore", "bees"),
    ]
    assert (objects(CLAIM), finalizers()) == (["bees-backups"], ["other"])
    assert ("Normal", "FinalBackupVerified") in [event[:2] for event in recorder.events]
    await reconciler.reconcile(KEY)
    assert len(client.writes()) == 2, "deleted again, it stays deleted"


@pytest.mark.parametrize("phase", ["Completed", "Failed"])
async def test_a_backup_on_its_way_out_does_not_count(reconciler, deleted, claim, backup, objects, finalizers, phase):
    deleted()
    claim()
    backup(phase, "NoDatabase", deletionTimestamp="2026-11-23T12:00:00Z")
    await reconciler.reconcile(KEY)
    assert "bees-data" in objects(CLAIM)
    assert (FINALIZER in finalizers()) is (phase == "Completed"), "another one is made, or the volume is kept"


async def test_one_that_was_not_verified_does_not_count(reconciler, deleted, claim, backup, seen, cache, name, objects):
    deleted()
    claim()
    backup("Completed")
    obj = copy.deepcopy(cache.get(BACKUP, Key("ns", name)))
    del obj["status"]["verifiedAt"]
    seen(BACKUP, obj)
    await reconciler.reconcile(KEY)
    assert "bees-data" in objects(CLAIM)


async def test_one_that_has_failed_keeps_the_volume(
    reconciler, deleted, claim, backup, objects, finalizers, recorder, name
):
    deleted()
    claim()
    backup("Failed", "DestinationDenied", "not made within 3600 s: wrong key")
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), finalizers()) == (["bees-data"], ["other"])
    ((_, _, note),) = (event for event in recorder.events if event[:2] == ("Warning", "VolumeKept"))
    assert name in note
    assert "wrong key" in note
    assert "bees-data stays" in note


async def test_a_volume_without_a_database_is_not_kept(reconciler, deleted, claim, backup, objects, finalizers):
    deleted()
    claim()
    backup("Failed", "NoDatabase")
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), finalizers()) == ([], ["other"])


async def test_it_is_over_at_the_deadline(reconciler, deleted, claim, backup, clock, objects, finalizers, recorder):
    deleted()
    claim()
    backup("Pending", "DestinationDenied", "wrong key")
    clock.advance(DEADLINE - 1)
    await reconciler.reconcile(KEY)
    assert FINALIZER in finalizers()
    clock.advance(1)
    await reconciler.reconcile(KEY)
    assert ("bees-data" in objects(CLAIM), finalizers()) == (True, ["other"])
    assert "VolumeKept" in recorder.reasons


async def test_what_keeps_it_from_being_made_is_told_with_what_helps(
    reconciler, deleted, claim, backup, condition, recorder
):
    deleted()
    claim()
    backup("Pending", "DestinationDenied", "wrong key")
    await reconciler.reconcile(KEY)
    told = condition("Ready")
    assert (told["status"], told["reason"]) == ("False", "FinalBackupFailing")
    assert "wrong key" in told["message"]
    assert f"{labels.SKIP_FINAL_BACKUP}=true" in told["message"]
    assert ("Warning", "FinalBackupFailing") in [event[:2] for event in recorder.events]


async def test_the_annotation_skips_it_at_once_and_keeps_the_volume(
    reconciler, deleted, claim, objects, finalizers, recorder
):
    deleted(annotations={labels.SKIP_FINAL_BACKUP: "true"})
    claim()
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), objects(BACKUP), finalizers()) == (["bees-data"], [], ["other"])
    assert "VolumeKept" in recorder.reasons


async def test_a_volume_that_was_never_bound_needs_no_backup(reconciler, deleted, claim, objects, finalizers):
    deleted()
    claim("Pending")
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), objects(BACKUP), finalizers()) == ([], [], ["other"])


async def test_a_volume_that_is_bound_although_the_cache_does_not_know_it_is_backed_up(
    reconciler, deleted, claim, client, objects
):
    deleted()
    bound = copy.deepcopy(claim("Pending"))
    client.put(CLAIM, bound | {"status": {"phase": "Bound"}})
    await reconciler.reconcile(KEY)
    assert "bees-data" in objects(CLAIM)


async def test_a_store_without_a_claim_goes(reconciler, deleted, objects, finalizers):
    deleted()
    await reconciler.reconcile(KEY)
    assert (objects(BACKUP), finalizers()) == ([], ["other"])


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {labels.SWARM_ID: "wasps"}},
        {"ownerReferences": [{"uid": "theirs", "controller": True, "kind": "X", "apiVersion": "x/v1", "name": "x"}]},
    ],
)
async def test_somebody_else_s_claim_is_left_alone(reconciler, deleted, claim, objects, finalizers, metadata):
    deleted(deletionPolicy="Delete")
    claim(**metadata)
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), objects(BACKUP), finalizers()) == (["bees-data"], [], ["other"])


@pytest.mark.parametrize(("policy", "left"), [("Delete", []), ("Retain", ["bees-data"])])
async def test_a_policy_that_is_changed_meanwhile_counts(
    reconciler, deleted, claim, backup, objects, finalizers, policy, left
):
    deleted(deletionPolicy=policy)
    claim()
    backup("Running", "Running")
    await reconciler.reconcile(KEY)
    assert (objects(CLAIM), finalizers()) == (left, ["other"])


async def test_a_volume_that_is_kept_has_no_owner(reconciler, deleted, claim, backup, client, store_object):
    deleted()
    claim(ownerReferences=[owner_reference(store_object())])
    backup("Failed", "DestinationDenied")
    await reconciler.reconcile(KEY)
    (_, applied, _), *_ = client.writes()
    assert applied == "PersistentVolumeClaim"


TERMINATING = ForbiddenError(
    "being terminated", status=403, causes=(Cause(field="", message="", reason="NamespaceTerminating"),)
)


@pytest.mark.parametrize("refused", [("create", "SwarmMemoryBackup"), ("apply", "PersistentVolumeClaim")])
async def test_the_deletion_of_a_namespace_does_not_wait_for_it(
    reconciler, deleted, claim, client, finalizers, recorder, refused
):
    deleted()
    claim()
    client.refusals = {refused: TERMINATING}
    await reconciler.reconcile(KEY)
    assert finalizers() == ["other"]
    assert "VolumeKept" in recorder.reasons


async def test_a_quota_that_refuses_the_backup_is_told_until_the_deadline(
    reconciler, deleted, claim, client, finalizers, condition, clock
):
    deleted()
    claim()
    client.refusals = {("create", "SwarmMemoryBackup"): ForbiddenError("exceeded quota", status=403)}
    with pytest.raises(ForbiddenError):
        await reconciler.reconcile(KEY)
    assert condition("Ready")["reason"] == "Forbidden"
    clock.advance(DEADLINE)
    await reconciler.reconcile(KEY)
    assert finalizers() == ["other"]


class DiedError(UnreachableError):
    """The operator has died."""


@pytest.mark.parametrize("end", ["Completed", "Failed"])
async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(
    cache, caching, recorder, observer, client, clock, deleted, claim, workload, backup, monkeypatch, end, name
):
    """The operator dies after its k-th write, for each k; a new one goes on. Another reconciler makes the backup."""
    counted = {"writes": 0, "last": 0}

    def dying(method):
        async def call(*args, **kwargs):
            answer = await method(*args, **kwargs)
            counted["writes"] += 1
            if counted["writes"] == counted["last"]:
                raise DiedError("died")
            return answer

        return call

    for method in ("create", "apply", "merge", "delete"):
        monkeypatch.setattr(client, method, dying(getattr(client, method)))

    async def live():
        """Reconcile until a pass writes nothing. Return whether the operator died meanwhile."""
        died = False
        while True:
            before = counted["writes"]
            reconciler = SwarmMemoryStoreReconciler(caching, recorder, observer, "image", clock=clock)
            try:
                await reconciler.reconcile(KEY)
            except DiedError:
                died = True
            for (kind, key), obj in list(client.objects.items()):  # what the watches bring
                for informer in cache.add(kind) if kind != kinds.SECRET else ():
                    if informer.store.get(key) != obj:
                        informer.changed(copy.deepcopy(obj))
            if counted["writes"] == before:
                return died

    ends = []
    for last in range(20):
        client.objects.clear()
        for informer in cache.informers:
            for obj in list(informer.store):
                informer.deleted(obj)
        counted.update(writes=0, last=last)
        deleted()
        claim()
        workload()
        died = await live()
        assert [key.name for kind, key in client.objects if kind == BACKUP] == [name], "it is made once"
        backup(end, "Verified" if end == "Completed" else "DestinationDenied")
        died = await live() or died
        ends.append({(kind.kind, key.name): obj.get("spec") for (kind, key), obj in client.objects.items()})
        assert client.objects[STORE, KEY]["metadata"]["finalizers"] == ["other"]
        if last and not died:
            break
    assert last > 5, "there are so many writes"
    assert ends == [ends[0]] * len(ends)
    assert (("PersistentVolumeClaim", "bees-data") in ends[0]) is (end == "Failed")


def test_a_later_store_of_the_same_name_has_another_final_backup(store_object):
    obj = store_object("a" * 52)
    first = final_name(SwarmMemoryStore.model_validate(obj))
    obj["metadata"]["uid"] = "another"
    assert final_name(SwarmMemoryStore.model_validate(obj)) != first
    assert len(first) <= 253
