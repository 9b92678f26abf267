"""From the pod and the memory service to Ready, Reachable and the numbers."""

import base64

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import ForbiddenError, ServerError, UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


async def test_a_store_becomes_ready_with_its_numbers(
    reconcile, seen, store_object, ready, status, condition, observer, numbers
):
    seen(STORE, store_object())
    observer.answer = numbers
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
    ((name, target),) = observer.asked
    tokens = [base64.b64decode(secret["data"][file]).decode() for file in ("client-token", "admin-token")]
    assert (name, [target.token, target.admin_token]) == ("bees", tokens)


async def test_numbers_stay_while_the_service_does_not_answer(
    reconcile, seen, store_object, ready, status, condition, observer, clock, client, numbers
):
    seen(STORE, store_object())
    observer.answer = numbers
    await reconcile()
    assert condition("Reachable")["status"] == "Unknown"
    ready()
    await reconcile()
    assert (condition("Reachable")["status"], condition("Reachable")["reason"]) == ("True", "Answers")
    before = client.writes()
    observer.answer = Observation(error="timed out")
    clock.advance(33)
    await reconcile()
    assert client.writes() == before, "one lost answer changes nothing"
    clock.advance(6)
    await reconcile()
    assert (status()["entryCount"], status()["phase"]) == (5, "Ready")
    reachable = condition("Reachable")
    assert (reachable["status"], reachable["reason"], reachable["message"]) == ("False", "NoAnswer", "timed out")
    before = client.writes()
    clock.advance(33)
    await reconcile()
    assert len(observer.asked) == 4
    assert client.writes() == before, "there is nothing new"


async def test_a_store_that_cannot_write_stays_ready_and_says_so(
    reconcile, seen, store_object, ready, condition, observer, clock, numbers, recorder
):
    seen(STORE, store_object())
    observer.answer = numbers
    await reconcile()
    assert condition("Writable")["reason"] == "PodNotReady"
    ready()
    await reconcile()
    assert (condition("Writable")["status"], condition("Writable")["reason"]) == ("True", "WritesSucceed")
    assert not [note for _, _, note in recorder.events if "Writable" in note]
    for fault, reason in (("disk-full", "DiskFull"), ("read-only", "WritesFail")):
        numbers.stats.fault = fault
        clock.advance(33)
        await reconcile()
        assert (condition("Writable")["status"], condition("Writable")["reason"]) == ("False", reason)
        assert condition("Ready")["status"] == "True"
        assert ("Warning", reason) in [(kind, name) for kind, name, _ in recorder.events]


async def test_a_ready_store_is_looked_at_less_often_and_not_in_step_with_others(
    reconcile, seen, store_object, ready, observer, clock, numbers
):
    seen(STORE, store_object())
    assert 4.5 <= (await reconcile()).requeue_after <= 5.5
    ready()
    assert 4.5 <= (await reconcile()).requeue_after <= 5.5, "numbers are still missing"
    observer.answer = numbers
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


class TestAPodThatCannotBeCreated:
    """The StatefulSet controller says why in events only."""

    CONTROLLER = "statefulset-controller"
    NOTE = 'create Pod bees-0 in StatefulSet bees failed error: pods "bees-0" is forbidden: exceeded quota: q'

    @pytest.fixture
    async def without_pod(self, reconciler, seen, store_object, clock):
        """A store whose StatefulSet has had no pod for five seconds."""
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        clock.advance(5)

    async def test_the_refusal_is_told(self, without_pod, reconciler, tell, condition, status, recorder):
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "FailedCreate", self.NOTE)
        result = await reconciler.reconcile(KEY)
        assert (condition("Ready")["reason"], condition("Ready")["message"]) == ("FailedCreate", self.NOTE)
        assert status()["phase"] == "Error"
        assert ("Warning", "FailedCreate", f"Ready is False: {self.NOTE}") in recorder.events
        assert 0 < result.requeue_after <= 5.5, "no watch says that it is over"

    async def test_events_are_not_read_before_five_seconds(
        self, reconciler, seen, store_object, clock, client, condition, tell
    ):
        seen(STORE, store_object())
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "FailedCreate", self.NOTE)
        await reconciler.reconcile(KEY)
        clock.advance(4)
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "WaitingForPod"
        assert "list" not in [verb for verb, *_ in client.requests]
        clock.advance(1)
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "FailedCreate"

    async def test_a_pod_that_exists_tells_its_own_trouble(
        self, without_pod, reconciler, seen, tell, condition, client
    ):
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "FailedCreate", self.NOTE)
        seen(kinds.POD, {"metadata": {"name": "bees-0", "namespace": "ns"}, "status": {}})
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "WaitingForPod"
        assert ("list", "Event", "regarding.kind=StatefulSet") not in client.requests

    async def test_a_refusal_that_is_over_is_not_told(self, without_pod, reconciler, tell, condition, clock):
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "FailedCreate", self.NOTE, name="refusal")
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "SuccessfulCreate", "create Pod bees-0 successful")
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "WaitingForPod"
        tell(kinds.STATEFUL_SET, "bees", self.CONTROLLER, "FailedCreate", self.NOTE, name="refusal")
        clock.advance(10)
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "FailedCreate", "an event that repeats is updated"

    async def test_events_of_others_do_not_count(self, without_pod, reconciler, tell, condition):
        tell(kinds.STATEFUL_SET, "wasps", self.CONTROLLER, "FailedCreate", self.NOTE)
        tell(kinds.POD, "bees", self.CONTROLLER, "FailedCreate", self.NOTE)
        tell(kinds.STATEFUL_SET, "bees", "somebody", "FailedCreate", self.NOTE)
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "WaitingForPod"

    async def test_an_event_of_an_older_controller_counts(self, without_pod, reconciler, tell, condition):
        source = {"deprecatedSource": {"component": self.CONTROLLER}}
        tell(kinds.STATEFUL_SET, "bees", None, "FailedCreate", self.NOTE, **source)
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "FailedCreate"

    async def test_stores_of_a_namespace_share_one_list(self, reconciler, seen, store_object, clock, client, tell):
        names = [f"bees-{number}" for number in range(20)]
        for name in names:
            seen(STORE, store_object(name))
            await reconciler.reconcile(Key("ns", name))
        for seconds in (5, 9):
            clock.advance(seconds)
            for name in names:
                await reconciler.reconcile(Key("ns", name))
            assert client.requests.count(("list", "Event", "regarding.kind=StatefulSet")) == 1
        clock.advance(1)
        await reconciler.reconcile(Key("ns", names[0]))
        assert client.requests.count(("list", "Event", "regarding.kind=StatefulSet")) == 2

    @pytest.mark.parametrize("error", [ForbiddenError("no right", status=403), ServerError("down", status=500)])
    async def test_events_that_cannot_be_read_hold_nothing_up(
        self, without_pod, reconciler, client, condition, error, cache, seen
    ):
        client.refusals["list", "Event"] = error
        seen(STORE, cache.get(STORE, KEY) | {"spec": {"cacheSize": 7}})
        await reconciler.reconcile(KEY)
        assert condition("Ready")["reason"] == "WaitingForPod"
        assert ("apply", "StatefulSet", "bees") in client.writes()

    async def test_a_server_that_is_away_ends_the_pass(self, without_pod, reconciler, client):
        client.refusals["list", "Event"] = UnreachableError("no answer")
        with pytest.raises(UnreachableError):
            await reconciler.reconcile(KEY)


async def test_what_keeps_pod_and_volume_is_told(reconcile, seen, store_object, ready, condition, cache, clock):
    seen(STORE, store_object())
    await reconcile()
    ready()
    claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
    for states, reason in (
        ({}, "Resizing"),
        ({"allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}}, "ResizeInfeasible"),
    ):
        status = {"phase": "Bound", "capacity": {"storage": "1Gi"}, **states}
        seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"status": status})
        await reconcile()
        assert (condition("StorageReady")["status"], condition("StorageReady")["reason"]) == ("False", reason)
    workload = cache.get(kinds.STATEFUL_SET, KEY)
    seen(kinds.STATEFUL_SET, workload | {"status": {**workload["status"], "readyReplicas": 0}})
    end = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": rfc3339(clock.now())}
    container = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": end}}
    metadata = {"name": "bees-0", "namespace": "ns", "uid": "pod", "ownerReferences": [owner_reference(workload)]}
    status = {"phase": "Running", "containerStatuses": [{"name": "memory", "restartCount": 9, **container}]}
    seen(kinds.POD, {"metadata": metadata, "status": status})
    await reconcile()
    assert (condition("Ready")["status"], condition("Ready")["reason"]) == ("False", "CrashLooping")
