from datetime import datetime, timedelta

import pytest

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import done, waiting
from swarm_operator.controllers.swarmmemorystore.backups.metrics import LAST_VERIFIED
from swarm_operator.controllers.swarmmemorystore.backups.step import Backups
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import ConflictError, ForbiddenError, InvalidError, ServerError
from swarm_operator.runtime.resource import Key

KIND, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_STORE
KEY = Key("ns", "bees")


@pytest.fixture
def step():
    return Backups()


@pytest.fixture
def a_store(seen, store_object):
    """Puts a store, with what its status and its annotations hold."""

    def make(*, status=None, annotations=None, **spec):
        obj = store_object(**spec)
        obj["status"] = status or {}
        obj["metadata"]["annotations"] = annotations or {}
        return seen(STORE, obj)

    return make


@pytest.fixture
def run(step, reconciliation, cache):
    """Runs the step over the store as it is; returns the pass and the outcome."""

    async def once(*, serves=True):
        r = reconciliation(cache.get(STORE, KEY))
        r.parsed = SwarmMemoryStore.model_validate(r.obj)
        r.outcomes[Workload] = done("Available") if serves else waiting("WaitingForPod", "")
        return r, await step.run(r)

    return once


@pytest.fixture
def a_backup(seen):
    """Puts a backup of the store."""

    def make(
        name, phase=None, *, reason="Scheduled", at="2026-11-23T11:00:00Z", why="Verified", store="bees", **status
    ):
        ready = {"type": "Ready", "reason": why, "message": "so it is", "lastTransitionTime": at}
        ready["status"] = "True" if phase == "Completed" else "False"
        found = {"conditions": [ready], "startedAt": at, **({"phase": phase} if phase else {}), **status}
        if phase == "Completed":
            found |= {"completedAt": at, "verifiedAt": at}
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "labels": {labels.BACKUP_REASON: reason}}
        return seen(KIND, {"metadata": metadata, "spec": {"storeRef": {"name": store}}, "status": found})

    return make


def names(client):
    return sorted(key.name for kind, key in client.objects if kind == KIND)


def condition(r):
    found = {c["type"]: c for c in r.conditions.render()}.get("BackupSucceeded")
    return found and (found["status"], found["reason"], found["message"])


async def test_a_store_without_backups_says_nothing_of_them(a_store, run, client):
    a_store()
    r, outcome = await run()
    assert outcome.is_done
    assert outcome.requeue_after == 0.0
    assert condition(r) is None
    assert {name for name, value in r.status.items() if value is not None} == set()
    assert client.writes() == []


async def test_the_first_one_is_due_within_the_interval_and_not_at_once(a_store, run, client, clock):
    a_store(backupInterval="1h")
    r, outcome = await run()
    due = datetime.fromisoformat(r.status["nextBackup"])
    assert clock.now() < due <= clock.now() + timedelta(hours=1)
    assert outcome.requeue_after == pytest.approx((due - clock.now()).total_seconds(), abs=0.1)
    assert condition(r)[:2] == ("Unknown", "NoBackupYet")
    assert client.writes() == []


async def test_what_is_due_is_made_once_also_after_a_crash(a_store, run, client, clock):
    due = rfc3339(clock.now())
    a_store(backupInterval="1h", status={"nextBackup": due})
    r, _ = await run()
    assert names(client) == ["bees-20261123120000"]
    made = client.objects[KIND, Key("ns", "bees-20261123120000")]
    assert made["spec"] == {"storeRef": {"name": "bees"}}
    assert made["metadata"]["labels"][labels.BACKUP_REASON] == "Scheduled"
    assert "ownerReferences" not in made["metadata"], "it outlives its store"
    assert r.status["nextBackup"] > due
    await run()  # the status was not written: the operator died
    assert names(client) == ["bees-20261123120000"]


async def test_what_was_missed_is_made_up_for_once(a_store, run, client, clock):
    a_store(backupInterval="10s", status={"nextBackup": rfc3339(clock.now() - timedelta(days=3))})
    r, _ = await run()
    assert len(names(client)) == 1
    assert datetime.fromisoformat(r.status["nextBackup"]) > clock.now()


@pytest.mark.parametrize(("phase", "made"), [(None, False), ("Pending", False), ("Running", False), ("Failed", True)])
async def test_none_is_made_while_another_is_not_finished(a_store, a_backup, run, client, clock, phase, made):
    a_store(backupInterval="1h", status={"nextBackup": rfc3339(clock.now())})
    a_backup("bees-1", phase)
    r, _ = await run()
    assert (len(names(client)) == 2) is made
    assert datetime.fromisoformat(r.status["nextBackup"]) > clock.now(), "what was due meanwhile is left out"


async def test_a_schedule_that_changes_takes_effect_at_once(a_store, run, client, clock):
    a_store(backupInterval="1m", status={"nextBackup": rfc3339(clock.now() + timedelta(days=20))})
    r, _ = await run()
    assert datetime.fromisoformat(r.status["nextBackup"]) <= clock.now() + timedelta(minutes=1)
    a_store(status={"nextBackup": rfc3339(clock.now())})
    r, outcome = await run()
    assert r.status["nextBackup"] is None
    assert (outcome.requeue_after, names(client)) == (0.0, [])


async def test_what_was_said_of_a_schedule_goes_with_it(a_store, run):
    stored = {
        "type": "BackupSucceeded", "status": "Unknown", "reason": "NoBackupYet", "message": "",
        "lastTransitionTime": "2026-11-23T12:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    a_store(status={"conditions": [stored]})
    r, _ = await run()
    assert condition(r) is None


async def test_a_hibernated_store_has_no_schedule(a_store, run, client, clock):
    a_store(backupInterval="1h", hibernated=True, status={"nextBackup": rfc3339(clock.now())})
    r, outcome = await run()
    assert (names(client), r.status["nextBackup"], outcome.requeue_after) == ([], None, 0.0)


async def test_a_wrong_schedule_is_told_and_stops_nothing_else(a_store, a_backup, run):
    a_store(backupSchedule="61 * * * *", status={"nextBackup": "2026-11-23T12:00:00Z"})
    a_backup("bees-1", "Completed")
    r, outcome = await run()
    assert outcome.is_done
    assert condition(r)[:2] == ("False", "InvalidSchedule")
    assert r.status["nextBackup"] is None
    assert r.status["lastVerifiedBackup"] == "bees-1"


async def test_the_annotation_makes_one_backup_and_goes_when_it_is_finished(
    a_store, a_backup, run, client, cache, clock
):
    a_store(annotations={labels.BACKUP_REQUESTED: "true", "their/note": "x"})
    await run()
    name = "bees-requested-20261123120000"
    assert cache.get(STORE, KEY)["metadata"]["annotations"] == {labels.BACKUP_REQUESTED: name, "their/note": "x"}
    assert names(client) == [], "its name is known before it is made"
    clock.advance(7)
    await run()
    await run()
    assert names(client) == [name]
    assert client.objects[KIND, Key("ns", name)]["metadata"]["labels"][labels.BACKUP_REASON] == "Requested"
    a_backup(name, "Running", reason="Requested")
    await run()
    assert cache.get(STORE, KEY)["metadata"]["annotations"][labels.BACKUP_REQUESTED] == name
    a_backup(name, "Failed", reason="Requested")
    await run()
    assert cache.get(STORE, KEY)["metadata"]["annotations"].get(labels.BACKUP_REQUESTED) is None


async def test_a_request_that_comes_meanwhile_is_not_lost(a_store, a_backup, run, client, seen, cache):
    name = "bees-requested-20261123110000"
    a_store(annotations={labels.BACKUP_REQUESTED: name})
    a_backup(name, "Completed", reason="Requested")
    stale = cache.get(STORE, KEY)
    client.put(STORE, stale | {"metadata": stale["metadata"] | {"annotations": {labels.BACKUP_REQUESTED: "true"}}})
    with pytest.raises(ConflictError):
        await run()
    assert client.objects[STORE, KEY]["metadata"]["annotations"][labels.BACKUP_REQUESTED] == "true"


@pytest.mark.parametrize("value", ["yes", "", "bees-requested-1", "other-requested-20261123110000"])
async def test_other_values_ask_for_nothing(a_store, run, client, value):
    a_store(annotations={labels.BACKUP_REQUESTED: value})
    await run()
    assert client.writes() == []


async def test_the_newest_scheduled_ones_are_kept(a_store, a_backup, run, client):
    a_store(backupRetention=2)
    for hour in range(5):
        a_backup(f"bees-{hour}", "Completed", at=f"2026-11-23T0{hour}:00:00Z")
        a_backup(f"failed-{hour}", "Failed", at=f"2026-11-23T0{hour}:30:00Z", why="DiskFull")
    a_backup("mine", "Completed", reason="Requested", at="2026-01-01T00:00:00Z")
    a_backup("others", "Completed", store="wasps", at="2026-01-01T00:00:00Z")
    await run()
    assert names(client) == ["bees-3", "bees-4", "failed-3", "failed-4", "mine", "others"]


async def test_the_last_verified_one_is_never_removed(a_store, a_backup, run, client):
    a_store(backupRetention=1)
    a_backup("good", "Completed", at="2026-11-23T01:00:00Z")
    for hour in range(2, 8):
        a_backup(f"failed-{hour}", "Failed", at=f"2026-11-23T0{hour}:30:00Z", why="DiskFull")
    r, _ = await run()
    assert names(client) == ["failed-7", "good"]
    assert r.status["lastVerifiedBackup"] == "good"


async def test_the_status_tells_of_the_last_ones(a_store, a_backup, run):
    a_store()
    a_backup("bees-1", "Completed", at="2026-11-23T01:00:00Z")
    a_backup("bees-2", "Failed", at="2026-11-23T02:00:00Z", why="DiskFull")
    r, _ = await run()
    assert (r.status["lastBackup"], r.status["lastVerifiedBackup"]) == ("2026-11-23T01:00:00Z", "bees-1")
    assert condition(r) == ("False", "DiskFull", "SwarmMemoryBackup bees-2: so it is")
    a_backup("bees-3", "Completed", at="2026-11-23T03:00:00Z")
    r, _ = await run()
    assert condition(r)[:2] == ("True", "Verified")
    assert LAST_VERIFIED.labels(*KEY)._value.get() == datetime.fromisoformat("2026-11-23T03:00:00Z").timestamp()


async def test_when_the_last_one_was_made_is_not_forgotten(a_store, run, step):
    a_store(status={"lastBackup": "2026-11-23T01:00:00Z"})
    r, _ = await run()
    assert (r.status["lastBackup"], r.status["lastVerifiedBackup"]) == ("2026-11-23T01:00:00Z", None)
    step.forget(KEY)
    assert tuple(KEY) not in LAST_VERIFIED._metrics


@pytest.mark.parametrize(("phase", "serves", "shown"), [
    ("Running", True, "BackingUp"), ("Verifying", True, "BackingUp"), ("Pending", True, None), ("Running", False, None),
])  # fmt: skip
async def test_the_phase_tells_of_a_backup_that_is_being_made(a_store, a_backup, run, phase, serves, shown):
    a_store()
    a_backup("mine", phase, reason="Requested")
    r, _ = await run(serves=serves)
    assert r.status.get("phase") == shown


async def test_a_backup_of_another_swarm_is_not_ours(a_store, a_backup, run):
    a_store(swarmId="wasps")
    a_backup("bees-1", "Completed", swarmId="bees")
    r, _ = await run()
    assert (condition(r), r.status["lastVerifiedBackup"]) == (None, None)


async def test_a_quota_does_not_keep_the_store_from_being_ready(a_store, run, client, clock):
    due = rfc3339(clock.now())
    a_store(backupInterval="1h", status={"nextBackup": due})
    client.refusals = {("create", "SwarmMemoryBackup"): ForbiddenError("exceeded quota", status=403)}
    r, outcome = await run()
    assert outcome.is_done
    assert outcome.requeue_after > 0
    assert condition(r) == ("False", "Forbidden", "exceeded quota")
    assert r.status["nextBackup"] == due, "it is tried again"
    assert r.errors == []


async def test_a_server_that_fails_is_asked_again(a_store, run, client, clock):
    due = rfc3339(clock.now())
    a_store(backupInterval="1h", status={"nextBackup": due})
    client.refusals = {("create", "SwarmMemoryBackup"): ServerError("down", status=500)}
    r, outcome = await run()
    assert (condition(r)[1], r.status["nextBackup"], outcome.requeue_after > 0) == ("RequestFailed", due, True)


async def test_a_backup_that_the_server_finds_invalid_is_told(a_store, run, client, clock):
    a_store(backupInterval="1h", status={"nextBackup": rfc3339(clock.now())})
    client.refusals = {("create", "SwarmMemoryBackup"): InvalidError("metadata.name: too long", status=422)}
    r, _ = await run()
    assert condition(r) == ("False", "Refused", "metadata.name: too long")
