"""Deletion of a restore at any time, alone or with its store, ends."""

import copy

import pytest
from unit.controllers.swarmmemoryrestore.conftest import KEY, KIND, SAFETY, observed

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.controllers.swarmmemoryrestore.ending import GRACE
from swarm_operator.controllers.swarmmemoryrestore.restore import FINALIZER
from swarm_operator.runtime.errors import Cause, ForbiddenError
from swarm_operator.runtime.resource import Key


@pytest.fixture
async def deleted(seen, restore_object, ready_store, backup, passes, service, stored):
    """A restore that runs, and that somebody has deleted."""
    ready_store()
    backup()
    seen(KIND, restore_object())
    service.answers = [observed("Fetching")]
    await passes()
    obj = stored()
    obj["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(KIND, obj)
    return obj


async def test_one_that_runs_ends_first_and_its_safety_backup_gets_an_object(
    deleted, passes, service, stored, ready, safety_backups
):
    assert (await passes()).requeue_after == 1.0
    assert (stored()["status"]["phase"], ready()[1]) == ("Deleting", "Deleting")
    assert stored()["metadata"]["finalizers"] == [FINALIZER]
    assert service.asked[-1][-2:] == (True, False), "it is not started again"
    service.answers = [observed(safety=[SAFETY])]
    await passes()
    assert stored()["metadata"]["finalizers"] == []
    assert list(safety_backups()) == [SAFETY]


@pytest.mark.parametrize("status", [{"location": None}, {"phase": "Completed"}, {"phase": "Failed"}])
async def test_the_service_is_not_asked_about_one_that_has_ended_or_not_begun(
    deleted, passes, service, seen, stored, status
):
    known = deleted["status"] | status
    seen(KIND, deleted | {"status": {name: value for name, value in known.items() if value is not None}})
    service.asked.clear()
    await passes()
    assert stored()["metadata"]["finalizers"] == []
    assert service.asked == []


async def test_one_that_the_service_knows_nothing_of_is_let_go(deleted, passes, service, stored):
    service.answers = [Answer(reason="OutcomeUnknown", message="no record")]
    await passes()
    assert stored()["metadata"]["finalizers"] == []


async def test_a_service_that_does_not_answer_is_waited_for_a_while(
    deleted, passes, service, stored, ready, clock, recorder
):
    service.answers = [Answer(reason="NoAnswer", message="connection refused")]
    clock.advance(GRACE - 1)
    assert (await passes()).requeue_after == 5.0
    assert ready()[1:] == ("NoAnswer", "connection refused")
    clock.advance(1)
    await passes()
    assert stored()["metadata"]["finalizers"] == []
    note = "how the restore ends is not known: connection refused"
    assert ("Warning", "RestoreAbandoned", note) in recorder.events


async def test_a_store_that_is_not_ready_is_waited_for_a_while(
    deleted, passes, seen, store_object, stored, ready, clock
):
    seen(kinds.SWARM_MEMORY_STORE, store_object())
    await passes()
    assert ready()[1] == "StoreNotReady"
    clock.advance(GRACE)
    await passes()
    assert stored()["metadata"]["finalizers"] == []


@pytest.mark.parametrize("store", ["gone", "being deleted", "made anew"])
async def test_a_store_that_is_deleted_too_is_not_waited_for(
    deleted, passes, service, seen, forget, cache, store_object, stored, store
):
    asked = len(service.asked)
    if store == "being deleted":
        found = copy.deepcopy(cache.get(kinds.SWARM_MEMORY_STORE, Key("ns", "bees")))
        found["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
        seen(kinds.SWARM_MEMORY_STORE, found)
    else:
        forget(kinds.SWARM_MEMORY_STORE, "bees")
    if store == "made anew":
        other = store_object()
        other["metadata"]["uid"] = "another"
        seen(kinds.SWARM_MEMORY_STORE, other)
    await passes()
    assert stored()["metadata"]["finalizers"] == []
    assert len(service.asked) == asked


@pytest.mark.parametrize("terminating", [False, True])
async def test_a_refused_backup_object_does_not_hold_it_up(
    deleted, passes, service, client, stored, recorder, terminating
):
    causes = (Cause("", "", "NamespaceTerminating"),) if terminating else ()
    refusal = ForbiddenError("no", status=403, causes=causes)
    assert refusal.namespace_terminating is terminating
    client.refusals = {("create", "SwarmMemoryBackup"): refusal}
    service.answers = [observed(safety=[SAFETY])]
    await passes()
    assert stored()["metadata"]["finalizers"] == []
    assert "BackupNotCreated" in recorder.reasons


async def test_one_that_was_not_asked_for_yet_goes_at_once(seen, restore_object, reconciler, service, stored, client):
    seen(KIND, restore_object(deletionTimestamp="2026-11-23T12:00:00Z", finalizers=["other", FINALIZER]))
    await reconciler.reconcile(KEY)
    assert stored()["metadata"]["finalizers"] == ["other"]
    assert service.asked == []
