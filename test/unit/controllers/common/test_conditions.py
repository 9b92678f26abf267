import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.resource import key_of


async def test_a_condition_has_every_field_of_metav1(write):
    conditions = await write(Ready=(True, "Available", "all is well"))
    assert conditions == {
        "Ready": {
            "type": "Ready",
            "status": "True",
            "reason": "Available",
            "message": "all is well",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
    }


@pytest.mark.parametrize(("holds", "status"), [(True, "True"), (False, "False"), (None, "Unknown")])
async def test_a_condition_holds_or_not_or_is_not_known(write, holds, status):
    assert (await write(Ready=(holds, "Because")))["Ready"]["status"] == status


async def test_a_condition_that_keeps_its_status_keeps_its_time(write, clock):
    await write(Ready=(False, "WaitingForPod"))
    clock.advance(60)
    assert (await write(Ready=(False, "CrashLoopBackOff")))["Ready"]["lastTransitionTime"] == "2026-11-23T12:00:00Z"


async def test_a_condition_that_changes_its_status_has_a_new_time(write, clock):
    await write(Ready=(False, "WaitingForPod"))
    clock.advance(60)
    assert (await write(Ready=(True, "Available")))["Ready"]["lastTransitionTime"] == "2026-11-23T12:01:00Z"


async def test_a_condition_that_was_not_judged_this_time_stays(write):
    await write(Ready=(True, "Available"), StorageReady=(True, "Bound"))
    assert set(await write(Ready=(False, "Refused"))) == {"Ready", "StorageReady"}


@pytest.mark.parametrize(
    ("condition", "event"),
    [
        ({"Ready": (True, "Available", "fine")}, ("Normal", "Available", "Ready is True: fine")),
        ({"Ready": (False, "CrashLoopBackOff", "oh")}, ("Warning", "CrashLoopBackOff", "Ready is False: oh")),
        ({"Ready": (False, "WaitingForPod")}, ("Normal", "WaitingForPod", "Ready is False: WaitingForPod")),
        ({"Ready": (None, "Odd")}, ("Warning", "Odd", "Ready is Unknown: Odd")),
        ({"StorageReady": (True, "Bound")}, ("Normal", "Bound", "StorageReady is True: Bound")),
        ({"Migrated": (False, "Migrating")}, ("Normal", "Migrating", "Migrated is False: Migrating")),
        ({"Migrated": (False, "Failed", "oh")}, ("Warning", "Failed", "Migrated is False: oh")),
        ({"AuthReady": (False, "TokensInvalid")}, ("Warning", "TokensInvalid", "AuthReady is False: TokensInvalid")),
        ({"AuthReady": (True, "TokensValid")}, None),
        ({"MemoryReady": (True, "Available")}, None),
    ],
)
async def test_a_change_of_a_condition_makes_an_event_where_people_need_one(write, recorder, condition, event):
    await write(**condition)
    assert recorder.events == ([event] if event else [])


async def test_a_changed_message_makes_an_event_and_a_repeated_one_does_not(write, recorder):
    await write(Ready=(False, "Unschedulable", "0/1 nodes"))
    await write(Ready=(False, "Unschedulable", "0/1 nodes"))
    await write(Ready=(False, "Unschedulable", "0/2 nodes"))
    assert len(recorder.events) == 2


@pytest.mark.parametrize(("holds", "seconds"), [(True, 0.0), (False, 60.0), (None, 60.0)])
async def test_how_long_a_condition_is_not_true(write, reconciliation, cache, obj, clock, holds, seconds):
    await write(Ready=(holds, "Because"))
    clock.advance(60)
    conditions = reconciliation(cache.get(kinds.SWARM_MEMORY_STORE, key_of(obj))).conditions
    assert conditions.seconds_not_true("Ready") == seconds
    assert conditions.seconds_not_true("StorageReady") == 0.0
