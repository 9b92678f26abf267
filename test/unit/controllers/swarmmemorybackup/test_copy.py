import asyncio
import copy

import pytest
from unit.controllers.swarmmemorybackup.conftest import DEADLINE, KEY, state

from swarm_operator.api.v1alpha1.swarmmemorybackup import SwarmMemoryBackupStatus
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.memory.core.errors import DiskFullError
from swarm_operator.memory.transfer.backups.errors import (
    DestinationConfigError,
    DestinationDeniedError,
    DestinationError,
    DestinationFullError,
    DestinationMissingError,
    DestinationUnreachableError,
)
from swarm_operator.runtime.errors import ServerError
from swarm_operator.runtime.resource import Key

KIND = kinds.SWARM_MEMORY_BACKUP


async def test_a_copy_that_was_verified_makes_it_ready(
    passes, seen, backup_object, ready_store, service, status, ready
):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state("Running"), state("Verifying"), state()]
    for phase in ("Running", "Verifying"):
        assert (await passes()).requeue_after == 1.0
        assert status()["phase"] == phase
        assert ready()[:2] == ("False", phase)
    assert (await passes()).requeue_after == 0.0
    found = status()
    assert ready()[:2] == ("True", "Verified")
    assert {name: found[name] for name in found if name not in {"conditions", "observedGeneration"}} == {
        "phase": "Completed",
        "reason": "Requested",
        "startedAt": "2026-11-23T12:00:00.000Z",
        "completedAt": "2026-11-23T12:00:05.000Z",
        "verifiedAt": "2026-11-23T12:00:09.000Z",
        "location": "file:///backups/bees/b1",
        "destination": {"claimName": "bees-backups"},
        "sizeBytes": 4096,
        "entries": 3,
        "sha256": "0" * 64,
        "schemaVersion": 6,
        "feedPosition": 17,
        "swarmId": "bees",
    }
    SwarmMemoryBackupStatus.model_validate(found)
    assert service.asked[0] == ("advance", "bees", "admin", "b1", "Requested", False)
    assert service.asked[-1][-1] is True


async def test_a_finished_backup_is_left_alone(passes, seen, backup_object, ready_store, service, client, status):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state()]
    await passes()
    asked, before = len(service.asked), status()
    client.requests.clear()
    for _ in range(3):
        await passes()
    assert (len(service.asked), client.requests) == (asked, [])
    assert status() == before


async def test_nothing_is_asked_before_the_finalizer_and_the_place_are_stored(
    reconciler, seen, backup_object, ready_store, service, client, status, ready
):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state()]
    client.refusals = {("apply status", "SwarmMemoryBackup"): ServerError("down", status=500)}
    with pytest.raises(ServerError):
        await reconciler.reconcile(KEY)
    await asyncio.sleep(0)  # a call that was started would have begun
    assert client.objects[KIND, KEY]["metadata"]["finalizers"] == [FINALIZER]
    assert service.asked == []
    client.refusals = {}
    await reconciler.reconcile(KEY)
    assert status()["destination"] == {"claimName": "bees-backups"}
    assert status()["location"] == "file:///backups/bees/b1"
    assert ready() == ("False", "Asking", "the memory service is asked next")
    await asyncio.sleep(0)
    assert service.asked == []


async def test_the_label_says_why_it_is_made(passes, seen, backup_object, ready_store, service, status):
    ready_store()
    seen(KIND, backup_object(labels={labels.BACKUP_REASON: "Scheduled"}))
    service.answers = [state("Running")]
    await passes()
    assert service.asked[0][4] == "Scheduled"
    assert status()["reason"] == "Scheduled"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (DiskFullError, "DiskFull"),
        (DestinationError, "DestinationFailed"),
        (DestinationConfigError, "DestinationInvalid"),
        (DestinationDeniedError, "DestinationDenied"),
        (DestinationMissingError, "DestinationMissing"),
        (DestinationFullError, "DestinationFull"),
        (DestinationUnreachableError, "DestinationUnreachable"),
    ],
)
async def test_a_failure_of_the_service_is_final_and_told_by_its_reason(
    passes, seen, backup_object, ready_store, service, status, ready, recorder, failure, reason
):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state("Failed", problem=(failure.code, "no room on /backups"))]
    await passes()
    assert (status()["phase"], ready()) == ("Failed", ("False", reason, "no room on /backups"))
    assert ("Warning", reason, "Ready is False: no room on /backups") in recorder.events
    asked = len(service.asked)
    await passes()
    assert len(service.asked) == asked


async def test_a_copy_that_was_found_damaged_is_no_backup(
    passes, seen, backup_object, ready_store, service, status, ready
):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state(verified_at=None, problem=("backup-damaged", "its digest is another"))]
    await passes()
    assert (status()["phase"], ready()[1]) == ("Failed", "BackupDamaged")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("no store", "StoreNotFound"), ("no place", "NoDestination"), ("not ready", "StoreNotReady")],
)
async def test_it_waits_for_what_it_needs_but_not_for_ever(
    passes, seen, backup_object, ready_store, store_object, service, clock, status, ready, setting, reason
):
    if setting == "no place":
        ready_store(backupInterval=None)
    elif setting == "not ready":
        seen(kinds.SWARM_MEMORY_STORE, store_object(backupInterval="1h"))
    seen(KIND, backup_object())
    assert (await passes()).requeue_after > 0
    assert (status()["phase"], ready()[:2]) == ("Pending", ("False", reason))
    clock.advance(DEADLINE - 1)
    assert (await passes()).requeue_after > 0
    clock.advance(1)
    assert (await passes()).requeue_after == 0
    assert (status()["phase"], ready()[1]) == ("Failed", reason)
    assert f"not made within {DEADLINE:g} s" in ready()[2]
    assert service.asked == []


async def test_an_answer_starts_the_deadline_anew(
    passes, seen, backup_object, ready_store, service, clock, status, ready
):
    ready_store()
    seen(KIND, backup_object())
    away = Answer(reason="NoAnswer", message="connection refused")
    for answer in (away, state("Running"), away, state()):
        service.answers = [answer]
        clock.advance(DEADLINE - 1)
        await passes()
        if answer is away:
            assert ready() == ("False", "NoAnswer", "connection refused")
    assert status()["phase"] == "Completed"


async def test_a_token_is_sent_to_the_store_s_own_service_only(
    passes, seen, backup_object, ready_store, service, client, cache, ready
):
    ready_store()
    seen(KIND, backup_object())
    foreign = copy.deepcopy(cache.get(kinds.SERVICE, Key("ns", "bees")))
    foreign["metadata"]["ownerReferences"][0]["uid"] = "somebody's"
    seen(kinds.SERVICE, foreign)
    await passes()
    assert ready()[1:] == ("StoreNotReady", "SwarmMemoryStore bees has no Service")
    ready_store()
    client.objects[kinds.SECRET, Key("ns", "bees-auth")]["metadata"]["ownerReferences"][0]["uid"] = "somebody's"
    await passes()
    assert "bees-auth has no admin-token" in ready()[2]
    assert service.asked == []


async def test_another_destination_than_the_store_s_is_refused(
    passes, seen, backup_object, ready_store, service, status, ready
):
    ready_store()
    seen(KIND, backup_object(destination={"objectStore": {"url": "s3://bucket"}}))
    await passes()
    assert (status()["phase"], ready()[1]) == ("Failed", "DestinationMismatch")
    assert service.asked == []


async def test_the_store_s_destination_may_be_spelled_out(passes, seen, backup_object, ready_store, service, status):
    ready_store(backup={"objectStore": {"url": "s3://bucket"}})
    seen(KIND, backup_object(destination={"objectStore": {"url": "s3://bucket"}}))
    service.answers = [state()]
    await passes()
    assert status()["phase"] == "Completed"


async def test_so_many_are_made_at_one_time_and_no_more(
    passes, seen, backup_object, ready_store, service, status, ready
):
    service.answers = [state("Running")]
    for number in (1, 2, 3):
        ready_store(f"s{number}")
        seen(KIND, backup_object(f"b{number}", store=f"s{number}"))
        await passes(Key("ns", f"b{number}"))
    assert [status(f"b{number}")["phase"] for number in (1, 2, 3)] == ["Running", "Running", "Pending"]
    assert ready("b3")[1] == "Queued"
    service.answers = [state()]
    await passes(Key("ns", "b1"))
    await passes(Key("ns", "b3"))
    assert status("b3")["phase"] == "Completed"


async def test_a_turn_is_not_kept_by_one_that_waits_or_is_gone(
    passes, reconciler, seen, backup_object, ready_store, service, status, store_object
):
    service.answers = [Answer(reason="NoAnswer", message="down")]
    for number in (1, 2):
        ready_store(f"s{number}")
        seen(KIND, backup_object(f"b{number}", store=f"s{number}"))
        await passes(Key("ns", f"b{number}"))
    ready_store("s3")
    seen(KIND, backup_object("b3", store="s3"))
    service.answers = [state()]
    await passes(Key("ns", "b3"))
    assert status("b3")["phase"] == "Completed"


async def test_a_turn_is_kept_over_a_restart_of_the_operator(
    passes, reconciler, seen, backup_object, ready_store, service, ready
):
    for number in (8, 9):
        running = backup_object(f"b{number}", store=f"s{number}")
        running["status"] = {"phase": "Running"}
        seen(KIND, running)
    ready_store()
    seen(KIND, backup_object())
    await passes()
    assert ready()[1] == "Queued"


async def test_a_service_that_is_slow_holds_up_no_pass(
    reconciler, passes, seen, backup_object, ready_store, service, status
):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state()]
    service.released.clear()
    await passes()
    for _ in range(3):
        await passes()
    assert len(service.asked) == 1
    assert status()["phase"] == "Pending"
    service.released.set()
    await passes()
    await passes()
    assert status()["phase"] == "Completed"


@pytest.mark.parametrize("reason", ["AnotherBackupRuns", "ServiceBusy"])
async def test_a_service_that_is_busy_is_waited_for(passes, seen, backup_object, ready_store, service, ready, reason):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [Answer(reason=reason, message="one at a time"), state()]
    assert (await passes()).requeue_after == 5.0
    assert ready() == ("False", reason, "one at a time")
    await passes()
    assert ready()[:2] == ("True", "Verified")


@pytest.mark.parametrize("what", ["missing", "full", "invalid", "failed"])
async def test_what_a_destination_says_is_the_reason(passes, seen, backup_object, ready_store, service, ready, what):
    ready_store()
    seen(KIND, backup_object())
    service.answers = [state("Failed", problem=(f"destination-{what}", "the bucket: so it is"))]
    await passes()
    assert ready() == ("False", f"Destination{what.capitalize()}", "the bucket: so it is")
