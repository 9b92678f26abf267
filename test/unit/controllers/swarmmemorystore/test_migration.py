"""A store with `migrateFromLegacy`: a Job brings the legacy data in when the pod serves, once."""

import contextlib
import copy
import json

import pytest
from unit.controllers.swarmmemorystore.conftest import KEY

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.migration.job import job_name
from swarm_operator.runtime.errors import ForbiddenError, UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

STORE, JOB, CLAIM, POD = kinds.SWARM_MEMORY_STORE, kinds.JOB, kinds.PERSISTENT_VOLUME_CLAIM, kinds.POD
COMPLETE = {"completionTime": "2026-11-23T12:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]}
GIVEN_UP = {
    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "no more"}]
}
COUNTED = {
    "entry": {"created": 5, "updated": 1, "unchanged": 2, "kept": 1, "quarantined": 1},
    "row": {"created": 2},
    "agent": {"created": 3},
    "task": {"unchanged": 4},
    "consensus": {"created": 1},
    "file": {"quarantined": 2},
}
SUMMARY = {"complete": True, "problem": None, "totals": {"kept": 1, "quarantined": 3}, "kinds": COUNTED}
NUMBERS = {"entries": 10, "agents": 3, "tasks": 4, "patterns": 0, "consensus": 1, "kept": 1, "quarantined": 3}


@pytest.fixture
def a_store(seen, store_object, cache):
    """Puts the store, with its status if it has one."""

    def put(*, retry=None, **spec):
        made = store_object(**{"migrateFromLegacy": True, "legacyDataPVC": "old"} | spec)
        if retry:
            made["metadata"]["annotations"] = {labels.RETRY_MIGRATION: retry}
        live = cache.get(STORE, KEY) or {}
        return seen(STORE, made | {name: live[name] for name in ("status",) if name in live})

    return put


@pytest.fixture
def legacy_claim(client):
    """The claim, which has no label of ours and is in no cache."""

    def put(**metadata):
        return client.put(CLAIM, {"metadata": {"name": "old", "namespace": "ns", "uid": "old", **metadata}})

    return put


@pytest.fixture
async def serving(a_store, legacy_claim, reconcile, ready, job, seen):
    """A store whose pod is ready, with its Job, of which an event has come; more of the spec may be given."""

    async def make(**spec):
        legacy_claim()
        a_store(**spec)
        await reconcile()
        ready()
        await reconcile()
        seen(JOB, job())

    return make


@pytest.fixture
def job(client):
    """The only Job, or None."""

    def get():
        found = [obj for (kind, _), obj in client.objects.items() if kind == JOB]
        assert len(found) <= 1
        return found[0] if found else None

    return get


@pytest.fixture
def job_is(seen, job):
    """The Job controller's write."""
    return lambda status: seen(JOB, copy.deepcopy(job()) | {"status": status})


@pytest.fixture
def pod_is(seen, job):
    """The kubelet's write: the status of a pod of the Job."""

    def put(container=None, *, name="x", at="2026-11-23T12:00:00Z", **status):
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "ownerReferences": [owner_reference(job())]}
        metadata["creationTimestamp"] = at
        containers = [{"restartCount": 0, **container}] if container else []
        return seen(POD, {"metadata": metadata, "status": {"containerStatuses": containers, **status}})

    return put


@pytest.fixture
def migrated(condition):
    def get():
        found = condition("Migrated")
        return found["status"], found["reason"], found["message"]

    return get


def ended(message="", *, code=1, reason="Error"):
    return {"state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def told(**found):
    return ended(json.dumps(SUMMARY | found), code=1 if found.get("problem") else 0)


def pod_spec(job):
    return job["spec"]["template"]["spec"]


async def test_a_store_that_asks_for_nothing_has_no_job_no_volume_and_no_condition(
    seen, store_object, reconcile, ready, status, client, job
):
    old = {"type": "Degraded", "status": "True", "reason": "NotImplemented", "message": ""}
    old["lastTransitionTime"] = "2026-11-23T12:00:00Z"
    seen(STORE, store_object(legacyDataPVC="old") | {"status": {"conditions": [old]}})
    await reconcile()
    ready()
    await reconcile()
    assert {"Migrated", "Degraded"} & {found["type"] for found in status()["conditions"]} == set()
    assert not {"migration", "migrationCompleted"} & status().keys()
    assert job() is None
    assert (CLAIM, Key("ns", "bees-backups")) not in client.objects


async def test_the_job_runs_where_the_store_s_pod_may(a_store, legacy_claim, reconcile, ready, job):
    tolerations = [{"key": "dedicated", "operator": "Exists"}]
    legacy_claim()
    a_store(podTemplate={"spec": {"nodeSelector": {"pool": "memory"}, "tolerations": tolerations}})
    await reconcile()
    ready()
    await reconcile()
    spec = pod_spec(job())
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"pool": "memory"}, tolerations)


async def test_the_job_begins_when_the_pod_serves_and_reads_the_claim_only(
    a_store, legacy_claim, reconcile, ready, job, migrated, status, recorder, client
):
    legacy_claim()
    a_store(version="v7", swarmId="swarm")
    await reconcile()
    assert job() is None
    assert migrated()[:2] == ("False", "WaitingForPod")
    assert (status()["phase"], status()["migrationCompleted"]) == ("Initializing", False)
    ready()
    await reconcile()
    assert (CLAIM, Key("ns", "bees-backups")) in client.objects, "the report needs a place"
    spec = pod_spec(job())
    (container,) = spec["containers"]
    assert container["image"] == "registry/swarm-memory:v7"
    assert container["args"] == [
        *("migrate", "--source=/legacy", "--target=http://bees.ns.svc:8080"),
        *("--token-file=/etc/swarm-memory/tokens/admin-token", "--retry-for=120", "--swarm-id=swarm"),
        *("--scratch=/tmp", "--report=/tmp/report.json", "--archive=file:///backups"),
        *("--summary=/dev/termination-log", "--accept-quarantine"),
    ]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["legacy"] == {"name": "legacy", "mountPath": "/legacy", "readOnly": True}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["legacy"]["persistentVolumeClaim"] == {"claimName": "old", "readOnly": True}
    assert volumes["backups"]["persistentVolumeClaim"] == {"claimName": "bees-backups"}
    assert (volumes["token"]["secret"]["secretName"], [i["key"] for i in volumes["token"]["secret"]["items"]]) == (
        "bees-auth",
        ["admin-token"],
    )
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    (term,) = spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == {labels.STORE: "bees"}
    assert "app.kubernetes.io/name" not in job()["spec"]["template"]["metadata"]["labels"], "no Service selects it"
    name = job()["metadata"]["name"]
    assert migrated() == ("False", "Migrating", f"Job {name} migrates PersistentVolumeClaim old")
    assert status()["phase"] == "Migrating"
    assert next(c for c in status()["conditions"] if c["type"] == "Ready")["status"] == "True", "it serves meanwhile"
    assert ("Normal", "Migrating", f"Migrated is False: {migrated()[2]}") in recorder.events
    before = client.writes()
    assert 0 < (await reconcile()).requeue_after <= 10
    assert client.writes() == before


@pytest.mark.parametrize("secure", [True, False])
async def test_the_job_asks_the_service_by_the_scheme_that_the_pod_serves(
    a_store, legacy_claim, reconcile, ready, job, seen, status, secure
):
    legacy_claim()
    a_store(tls={"mode": "off" if secure else "auto"}, updateStrategy="OnDelete")
    volumes = [{"name": "certificate"}] if secure else []
    seen(POD, {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "p"}, "spec": {"volumes": volumes}})
    await reconcile()
    ready()
    await reconcile()
    (container,) = pod_spec(job())["containers"]
    assert f"--target={status()['endpoints']['http']}" in container["args"]
    assert status()["endpoints"]["http"].startswith("https:") == secure
    assert ("ca" in {volume["name"] for volume in pod_spec(job())["volumes"]}) == secure


@pytest.mark.parametrize("secure", [True, False])
async def test_a_job_that_runs_while_tls_is_switched_begins_again_by_the_new_address(
    serving, reconcile, job, seen, client, cache, migrated, secure
):
    def pod_serves(*, tls):
        volumes = [{"name": "certificate"}] if tls else []
        seen(POD, {"metadata": {"name": "bees-0", "namespace": "ns", "uid": f"p{tls}"}, "spec": {"volumes": volumes}})

    pod_serves(tls=not secure)
    await serving(tls={"mode": "auto" if secure else "off"}, updateStrategy="OnDelete")
    name = job()["metadata"]["name"]
    await reconcile()
    assert ("delete", "Job", name) not in client.requests, "the pod serves as before"
    pod_serves(tls=secure)
    await reconcile()
    assert ("delete", "Job", name) in client.requests
    assert job() is None
    assert migrated()[:2] == ("False", "WaitingForPod")
    (informer,) = cache.add(JOB)
    for obj in cache.list(JOB):
        informer.deleted(copy.deepcopy(obj))
    await reconcile()
    (container,) = pod_spec(job())["containers"]
    assert f"--target=http{'s' if secure else ''}://bees.ns.svc:8080" in container["args"]
    assert migrated()[1] == "Migrating"


async def test_a_job_that_has_failed_stays_failed_when_tls_is_switched(
    serving, reconcile, job, job_is, seen, client, migrated
):
    await serving()
    job_is(GIVEN_UP)
    volumes = [{"name": "certificate"}]
    seen(POD, {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "p"}, "spec": {"volumes": volumes}})
    await reconcile()
    assert migrated()[1] == "Failed"
    assert job() is not None


async def test_numbers_come_into_the_status_and_it_is_never_run_again(
    serving, a_store, reconcile, job, job_is, pod_is, migrated, status, recorder, forget, client
):
    await serving()
    pod_is(told(), phase="Succeeded")
    job_is(COMPLETE)
    await reconcile()
    name = job()["metadata"]["name"]
    found = {"job": name, "location": "file:///backups/bees/~migration", **NUMBERS}
    assert status()["migration"] == found
    assert (status()["migrationCompleted"], status()["migrationTime"]) == (True, COMPLETE["completionTime"])
    assert status()["phase"] == "Ready"
    said = (
        "10 entries, 3 agents, 4 tasks, 0 patterns, 1 consensus, 1 kept, 3 quarantined;"
        " the report is at file:///backups/bees/~migration"
    )
    assert migrated() == ("True", "Completed", said)
    assert ("Normal", "Completed", f"Migrated is True: {said}") in recorder.events
    forget(JOB, name)  # as ttlSecondsAfterFinished does
    for change in ({}, {"retry": "1"}, {"legacyDataPVC": "other"}, {"migrateFromLegacy": False}, {}):
        a_store(**change)
        await reconcile()
        assert job() is None, change
        assert (status()["migration"], status()["phase"], migrated()[2]) == (found, "Ready", said), change
        assert (status()["migrationCompleted"], status()["migrationTime"]) == (True, COMPLETE["completionTime"]), change
    before = client.writes()
    await reconcile()
    assert client.writes() == before


@pytest.mark.parametrize("message", ["", "no JSON", "[]", '{"kinds": {}}', '{"kinds": {}, "totals": 1}'])
async def test_a_job_that_succeeded_is_completed_also_when_nobody_knows_how_much(
    serving, reconcile, job_is, pod_is, migrated, status, clock, message
):
    await serving()
    pod_is(ended(message, code=0), phase="Succeeded")
    job_is(COMPLETE)
    await reconcile()
    assert migrated()[:2] == ("False", "Migrating"), "the pod's event may come later"
    clock.advance(61)
    await reconcile()
    assert migrated()[:2] == ("True", "Completed")
    assert "entries" not in status()["migration"]


async def test_a_claim_that_is_not_there_is_waited_for(
    a_store, legacy_claim, reconcile, ready, job, migrated, status, recorder, condition
):
    a_store()
    await reconcile()
    ready()
    assert 0 < (await reconcile()).requeue_after <= 10
    assert migrated()[:2] == ("False", "LegacyClaimMissing")
    assert "PersistentVolumeClaim old does not exist" in migrated()[2]
    assert (status()["phase"], condition("Ready")["status"], job()) == ("Error", "True", None)
    assert ("Warning", "LegacyClaimMissing") in [event[:2] for event in recorder.events]
    legacy_claim(deletionTimestamp="2026-11-23T12:00:00Z")
    await reconcile()
    assert "is being deleted" in migrated()[2]
    legacy_claim()
    await reconcile()
    assert migrated()[1] == "Migrating"


async def test_the_words_of_a_failed_try_stay_until_the_end_and_the_last_ones_after_it(
    serving, a_store, reconcile, job, job_is, pod_is, migrated, status, recorder, forget, client, condition
):
    await serving()
    pod_is(told(problem="disk is full"), name="a", phase="Failed")
    await reconcile()
    name = job()["metadata"]["name"]
    assert migrated() == (
        "False", "AttemptFailed", f"PersistentVolumeClaim old: disk is full; Job {name} tries again"
    )  # fmt: skip
    assert status()["phase"] == "Migrating"
    assert ("Warning", "AttemptFailed") in [event[:2] for event in recorder.events]
    before = client.writes()
    pod_is({"state": {"running": {}}}, name="b", at="2026-11-23T12:00:10Z", phase="Running")
    await reconcile()
    assert client.writes() == before, "another try changes nothing"
    pod_is(ended("KeyError: 1"), name="b", at="2026-11-23T12:00:10Z", phase="Failed")
    job_is(GIVEN_UP)
    await reconcile()
    failed = migrated()
    assert failed[:2] == ("False", "Failed")
    assert failed[2].startswith("PersistentVolumeClaim old: Error, exit code 1: KeyError: 1; ")
    assert labels.RETRY_MIGRATION in failed[2]
    assert (status()["phase"], condition("Ready")["status"]) == ("Error", "True")
    assert status()["migration"] == {"job": name}
    assert ("Warning", "Failed") in [event[:2] for event in recorder.events]
    for pod in ("a", "b"):
        forget(POD, pod)
    await reconcile()
    assert migrated() == failed, "its pods are gone before it"
    forget(JOB, name)
    before = client.writes()
    await reconcile()
    assert (migrated(), job(), client.writes()) == (failed, None, before), "nothing is tried again by itself"
    a_store(retry="once more")
    await reconcile()
    assert job()["metadata"]["name"] != name
    assert migrated()[1] == "Migrating"
    assert "migration" not in status()


async def test_an_evicted_pod_is_told(serving, reconcile, pod_is, migrated):
    await serving()
    pod_is(phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage.")
    await reconcile()
    assert migrated()[1] == "AttemptFailed"
    assert "Evicted: The node was low on resource: ephemeral-storage." in migrated()[2]


async def test_a_pod_that_cannot_run_is_told(serving, reconcile, pod_is, migrated, status, tell, clock, recorder):
    """A claim that a pod on another node has, or that no node can reach."""
    await serving()
    pod_is({"state": {"waiting": {"reason": "ContainerCreating"}}}, phase="Pending")
    tell(POD, "x", "attachdetach-controller", "FailedAttachVolume", "Multi-Attach error: it is used by pod legacy-0")
    clock.advance(6)
    await reconcile()
    assert migrated() == (
        "False", "FailedAttachVolume", "PersistentVolumeClaim old: Multi-Attach error: it is used by pod legacy-0"
    )  # fmt: skip
    assert status()["phase"] == "Error"
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    unschedulable |= {
        "lastTransitionTime": "2026-11-23T12:00:00Z",
        "message": "0/1 nodes: volume node affinity conflict",
    }
    pod_is(phase="Pending", conditions=[unschedulable])
    clock.advance(20)
    await reconcile()
    assert migrated()[1] == "Unschedulable"
    assert "volume node affinity conflict" in migrated()[2]
    pod_is({"state": {"running": {}}}, phase="Running")
    await reconcile()
    assert migrated()[1] == "Migrating"


async def test_what_the_server_refuses_is_told_and_the_store_serves_on(
    a_store, legacy_claim, reconcile, ready, client, migrated, condition, job
):
    legacy_claim()
    a_store()
    await reconcile()
    ready()
    client.refusals["create", "Job"] = ForbiddenError("exceeded quota: jobs", status=403)
    assert 0 < (await reconcile()).requeue_after <= 60
    assert migrated() == ("False", "Forbidden", "exceeded quota: jobs")
    assert (condition("Ready")["status"], job()) == ("True", None)
    del client.refusals["create", "Job"]
    await reconcile()
    assert migrated()[1] == "Migrating"


async def test_a_pod_that_is_refused_is_told(serving, reconcile, migrated, tell, clock, job, job_is):
    await serving()
    job_is({})
    tell(JOB, job()["metadata"]["name"], "job-controller", "FailedCreate", "pods is forbidden: exceeded quota")
    clock.advance(6)
    await reconcile()
    assert migrated()[1:] == ("FailedCreate", "pods is forbidden: exceeded quota")


@pytest.mark.parametrize("change", [{"legacyDataPVC": "new"}, {"retry": "1"}, {"migrateFromLegacy": False}])
async def test_a_job_that_is_not_wanted_any_more_is_deleted(
    serving, a_store, client, reconcile, job, migrated, status, forget, change
):
    await serving()
    name = job()["metadata"]["name"]
    client.put(CLAIM, {"metadata": {"name": "new", "namespace": "ns", "uid": "new"}})
    a_store(**change)
    await reconcile()
    assert ("delete", "Job", name) in client.requests
    left = [obj["metadata"]["name"] for (kind, _), obj in client.objects.items() if kind == JOB]
    assert name not in left
    if "migrateFromLegacy" in change:
        assert left == []
        assert "Migrated" not in {found["type"] for found in status()["conditions"]}
        assert status()["phase"] == "Ready"
    else:
        assert migrated()[1] == "Migrating"
        assert left == [job()["metadata"]["name"]]


async def test_a_store_that_hibernates_migrates_when_it_wakes(
    serving, a_store, reconcile, ready, job, migrated, status, client, forget, cache
):
    await serving()
    a_store(hibernated=True)
    await reconcile()
    assert job() is None
    (informer,) = cache.add(JOB)
    for obj in cache.list(JOB):
        informer.deleted(copy.deepcopy(obj))
    await reconcile()
    assert migrated()[:2] == ("False", "Hibernated")
    assert (status()["phase"], job()) == ("Hibernated", None)
    a_store()
    await reconcile()
    assert migrated()[1] == "WaitingForPod"
    ready()
    await reconcile()
    assert job() is not None


async def test_a_job_that_succeeded_before_the_store_hibernated_counts(
    serving, a_store, reconcile, job_is, pod_is, migrated
):
    await serving()
    pod_is(told(), phase="Succeeded")
    job_is(COMPLETE)
    a_store(hibernated=True)
    await reconcile()
    assert migrated()[:2] == ("True", "Completed")


async def test_a_restart_of_the_pod_ends_no_job(serving, seen, client, reconcile, job, migrated, status):
    await serving()
    workload = client.objects[kinds.STATEFUL_SET, KEY]
    seen(kinds.STATEFUL_SET, workload | {"status": workload["status"] | {"readyReplicas": 0}})
    await reconcile()
    assert job() is not None
    assert (migrated()[1], status()["phase"]) == ("Migrating", "Initializing")


async def test_an_object_store_takes_the_report(serving, reconcile, job, job_is, pod_is, status, client):
    bucket = {"objectStore": {"url": "s3://bucket/prefix/", "credentialsSecretRef": {"name": "keys"}}}
    await serving(backup=bucket)
    (container,) = pod_spec(job())["containers"]
    assert "--archive=s3://bucket/prefix/" in container["args"]
    assert container["args"][-2:] == [
        "--backups-options=/etc/swarm-memory/backups/options.json",
        "--backups-credentials=/etc/swarm-memory/backups-credentials",
    ]
    assert job()["spec"]["template"]["metadata"]["annotations"]
    assert (CLAIM, Key("ns", "bees-backups")) not in client.objects
    pod_is(told(), phase="Succeeded")
    job_is(COMPLETE)
    await reconcile()
    assert status()["migration"]["location"] == "s3://bucket/prefix/bees/~migration"


def test_names_of_jobs_fit_a_label_and_differ_between_stores_claims_and_retries(store):
    made = store(name="a" * 39 + "-" + "b" * 12, legacyDataPVC="old")
    assert len(job_name(made)) <= 63
    assert "--" not in job_name(made)
    others = [store(name="x", legacyDataPVC="old"), store(name="x", legacyDataPVC="new"), store(name="x")]
    others[2].metadata.uid = "another"
    others.append(store(name="x", legacyDataPVC="old"))
    others[3].metadata.annotations[labels.RETRY_MIGRATION] = "1"
    assert len({job_name(other) for other in others}) == 4


async def test_killed_after_any_of_its_writes_the_operator_migrates_once(
    a_store, legacy_claim, seen, client, cache, caching, recorder, observer, clock, job, job_is, pod_is, mortal
):
    """What the watches bring comes after each pass: the pod gets ready, and then the Job succeeds."""
    ready = {"observedGeneration": 1, "readyReplicas": 1, "currentRevision": "a", "updateRevision": "a"}

    async def life(last):
        mortal.update(writes=0, last=last)
        legacy_claim()
        a_store()
        for _ in range(12):
            reconciler = SwarmMemoryStoreReconciler(
                caching, recorder, observer, "registry/swarm-memory:v1", clock=clock
            )
            with contextlib.suppress(UnreachableError):
                await reconciler.reconcile(KEY)
            reconciler.poller.forget(KEY)
            for (kind, key), obj in list(client.objects.items()):
                if kind in {STORE, CLAIM} and key.name != "old":
                    seen(kind, obj)
                elif kind == kinds.STATEFUL_SET:
                    seen(kind, obj | {"status": ready | {"observedGeneration": obj["metadata"]["generation"]}})
            if job() is not None and "status" not in job():
                job_is(COMPLETE)
                pod_is(told(), phase="Succeeded")
        status = client.objects[STORE, KEY]["status"]
        (migrated,) = [(c["status"], c["reason"]) for c in status["conditions"] if c["type"] == "Migrated"]
        return {field: status[field] for field in status if field.startswith("migration")}, migrated

    reference = await life(0)
    assert reference[1] == ("True", "Completed")
    writes = mortal["writes"]
    assert writes >= 9
    for last in range(1, writes + 1):
        for kind, key in list(client.objects):
            gone = client.objects.pop((kind, key))
            if kind != kinds.SECRET:
                (informer,) = cache.add(kind)
                informer.deleted(copy.deepcopy(gone))
        client.requests.clear()
        assert await life(last) == reference, f"killed after write {last}"
        made = [name for verb, kind, name in client.requests if (verb, kind) == ("create", "Job")]
        assert len(made) == 1, f"killed after write {last}"
