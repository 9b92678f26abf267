"""From the pod and the memory service to Ready, Reachable and the numbers."""

import base64

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.runtime.resource import Key

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
    assert observer.asked == [("bees", base64.b64decode(secret["data"]["client-token"]).decode())]


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
