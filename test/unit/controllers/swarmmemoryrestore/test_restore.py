import asyncio
import copy

import pytest
from prometheus_client import CollectorRegistry
from unit.controllers.swarmmemoryrestore.conftest import (
    DEADLINE,
    KEY,
    KIND,
    LOCATION,
    NAME,
    PART,
    SAFETY,
    WHOLE,
    observed,
)

from swarm_operator.api.v1alpha1.swarmmemoryrestore import SwarmMemoryRestoreStatus
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.controllers.swarmmemoryrestore import metrics
from swarm_operator.controllers.swarmmemoryrestore.restore import FINALIZER
from swarm_operator.controllers.swarmmemoryrestore.service import Request
from swarm_operator.runtime.errors import ForbiddenError, ServerError
from swarm_operator.runtime.resource import Key


@pytest.fixture
def asked_for(seen, restore_object, ready_store, backup):
    """Makes a restore of a verified backup into a store that is ready."""

    def make(**fields):
        ready_store()
        backup()
        seen(KIND, restore_object(**fields))

    return make


async def test_everything_is_restored_and_what_was_there_is_a_backup(
    asked_for, passes, service, stored, ready, safety_backups, recorder
):
    asked_for()
    phases = ("Fetching", "Verifying", "BackingUp", "Swapping")
    service.answers = [*map(observed, phases), observed(safety=[SAFETY])]
    for phase in phases:
        assert (await passes()).requeue_after == 1.0
        assert stored()["status"]["phase"] == phase
        assert ready()[:2] == ("False", phase)
        assert safety_backups() == {}
    assert (await passes()).requeue_after == 0.0
    found = stored()["status"]
    assert ready() == ("True", "Restored", "everything was replaced by b1, with 3 entries")
    assert {name: found[name] for name in found if name not in {"conditions", "observedGeneration"}} == {
        "phase": "Completed",
        "from": "b1",
        "location": LOCATION,
        "storeUID": "uid-bees",
        "startedAt": "2026-11-23T12:00:00.000Z",
        "completedAt": "2026-11-23T12:00:05.000Z",
        "plan": {"backup": "b1", "entries": 3, "bytes": 4096},
        "safetyBackup": SAFETY,
    }
    SwarmMemoryRestoreStatus.model_validate(found)
    assert stored()["metadata"]["finalizers"] == []
    (made,) = safety_backups().values()
    assert made["metadata"]["labels"]["swarm.claudeflow.io/backup-reason"] == "PreRestore"
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"] == {"storeRef": {"name": "bees"}}
    assert ("Normal", "BackupCreated", f"created SwarmMemoryBackup {SAFETY} (PreRestore)") in recorder.events
    assert not [event for event in recorder.events if event[0] == "Warning"]
    everything = Request(LOCATION, None, "", dry_run=False)
    assert service.asked[0] == ("bees", "admin", NAME, everything, False, True)
    assert service.asked[-1] == ("bees", "admin", NAME, everything, True, True)


async def test_a_plan_is_written_into_the_status_and_nothing_else_is_done(
    asked_for, passes, service, stored, ready, safety_backups
):
    asked_for(dryRun=True, namespaces=["b", "a"], keyPrefix="p:")
    service.answers = [observed(plan={"backup": "b1", "entries": 9, "bytes": 7} | PART)]
    await passes()
    assert ready()[:2] == ("True", "Planned")
    assert ready()[2] == "nothing was written; it would be 1 new, 2 changed and 3 removed entries, as in b1"
    assert stored()["status"]["plan"] == {
        "backup": "b1", "entries": 9, "bytes": 7, "entriesNew": 1, "entriesChanged": 2, "entriesRemoved": 3,
    }  # fmt: skip
    assert service.asked[0][3] == Request(LOCATION, ("b", "a"), "p:", dry_run=True)
    assert safety_backups() == {}


@pytest.mark.parametrize("part", [{"namespaces": ["a"]}, {"keyPrefix": "p:"}])
async def test_a_part_needs_no_place_for_a_safety_backup(
    seen, restore_object, ready_store, passes, service, ready, part
):
    ready_store(backupInterval=None)
    seen(KIND, restore_object(source={"location": "s3://bucket/bees/b1"}, **part))
    service.answers = [observed(plan={"backup": "b1", "entries": 9, "bytes": 7} | PART)]
    await passes()
    assert ready() == ("True", "Restored", "1 new, 2 changed and 3 removed entries, as in b1")


async def test_progress_is_written_in_coarse_steps(asked_for, passes, service, stored, client):
    asked_for(namespaces=["a"])
    steps = range(0, 1001, 5)
    service.answers = [observed("Writing", progress={"done": done, "of": 1000}) for done in steps]
    service.answers.append(observed())
    seen = []
    await passes()
    before = len(client.writes())
    for _ in steps:
        seen.append(stored()["status"].get("progress"))
        await passes()
    assert sorted(set(seen)) == list(range(0, 101, 10))
    # The status eleven times, the last one among them, and the finalizer.
    assert len(client.writes()) - before == 12
    assert "progress" not in stored()["status"]


async def test_a_size_that_is_not_known_yet_is_no_progress(asked_for, passes, service, stored):
    asked_for()
    service.answers = [observed("Fetching", progress={"done": 0, "of": 0})]
    await passes()
    assert "progress" not in stored()["status"]


async def test_a_finished_restore_is_left_alone(asked_for, passes, service, client, stored):
    asked_for()
    service.answers = [observed()]
    await passes()
    asked, before = len(service.asked), stored()
    client.requests.clear()
    for _ in range(3):
        await passes()
    assert (len(service.asked), client.requests, stored()) == (asked, [], before)


async def test_a_wait_costs_no_write(asked_for, passes, service, client, ready):
    asked_for()
    service.answers = [Answer(reason="AnotherBackupRuns", message="the backup b7 is running")]
    assert (await passes()).requeue_after == 5.0
    assert ready() == ("False", "AnotherBackupRuns", "the backup b7 is running")
    client.requests.clear()
    for _ in range(3):
        await passes()
    assert client.writes() == []


async def test_nothing_is_asked_before_finalizer_store_and_location_are_stored(
    asked_for, reconciler, service, client, stored
):
    asked_for()
    client.refusals = {("apply status", "SwarmMemoryRestore"): ServerError("down", status=500)}
    with pytest.raises(ServerError):
        await reconciler.reconcile(KEY)
    await asyncio.sleep(0)  # a call that was started would have begun
    assert stored()["metadata"]["finalizers"] == [FINALIZER]
    client.refusals = {}
    await reconciler.reconcile(KEY)
    assert (stored()["status"]["storeUID"], stored()["status"]["location"]) == ("uid-bees", LOCATION)
    await asyncio.sleep(0)
    assert service.asked == []


async def test_an_error_that_is_over_is_not_in_the_phase_any_more(asked_for, passes, service, client, stored, ready):
    asked_for()
    service.answers = [Answer(reason="NoAnswer", message="connection refused")]
    client.refusals = {("merge", "SwarmMemoryRestore"): ForbiddenError("may not", status=403)}
    with pytest.raises(ForbiddenError):
        await passes()
    assert (stored()["status"]["phase"], ready()[1]) == ("Error", "Forbidden")
    client.refusals = {}
    await passes()
    await passes()
    assert (stored()["status"]["phase"], ready()[1]) == ("Pending", "NoAnswer")


async def test_what_was_asked_for_stays_when_the_backup_s_object_is_gone(asked_for, passes, service, forget, ready):
    asked_for()
    service.answers = [observed("Fetching"), observed()]
    await passes()
    forget(kinds.SWARM_MEMORY_BACKUP, "b1")
    await passes()
    assert ready()[1] == "Restored"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("backup-damaged", "BackupDamaged"),
        ("newer-schema", "NewerSchema"),
        ("backup-of-another-swarm", "BackupOfAnotherSwarm"),
        ("disk-full", "DiskFull"),
        ("interrupted", "Interrupted"),
    ],
)
async def test_a_failure_of_the_service_is_final_and_told_by_its_reason(
    asked_for, passes, service, stored, ready, recorder, safety_backups, code, reason
):
    asked_for()
    service.answers = [observed("Failed", problem=(code, "why"), safety=[SAFETY])]
    await passes()
    assert (stored()["status"]["phase"], ready()) == ("Failed", ("False", reason, "why"))
    assert ("Warning", reason, "Ready is False: why") in recorder.events
    assert list(safety_backups()) == [SAFETY], "what was copied has an object also when the restore has failed"
    asked = len(service.asked)
    await passes()
    assert len(service.asked) == asked


@pytest.mark.parametrize("reason", ["AnotherRestoreRuns", "RequestRefused", "OutcomeUnknown"])
async def test_what_waiting_does_not_help_is_refused_at_once(asked_for, passes, service, stored, ready, reason):
    asked_for()
    service.answers = [Answer(reason=reason, message="why")]
    assert (await passes()).requeue_after == 0.0
    assert (stored()["status"]["phase"], ready()) == ("Failed", ("False", reason, "why"))
    assert stored()["metadata"]["finalizers"] == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("no store", "StoreNotFound"),
        ("not ready", "StoreNotReady"),
        ("no place", "NoDestination"),
        ("no backup", "BackupNotFound"),
        ("not verified", "BackupNotVerified"),
    ],
)
async def test_it_waits_for_what_it_needs_but_not_for_ever(
    seen, restore_object, ready_store, store_object, backup, passes, service, clock, stored, ready, setting, reason
):
    if setting == "not ready":
        seen(kinds.SWARM_MEMORY_STORE, store_object(backupInterval="1h"))
    elif setting == "no place":
        ready_store(backupInterval=None)
    elif setting != "no store":
        ready_store()
    if setting == "not verified":
        backup(phase="Verifying", verifiedAt=None)
    elif setting != "no backup":
        backup()
    source = {"location": LOCATION} if setting == "no place" else None
    seen(KIND, restore_object(source=source))
    assert (await passes()).requeue_after == 5.0
    assert (stored()["status"]["phase"], ready()[:2]) == ("Pending", ("False", reason))
    clock.advance(DEADLINE - 1)
    assert (await passes()).requeue_after == 5.0
    clock.advance(1)
    assert (await passes()).requeue_after == 0.0
    assert (stored()["status"]["phase"], ready()[1]) == ("Failed", reason)
    assert f"not carried out within {DEADLINE:g} s" in ready()[2]
    assert service.asked == []


async def test_an_answer_starts_the_deadline_anew(asked_for, passes, service, clock, stored, ready):
    asked_for()
    away = Answer(reason="NoAnswer", message="connection refused")
    for answer in (away, observed("Fetching"), away, observed()):
        service.answers = [answer]
        clock.advance(DEADLINE - 1)
        await passes()
        if answer is away:
            assert ready() == ("False", "NoAnswer", "connection refused")
    assert stored()["status"]["phase"] == "Completed"


async def test_what_was_interrupted_is_asked_for_again_for_as_long_as_the_deadline(asked_for, passes, service, clock):
    asked_for()
    service.answers = [observed("Fetching")]
    await passes()
    for moment, again in ((DEADLINE - 1, True), (1, False)):
        clock.advance(moment)
        await passes()
        assert service.asked[-1][-2:] == (True, again)


async def test_the_first_start_is_the_one_that_counts(asked_for, passes, service, stored):
    asked_for()
    service.answers = [observed("Fetching"), observed("Fetching", started_at="2026-11-23T12:30:00.000Z")]
    await passes()
    await passes()
    assert stored()["status"]["startedAt"] == "2026-11-23T12:00:00.000Z"


@pytest.mark.parametrize("after", ["deleted", "made anew"])
async def test_a_store_that_is_gone_ends_the_restore(
    asked_for, passes, service, ready_store, store_object, seen, forget, stored, ready, after
):
    asked_for()
    service.answers = [observed("Fetching")]
    await passes()
    asked = len(service.asked)
    forget(kinds.SWARM_MEMORY_STORE, "bees")
    if after == "made anew":
        other = store_object(backupInterval="1h")
        other["metadata"]["uid"] = "another"
        seen(kinds.SWARM_MEMORY_STORE, other)
    await passes()
    assert (stored()["status"]["phase"], ready()[1]) == ("Failed", "StoreNotFound")
    assert "was deleted before the restore had ended" in ready()[2]
    assert len(service.asked) == asked
    assert stored()["metadata"]["finalizers"] == []


@pytest.mark.parametrize("started", [False, True])
async def test_a_store_that_is_being_deleted_ends_the_restore(asked_for, passes, service, seen, cache, ready, started):
    asked_for()
    service.answers = [observed("Fetching")]
    if started:
        await passes()
    store = copy.deepcopy(cache.get(kinds.SWARM_MEMORY_STORE, Key("ns", "bees")))
    store["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(kinds.SWARM_MEMORY_STORE, store)
    await passes()
    assert ready() == ("False", "StoreDeleting", "SwarmMemoryStore bees is being deleted")


async def test_an_error_of_the_api_server_keeps_the_result_for_the_next_pass(
    asked_for, reconciler, passes, service, client, stored, ready, safety_backups
):
    asked_for()
    service.answers = [observed(safety=[SAFETY])]
    client.refusals = {("create", "SwarmMemoryBackup"): ServerError("down", status=500)}
    with pytest.raises(ServerError):
        await passes()
    assert stored()["status"]["phase"] == "Pending"
    client.refusals = {}
    await passes()
    assert (ready()[1], list(safety_backups())) == ("Restored", [SAFETY])


async def test_a_phase_that_this_release_does_not_know_fails_without_a_reason(
    asked_for, passes, service, stored, ready
):
    asked_for()
    service.answers = [observed("Dreaming")]
    await passes()
    assert (stored()["status"]["phase"], ready()[1]) == ("Failed", "RestoreFailed")


async def test_metrics_have_the_duration_and_the_failures_by_reason(asked_for, passes, service, restore_object, seen):
    registry = CollectorRegistry()
    for metric in (metrics.DURATION, metrics.FAILURES):
        registry.register(metric)

    def value(name, **labels):
        return registry.get_sample_value(f"swarm_operator_restore_{name}", labels) or 0.0

    before = (value("duration_seconds_sum"), value("failures_total", reason="DiskFull"))
    asked_for()
    service.answers = [observed()]
    await passes()
    seen(KIND, restore_object("r2"))
    service.answers = [observed("Failed", problem=("disk-full", "no room"))]
    await passes(Key("ns", "r2"))
    assert value("duration_seconds_sum") - before[0] == 5.0
    assert value("failures_total", reason="DiskFull") - before[1] == 1.0


async def test_a_plan_is_told_while_it_is_made_and_a_busy_service_is_waited_for(asked_for, passes, service, ready):
    asked_for(dryRun=True)
    service.answers = [
        Answer(reason="ServiceBusy", message="try later"),
        observed("Planning"),
        observed(plan=WHOLE | PART),
    ]
    assert (await passes()).requeue_after == 5.0
    assert ready() == ("False", "ServiceBusy", "try later")
    await passes()
    assert ready()[:2] == ("False", "Planning")
    await passes()
    assert ready()[:2] == ("True", "Planned")
