import base64
import random

import pytest

from swarm_operator.controllers import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.observation import Observation
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import ConflictError, ForbiddenError, NotFoundError, ServerError, TerminalError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


class FakeObserver:
    def __init__(self):
        self.asked = []
        self.answer = Observation()

    async def observe(self, store, token):
        self.asked.append((store.metadata.name, token))
        return self.answer


class Numbers:
    entries, agents, tasks, patterns, database_size_bytes, cache_hit_rate = 5, 1, 2, 3, 4096, 0.5


@pytest.fixture
def observer():
    return FakeObserver()


@pytest.fixture
def reconciler(cache, recorder, observer, clock):
    return SwarmMemoryStoreReconciler(
        cache, recorder, observer, "registry/swarm-memory:v1", clock=clock, rng=random.Random(1)
    )


@pytest.fixture
def status(cache):
    return lambda: cache.get(STORE, KEY)["status"]


@pytest.fixture
def condition(status):
    return lambda kind: next(found for found in status()["conditions"] if found["type"] == kind)


@pytest.fixture
def ready(seen, cache):
    """What the StatefulSet controller and the volumes' do when all goes well."""

    def make():
        workload = cache.get(kinds.STATEFUL_SET, KEY)
        revision = {"observedGeneration": 1, "readyReplicas": 1, "currentRevision": "a", "updateRevision": "a"}
        seen(
            kinds.STATEFUL_SET,
            workload | {"metadata": workload["metadata"] | {"generation": 1}, "status": revision},
        )
        claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
        seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"status": {"phase": "Bound"}})

    return make


@pytest.mark.parametrize("gone", ["never there", "deleted"])
async def test_a_store_that_is_gone_is_left_alone(reconciler, client, seen, store_object, gone):
    if gone == "deleted":
        obj = store_object()
        obj["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
        seen(STORE, obj)
    assert await reconciler.reconcile(KEY) == Result()
    assert client.requests == []


async def test_a_store_gets_its_children_in_an_order_that_can_be_cut_anywhere(reconciler, client, seen, store_object):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    assert client.writes() == [
        ("apply", "PersistentVolumeClaim", "bees-data"),
        ("create", "Secret", "bees-auth"),
        ("apply", "Service", "bees"),
        ("apply", "Service", "bees-headless"),
        ("apply", "StatefulSet", "bees"),
        ("apply status", "SwarmMemoryStore", "bees"),
    ]
    for (kind, _), obj in client.objects.items():
        if kind != STORE:
            assert obj["metadata"]["ownerReferences"] == [owner_reference(store_object())]


async def test_a_reconcile_that_was_cut_off_goes_on_where_it_was(reconciler, client, seen, store_object):
    """The crash matrix in small: the k-th write fails, for every k, and the end is the same."""
    seen(STORE, store_object())
    for cut in (
        ("apply", "PersistentVolumeClaim"),
        ("create", "Secret"),
        ("apply", "Service"),
        ("apply", "StatefulSet"),
        ("apply status", "SwarmMemoryStore"),
    ):
        client.refusals = {cut: ServerError("down", status=500)}
        with pytest.raises(ServerError):
            await reconciler.reconcile(KEY)
    client.refusals = {}
    await reconciler.reconcile(KEY)
    assert sorted(key.name for kind, key in client.objects if kind != STORE) == [
        "bees",
        "bees",
        "bees-auth",
        "bees-data",
        "bees-headless",
    ]


async def test_when_everything_is_as_wanted_nothing_is_written(reconciler, client, seen, store_object, ready, clock):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    before = client.writes()
    for _ in range(50):
        clock.advance(30)
        await reconciler.reconcile(KEY)
    assert client.writes() == before


async def test_a_store_becomes_ready_with_its_numbers(
    reconciler, seen, store_object, ready, status, condition, observer
):
    seen(STORE, store_object())
    observer.answer = Observation(Numbers())
    await reconciler.reconcile(KEY)
    assert (status()["phase"], status()["storageReady"]) == ("Initializing", False)
    assert condition("Ready")["reason"] == "WaitingForPod"
    assert observer.asked == [], "nobody is there to ask"
    ready()
    await reconciler.reconcile(KEY)
    assert (status()["phase"], status()["storageReady"], status()["entryCount"]) == ("Ready", True, 5)
    assert condition("Ready")["status"] == condition("StorageReady")["status"] == "True"
    assert status()["endpoints"]["http"] == "http://bees.ns.svc:8080"


async def test_the_service_is_asked_with_the_secret_s_token(reconciler, client, seen, store_object, ready, observer):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    secret = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
    assert observer.asked == [("bees", base64.b64decode(secret["data"]["client-token"]).decode())]


async def test_numbers_that_are_not_known_any_more_are_taken_out(
    reconciler, seen, store_object, ready, status, observer
):
    seen(STORE, store_object())
    observer.answer = Observation(Numbers())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    observer.answer = Observation()
    await reconciler.reconcile(KEY)
    assert "entryCount" not in status()
    assert status()["phase"] == "Ready"


async def test_a_ready_store_is_looked_at_less_often_and_not_in_step_with_others(
    reconciler, seen, store_object, ready, observer
):
    seen(STORE, store_object())
    waiting = await reconciler.reconcile(KEY)
    assert 4.5 <= waiting.requeue_after <= 5.5
    ready()
    assert 4.5 <= (await reconciler.reconcile(KEY)).requeue_after <= 5.5, "numbers are still missing"
    observer.answer = Observation(Numbers())
    intervals = {(await reconciler.reconcile(KEY)).requeue_after for _ in range(20)}
    assert all(27 <= interval <= 33 for interval in intervals)
    assert len(intervals) > 10


async def test_the_pod_s_trouble_is_told(reconciler, seen, store_object, status, condition, recorder):
    seen(STORE, store_object())
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    pod = {"metadata": {"name": "bees-0", "namespace": "ns"}, "status": {"containerStatuses": [{"state": waiting}]}}
    seen(kinds.POD, pod)
    await reconciler.reconcile(KEY)
    assert condition("Ready")["reason"] == "ImagePullBackOff"
    assert status()["phase"] == "Error"
    assert ("Warning", "ImagePullBackOff", "Ready is False: pod bees-0: no such tag") in recorder.events


async def test_a_claim_on_its_way_out_is_told(reconciler, seen, store_object, cache, condition):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
    claim["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"status": {"phase": "Bound"}})
    await reconciler.reconcile(KEY)
    assert condition("StorageReady")["reason"] == "VolumeTerminating"


async def test_what_is_not_carried_out_yet_is_told(reconciler, seen, store_object, condition):
    seen(STORE, store_object(backupInterval="1h", mcpMode=True))
    await reconciler.reconcile(KEY)
    degraded = condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NotImplemented")
    assert "backupInterval" in degraded["message"]
    assert "mcpMode" not in degraded["message"]


async def test_a_spec_that_is_not_valid_makes_no_children(reconciler, client, seen, store_object, condition):
    seen(STORE, store_object(storageSize="lots"))
    with pytest.raises(TerminalError, match="storageSize"):
        await reconciler.reconcile(KEY)
    assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")]
    assert condition("Ready")["reason"] == "InvalidSpec"


async def test_a_secret_of_somebody_else_is_not_used(reconciler, client, seen, store_object, condition, observer):
    seen(STORE, store_object())
    client.put(kinds.SECRET, {"metadata": {"name": "bees-auth", "namespace": "ns"}, "data": {"client-token": "eA=="}})
    assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
    assert condition("Ready")["reason"] == "NameTaken"
    assert not [write for write in client.writes() if write[1] == "StatefulSet"]


async def test_a_secret_that_exists_keeps_its_tokens(reconciler, client, seen, store_object):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    before = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
    seen(STORE, store_object(cacheSize=8))
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")] is before


async def test_a_secret_that_another_worker_made_meanwhile_is_used(reconciler, client, seen, store_object, recorder):
    seen(STORE, store_object())
    theirs = {
        "metadata": {"name": "bees-auth", "namespace": "ns", "ownerReferences": [owner_reference(store_object())]},
        "data": {"client-token": "eA=="},
    }
    client.put(kinds.SECRET, theirs)
    answers = [NotFoundError("not yet", status=404)]
    get = client.get

    async def behind(resource, namespace, name):
        if resource is kinds.SECRET and answers:
            raise answers.pop()
        return await get(resource, namespace, name)

    client.get = behind
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"] == {"client-token": "eA=="}
    assert ("Normal", "Created", "created Secret bees-auth") not in recorder.events


async def test_a_right_that_is_missing_is_told_and_tried_again(reconciler, client, seen, store_object, condition):
    seen(STORE, store_object())
    client.refusals["apply", "StatefulSet"] = ForbiddenError("no right", status=403)
    with pytest.raises(ForbiddenError):
        await reconciler.reconcile(KEY)
    assert condition("Ready")["reason"] == "Forbidden"


async def test_a_write_that_lost_a_race_is_tried_again_without_a_word(reconciler, client, seen, store_object, cache):
    seen(STORE, store_object())
    client.refusals["apply", "StatefulSet"] = ConflictError("changed", status=409)
    with pytest.raises(ConflictError):
        await reconciler.reconcile(KEY)
    assert "status" not in cache.get(STORE, KEY)


async def test_tokens_appear_neither_in_events_nor_in_the_log_nor_in_the_status(
    reconciler, client, seen, store_object, ready, recorder, status, logged
):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    said = str(recorder.events) + str(logged) + str(status())
    said += str([obj for (kind, _), obj in client.objects.items() if kind is not kinds.SECRET])
    for encoded in client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"].values():
        assert encoded not in said
        assert base64.b64decode(encoded).decode() not in said


async def test_a_change_of_what_a_store_owns_is_a_reason_to_look(reconciler, cache, client, store_object):
    fresh = type(cache)(client)
    reconciler.cache = fresh
    controller = Controller("watching-stores", reconciler, fresh)
    reconciler.set_up(controller)
    watched = {informer.resource: informer for informer in fresh.informers}
    assert kinds.SECRET not in watched
    owned = {"name": "x", "namespace": "ns", "ownerReferences": [owner_reference(store_object())]}
    for kind in (kinds.STATEFUL_SET, kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM):
        watched[kind].changed({"metadata": owned | {"resourceVersion": "1"}})
        assert await controller.queue.get() == (KEY, 0)
        controller.queue.done(KEY)
    pod = {"name": "bees-0", "namespace": "ns", "labels": {"swarm.claudeflow.io/memory-store": "bees"}}
    watched[kinds.POD].changed({"metadata": pod})
    assert await controller.queue.get() == (KEY, 0)
    assert {i.reflector.label_selector for kind, i in watched.items() if kind != STORE} == {
        "app.kubernetes.io/managed-by=swarm-operator"
    }
