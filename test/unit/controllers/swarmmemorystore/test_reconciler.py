import asyncio
import base64
import random

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import LASTING
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.controllers.swarmmemorystore.storage import RESIZE_INTERVAL
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import (
    Cause,
    ConflictError,
    FencedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    TerminalError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)
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
def reconcile(reconciler):
    """Reconcile, let the poll that this starts end, and reconcile again if it found something new."""
    enqueued = []
    reconciler.poller.enqueue = enqueued.append

    async def passes():
        result = await reconciler.reconcile(KEY)
        for _ in range(5):
            await asyncio.sleep(0)
        if enqueued:
            enqueued.clear()
            result = await reconciler.reconcile(KEY)
        return result

    return passes


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
        observed = {"observedGeneration": workload["metadata"]["generation"]}
        revision = {"readyReplicas": 1, "currentRevision": "a", "updateRevision": "a"}
        seen(kinds.STATEFUL_SET, workload | {"status": observed | revision})
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
        if kind not in {STORE, kinds.PERSISTENT_VOLUME_CLAIM}:
            assert obj["metadata"]["ownerReferences"] == [owner_reference(store_object())]


@pytest.mark.parametrize("error", [ServerError("down", status=500), UnreachableError("lost")])
@pytest.mark.parametrize(
    "cut",
    [
        ("apply", "PersistentVolumeClaim"),
        ("create", "Secret"),
        ("apply", "Service"),
        ("apply", "StatefulSet"),
        ("apply status", "SwarmMemoryStore"),
    ],
)
async def test_a_reconcile_that_was_cut_off_goes_on_where_it_was(reconciler, client, seen, store_object, cut, error):
    """The crash matrix in small: the k-th write fails, for every k, and the end is the same."""
    seen(STORE, store_object())
    client.refusals = {cut: error}
    with pytest.raises(type(error)):
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
    reconcile, seen, store_object, ready, status, condition, observer
):
    seen(STORE, store_object())
    observer.answer = Observation(Numbers())
    await reconcile()
    assert (status()["phase"], status()["storageReady"]) == ("Initializing", False)
    assert condition("Ready")["reason"] == "WaitingForPod"
    assert observer.asked == [], "nobody is there to ask"
    ready()
    await reconcile()
    assert (status()["phase"], status()["storageReady"], status()["entryCount"]) == ("Ready", True, 5)
    assert condition("Ready")["status"] == condition("StorageReady")["status"] == "True"
    assert status()["endpoints"]["http"] == "http://bees.ns.svc:8080"


async def test_the_service_is_asked_with_the_secret_s_token(reconcile, client, seen, store_object, ready, observer):
    seen(STORE, store_object())
    await reconcile()
    ready()
    await reconcile()
    secret = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
    assert observer.asked == [("bees", base64.b64decode(secret["data"]["client-token"]).decode())]


async def test_numbers_stay_while_the_service_does_not_answer(
    reconcile, seen, store_object, ready, status, condition, observer, clock, client
):
    seen(STORE, store_object())
    observer.answer = Observation(Numbers())
    await reconcile()
    assert condition("Reachable")["status"] == "Unknown"
    ready()
    await reconcile()
    assert (condition("Reachable")["status"], condition("Reachable")["reason"]) == ("True", "Answers")
    clock.advance(33)
    observer.answer = Observation(error="timed out")
    await reconcile()
    assert (status()["entryCount"], status()["phase"]) == (5, "Ready")
    reachable = condition("Reachable")
    assert (reachable["status"], reachable["reason"], reachable["message"]) == ("False", "NoAnswer", "timed out")
    before = client.writes()
    clock.advance(33)
    await reconcile()
    assert len(observer.asked) == 3
    assert client.writes() == before, "there is nothing new"


async def test_a_ready_store_is_looked_at_less_often_and_not_in_step_with_others(
    reconcile, seen, store_object, ready, observer, clock
):
    seen(STORE, store_object())
    assert 4.5 <= (await reconcile()).requeue_after <= 5.5
    ready()
    assert 4.5 <= (await reconcile()).requeue_after <= 5.5, "numbers are still missing"
    observer.answer = Observation(Numbers())
    intervals = set()
    for _ in range(20):
        clock.advance(33)
        intervals.add((await reconcile()).requeue_after)
    assert all(26.9 <= interval <= 33.1 for interval in intervals)
    assert len(intervals) > 10
    assert len(observer.asked) == 21, "one question an interval"


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


async def test_a_claim_on_its_way_out_keeps_its_pod_and_the_numbers_as_they_are(
    reconciler, reconcile, client, seen, store_object, cache, condition, ready, observer, status
):
    seen(STORE, store_object())
    observer.answer = Observation(Numbers())
    await reconcile()
    ready()
    await reconcile()
    claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
    terminating = claim["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}
    seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"metadata": terminating})
    seen(STORE, cache.get(STORE, KEY) | {"spec": {"cacheSize": 7}})
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")]
    told = condition("Ready")
    assert (told["status"], told["reason"]) == ("False", "VolumeTerminating")
    assert "back up now" in told["message"]
    assert status()["entryCount"] == 5, "the pod still serves"


class TestAVolumeThatIsGone:
    @pytest.fixture
    async def lost(self, reconciler, seen, store_object, ready, cache, client, forget):
        """A store that was ready, and whose claim is gone."""
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        ready()
        await reconciler.reconcile(KEY)
        forget(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data")
        client.requests.clear()

    async def test_it_is_not_replaced_by_an_empty_one(self, lost, reconciler, client, condition, recorder, status):
        await reconciler.reconcile(KEY)
        assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")]
        for kind in ("Ready", "StorageReady"):
            assert (condition(kind)["status"], condition(kind)["reason"]) == ("False", "VolumeLost")
        assert "VolumeLost" in recorder.reasons
        assert not status()["storageReady"]
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "VolumeLost", "it is not forgotten"

    async def test_the_spec_can_allow_an_empty_one(self, lost, reconciler, client, seen, cache, recorder, condition):
        seen(STORE, cache.get(STORE, KEY) | {"spec": {"onVolumeLoss": "StartEmpty"}})
        await reconciler.reconcile(KEY)
        assert ("apply", "PersistentVolumeClaim", "bees-data") in client.writes()
        assert condition("StorageReady")["reason"] == "WaitingForVolume"
        assert [note for kind, reason, note in recorder.events if (kind, reason) == ("Warning", "VolumeLost")]

    async def test_one_that_only_the_cache_lacks_is_not_lost(self, lost, reconciler, client, condition):
        labels = {
            "app.kubernetes.io/managed-by": "swarm-operator",
            "swarm.claudeflow.io/memory-store": "bees",
            "swarm.claudeflow.io/swarm-id": "bees",
        }
        size = {"resources": {"requests": {"storage": "10Gi"}}}
        metadata = {"name": "bees-data", "namespace": "ns", "uid": "restored", "labels": labels}
        client.put(kinds.PERSISTENT_VOLUME_CLAIM, {"metadata": metadata, "spec": size, "status": {"phase": "Bound"}})
        await reconciler.reconcile(KEY)
        assert condition("StorageReady")["reason"] == "Bound"


class TestAVolumeThatOutlivedItsStore:
    def claim(self, **labels):
        ours = {
            "app.kubernetes.io/managed-by": "swarm-operator",
            "swarm.claudeflow.io/memory-store": "bees",
            "swarm.claudeflow.io/swarm-id": "bees",
        }
        return {
            "metadata": {"name": "bees-data", "namespace": "ns", "uid": "old", "labels": ours | labels},
            "spec": {"resources": {"requests": {"storage": "20Gi"}}},
            "status": {"phase": "Bound"},
        }

    async def test_it_is_used_by_a_new_store_of_its_name(self, reconciler, seen, store_object, condition, cache):
        seen(kinds.PERSISTENT_VOLUME_CLAIM, self.claim())
        seen(STORE, store_object(storageSize="10Gi"))
        await reconciler.reconcile(KEY)
        assert condition("StorageReady")["reason"] == "Bound"
        claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
        assert claim["metadata"]["uid"] == "old"
        assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi", "it never shrinks"
        assert not claim["metadata"].get("ownerReferences")

    async def test_it_is_not_used_by_another_swarm(self, reconciler, seen, store_object, condition):
        seen(kinds.PERSISTENT_VOLUME_CLAIM, self.claim(**{"swarm.claudeflow.io/swarm-id": "wasps"}))
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "NameTaken"

    @pytest.mark.parametrize(("policy", "owned"), [("Retain", False), ("Delete", True)])
    async def test_the_store_says_whether_it_goes_with_it(self, reconciler, seen, store_object, cache, policy, owned):
        seen(STORE, store_object(deletionPolicy=policy))
        await reconciler.reconcile(KEY)
        claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
        assert bool(claim["metadata"].get("ownerReferences")) is owned


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


@pytest.mark.parametrize("error", [ServerError("webhook is down", status=500), NotFoundError("no kind", status=404)])
async def test_an_error_that_lasts_is_told(reconciler, client, seen, store_object, condition, cache, error):
    seen(STORE, store_object())
    queue = Controller("swarmmemorystore-lasting", reconciler, cache).queue
    reconciler.failures = queue.failures
    client.refusals["apply", "Service"] = error

    async def fail():
        with pytest.raises(type(error)):
            await reconciler.reconcile(KEY)
        queue.add_rate_limited(KEY)

    for _ in range(LASTING - 1):
        await fail()
    assert "status" not in cache.get(STORE, KEY)
    await fail()
    told = condition("Ready")
    assert (told["status"], told["reason"]) == ("False", "RequestFailed")
    assert error.message in told["message"]
    client.refusals.clear()
    await reconciler.reconcile(KEY)
    queue.forget(KEY)
    assert condition("Ready")["reason"] == "WaitingForPod"
    client.refusals["apply", "StatefulSet"] = error
    seen(STORE, cache.get(STORE, KEY) | {"spec": {"cacheSize": 7}})
    await fail()
    assert condition("Ready")["reason"] == "WaitingForPod", "it is counted from the start again"


async def test_failures_are_those_of_the_controller_s_queue(reconciler, cache, client):
    controller = Controller("swarmmemorystore-failures", reconciler, type(cache)(client))
    reconciler.set_up(controller)
    controller.queue.add_rate_limited(KEY)
    assert reconciler.failures(KEY) == 1
    controller.queue.shut_down()


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


async def test_a_changed_spec_is_reconciled_and_a_changed_status_is_not(reconciler, cache, client, store_object):
    """Otherwise each status write would cause another pass."""
    fresh = type(cache)(client)
    controller = Controller("watching-stores-themselves", reconciler, fresh)
    reconciler.cache = fresh
    reconciler.set_up(controller)
    (informer,) = [informer for informer in fresh.informers if informer.resource == STORE]
    obj = store_object()

    async def due(version, **changed):
        metadata = obj["metadata"] | {"resourceVersion": version} | changed.pop("metadata", {})
        informer.changed(obj | {"metadata": metadata} | changed)
        if not len(controller.queue):
            return False
        assert await controller.queue.get() == (KEY, 0)
        controller.queue.done(KEY)
        return True

    assert await due("1")
    assert not await due("2", status={"phase": "Ready"})
    assert await due("3", metadata={"generation": 2})
    assert not await due("4", metadata={"generation": 2}, status={"phase": "Error"})


async def test_a_change_of_what_a_store_owns_is_a_reason_to_look(reconciler, cache, client, store_object):
    fresh = type(cache)(client)
    reconciler.cache = fresh
    controller = Controller("watching-stores", reconciler, fresh)
    reconciler.set_up(controller)
    watched = {informer.resource: informer for informer in fresh.informers}
    assert kinds.SECRET not in watched
    owned = {"name": "x", "namespace": "ns", "ownerReferences": [owner_reference(store_object())]}
    for kind in (kinds.STATEFUL_SET, kinds.SERVICE):
        watched[kind].changed({"metadata": owned | {"resourceVersion": "1"}})
        assert await controller.queue.get() == (KEY, 0)
        controller.queue.done(KEY)
    labelled = {"name": "x", "namespace": "ns", "labels": {"swarm.claudeflow.io/memory-store": "bees"}}
    for kind in (kinds.POD, kinds.PERSISTENT_VOLUME_CLAIM):
        watched[kind].changed({"metadata": labelled | {"resourceVersion": "1"}})
        assert await controller.queue.get() == (KEY, 0)
        controller.queue.done(KEY)
    assert {i.reflector.label_selector for kind, i in watched.items() if kind != STORE} == {
        "app.kubernetes.io/managed-by=swarm-operator"
    }


class TestOneChildsFailure:
    """A failure hides no other failure, and blocks no child that does not depend on the failed one."""

    @pytest.fixture
    async def running(self, reconcile, seen, store_object, ready, observer, client):
        """A ready store with its numbers."""
        seen(STORE, store_object())
        observer.answer = Observation(Numbers())
        await reconcile()
        ready()
        await reconcile()
        client.requests.clear()
        observer.asked.clear()

    @pytest.fixture
    def change(self, seen, cache, store_object):
        """A user changes the spec."""

        def make(**spec):
            live = cache.get(STORE, KEY)
            seen(STORE, live | {"metadata": live["metadata"] | {"generation": 2}, "spec": store_object(**spec)["spec"]})

        return make

    async def test_a_volume_that_cannot_grow_blocks_no_other_change(
        self, running, change, reconciler, client, condition, status, ready
    ):
        client.refusals["apply", "PersistentVolumeClaim"] = InvalidError("cannot grow", status=422)
        change(storageSize="20Gi", cacheSize=7)
        result = await reconciler.reconcile(KEY)
        assert 0 < result.requeue_after <= RESIZE_INTERVAL
        assert client.writes() == [
            ("apply", "PersistentVolumeClaim", "bees-data"),
            ("apply", "StatefulSet", "bees"),
            ("apply status", "SwarmMemoryStore", "bees"),
        ]
        assert condition("Ready")["reason"] == "WaitingForPod"
        ready()
        await reconciler.reconcile(KEY)
        assert condition("Ready")["status"] == "True", "the pod has the new setting"
        told = condition("StorageReady")
        assert (told["status"], told["reason"]) == ("False", "ResizeRefused")
        assert "cannot grow" in told["message"]
        assert (status()["phase"], status()["storageReady"], status()["entryCount"]) == ("Ready", True, 5)

    async def test_each_failure_is_reported(self, reconciler, client, seen, store_object, condition, status):
        seen(STORE, store_object(backupInterval="1h"))
        client.refusals["apply", "PersistentVolumeClaim"] = ForbiddenError("exceeded quota", status=403)
        client.refusals["apply", "Service"] = InvalidError("no such port", status=422)
        with pytest.raises(ForbiddenError):
            await reconciler.reconcile(KEY)
        ready = condition("Ready")
        # Both Services are refused.
        assert (ready["reason"], ready["message"]) == ("Forbidden", "exceeded quota; no such port; no such port")
        assert condition("Degraded")["reason"] == "NotImplemented"
        assert "storageReady" not in status()
        assert "endpoints" not in status()

    async def test_a_name_that_is_taken_is_reported_besides_an_error_that_is_only_retried(
        self, reconciler, client, seen, store_object, condition
    ):
        seen(STORE, store_object())
        client.refusals["apply", "PersistentVolumeClaim"] = ServerError("webhook failed", status=500)
        client.put(kinds.SERVICE, {"metadata": {"name": "bees", "namespace": "ns", "uid": "theirs"}})
        with pytest.raises(ServerError):
            await reconciler.reconcile(KEY)
        assert (condition("Ready")["reason"], client.writes()[-1][0]) == ("NameTaken", "apply status")

    @pytest.mark.parametrize("taken", [(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data"), (kinds.SECRET, "bees-auth")])
    async def test_the_pod_waits_for_a_volume_and_tokens_of_our_own_and_the_services_do_not(
        self, reconciler, client, seen, store_object, taken
    ):
        resource, name = taken
        seen(STORE, store_object())
        client.put(resource, {"metadata": {"name": name, "namespace": "ns", "uid": "theirs"}})
        assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
        made = {(kind, name) for _, kind, name in client.writes()}
        assert {("Service", "bees"), ("Service", "bees-headless")} <= made
        assert ("StatefulSet", "bees") not in made

    async def test_a_service_that_is_not_ours_blocks_no_child_and_gets_no_token(
        self, running, reconciler, client, seen, condition, observer, cache
    ):
        seen(kinds.SERVICE, {"metadata": {"name": "bees", "namespace": "ns", "uid": "theirs"}})
        cache.add(kinds.SERVICE)[0].store._objects.pop(Key("ns", "bees-headless"))
        del client.objects[kinds.SERVICE, Key("ns", "bees-headless")]
        assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
        assert client.writes()[0] == ("apply", "Service", "bees-headless")
        assert condition("Ready")["reason"] == "NameTaken"
        assert observer.asked == []

    async def test_the_pod_does_not_wait_for_a_service(self, reconciler, client, seen, store_object):
        seen(STORE, store_object())
        client.refusals["apply", "Service"] = InvalidError("no such port", status=422)
        with pytest.raises(InvalidError):
            await reconciler.reconcile(KEY)
        assert ("apply", "StatefulSet", "bees") in client.writes()

    async def test_a_child_whose_update_fails_for_now_blocks_no_other_change(
        self, running, change, reconciler, client, status
    ):
        client.refusals["apply", "PersistentVolumeClaim"] = ServerError("webhook failed", status=500)
        change(storageSize="20Gi", cacheSize=7)
        with pytest.raises(ServerError):
            await reconciler.reconcile(KEY)
        assert client.writes() == [("apply", "PersistentVolumeClaim", "bees-data"), ("apply", "StatefulSet", "bees")]
        assert status()["observedGeneration"] == 1, "the new spec is not carried out yet"

    @pytest.mark.parametrize(
        "error",
        [
            UnreachableError("no answer"),
            UnauthorizedError("expired", status=401),
            TooManyRequestsError("busy", status=429),
            FencedError("not the leader"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_failure_of_the_server_ends_the_pass_at_once(self, reconciler, client, seen, store_object, error):
        seen(STORE, store_object())
        client.refusals["apply", "PersistentVolumeClaim"] = error
        with pytest.raises(type(error)):
            await reconciler.reconcile(KEY)
        assert client.writes() == [("apply", "PersistentVolumeClaim", "bees-data")]

    @pytest.mark.parametrize("exists", [True, False])
    async def test_a_namespace_that_is_being_deleted_ends_the_pass_at_once(
        self, reconciler, client, seen, store_object, exists, change
    ):
        seen(STORE, store_object())
        if exists:
            await reconciler.reconcile(KEY)
            change(storageSize="20Gi", cacheSize=7)
            client.requests.clear()
        cause = Cause("", "", "NamespaceTerminating")
        client.refusals["apply", "PersistentVolumeClaim"] = ForbiddenError("terminating", status=403, causes=(cause,))
        assert await reconciler.reconcile(KEY) == Result()
        assert client.writes() == [("apply", "PersistentVolumeClaim", "bees-data")]
