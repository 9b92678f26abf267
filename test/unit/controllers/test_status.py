import pytest

from swarm_operator.controllers import kinds
from swarm_operator.controllers.status import Conditions, write_status
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import key_of

STORE = kinds.SWARM_MEMORY_STORE


@pytest.fixture
def obj(store_object, seen):
    return seen(STORE, store_object())


@pytest.fixture
def write(cache, recorder, clock, obj):
    """Judges and writes as a reconcile does: from what is in the cache."""

    async def call(status=None, **conditions):
        live = cache.get(STORE, key_of(obj))
        found = Conditions(live, clock)
        for kind, (holds, reason, *message) in conditions.items():
            found.set(kind, holds=holds, reason=reason, message=message[0] if message else "")
        await write_status(cache, recorder, STORE, live, status or {}, found)
        return {c["type"]: c for c in cache.get(STORE, key_of(obj))["status"]["conditions"]}

    return call


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


async def test_a_status_that_says_nothing_new_is_not_written(write, client, clock, recorder):
    await write({"phase": "Ready", "entryCount": 3}, Ready=(True, "Available"))
    client.requests.clear()
    recorder.events.clear()
    clock.advance(3600)
    await write({"phase": "Ready", "entryCount": 3}, Ready=(True, "Available"))
    assert client.requests == []
    assert recorder.events == []


@pytest.mark.parametrize(
    "change", [{"phase": "Error"}, {"entryCount": 4}, {"entryCount": None}, {"storageReady": True}]
)
async def test_a_status_that_says_something_new_is_written_once(write, client, change):
    status = {"phase": "Ready", "entryCount": 3}
    await write(status, Ready=(True, "Available"))
    client.requests.clear()
    await write(status | change, Ready=(True, "Available"))
    await write(status | change, Ready=(True, "Available"))
    assert client.requests == [("apply status", "SwarmMemoryStore", "bees")]


async def test_what_is_not_known_is_absent_and_never_null(write, cache, obj):
    await write({"phase": "Ready", "entryCount": None, "databaseSize": 0}, Ready=(True, "Available"))
    status = cache.get(STORE, key_of(obj))["status"]
    assert "entryCount" not in status
    assert status["databaseSize"] == 0
    assert status["observedGeneration"] == 1


async def test_a_new_generation_is_acknowledged(write, seen, cache, obj):
    await write(Ready=(True, "Available"))
    live = cache.get(STORE, key_of(obj))
    seen(STORE, live | {"metadata": live["metadata"] | {"generation": 2}})
    assert (await write(Ready=(True, "Available")))["Ready"]["observedGeneration"] == 2
    assert cache.get(STORE, key_of(obj))["status"]["observedGeneration"] == 2


async def test_a_condition_that_was_not_judged_this_time_stays(write):
    await write(Ready=(True, "Available"), StorageReady=(True, "Bound"))
    assert set(await write(Ready=(False, "Refused"))) == {"Ready", "StorageReady"}


async def test_the_write_is_for_one_uid_only(cache, recorder, clock, obj, client):
    applied = []

    async def apply(resource, sent, **options):
        applied.append((sent, options))
        raise ConflictError("another uid", status=409)

    client.apply = apply
    with pytest.raises(ConflictError):
        await write_status(cache, recorder, STORE, obj, {"phase": "Ready"}, Conditions(obj, clock))
    ((sent, options),) = applied
    assert sent["metadata"] == {"name": "bees", "namespace": "ns", "uid": "uid-bees"}
    assert options["subresource"] == "status"
    assert recorder.events == []


@pytest.mark.parametrize(
    ("condition", "event"),
    [
        ({"Ready": (True, "Available", "fine")}, ("Normal", "Available", "Ready is True: fine")),
        ({"Ready": (False, "CrashLoopBackOff", "oh")}, ("Warning", "CrashLoopBackOff", "Ready is False: oh")),
        ({"Ready": (False, "WaitingForPod")}, ("Normal", "WaitingForPod", "Ready is False: WaitingForPod")),
        ({"Ready": (None, "Odd")}, ("Warning", "Odd", "Ready is Unknown: Odd")),
        ({"StorageReady": (True, "Bound")}, ("Normal", "Bound", "StorageReady is True: Bound")),
        ({"Degraded": (True, "NotImplemented")}, ("Warning", "NotImplemented", "Degraded is True: NotImplemented")),
        ({"Degraded": (False, "AsExpected")}, None),
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
