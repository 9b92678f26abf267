"""A hibernated store has no pod, and keeps everything else."""

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")


@pytest.fixture
def replicas(client):
    return lambda: client.objects[kinds.STATEFUL_SET, KEY]["spec"]["replicas"]


async def test_the_pod_ends_and_one_patch_brings_it_back(
    reconcile, seen, store_object, ready, status, condition, numbers, observer, recorder, replicas, client, forget
):
    observer.answer = numbers
    seen(kinds.SWARM_MEMORY_STORE, store_object())
    await reconcile()
    ready()
    await reconcile()
    children = {key for key, obj in client.objects.items() if key[0] is not kinds.SWARM_MEMORY_STORE}
    pod = {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "uid-pod", "resourceVersion": "9"}, "status": {}}
    seen(kinds.POD, pod)
    recorder.events.clear()

    seen(kinds.SWARM_MEMORY_STORE, store_object(hibernated=True) | {"status": status()})
    await reconcile()
    assert replicas() == 0
    assert (condition("Ready")["reason"], status()["phase"]) == ("Hibernating", "Initializing")
    forget(kinds.POD, "bees-0")
    await reconcile()
    assert (condition("Ready")["status"], condition("Ready")["reason"]) == ("False", "Hibernated")
    assert (status()["phase"], status()["entryCount"]) == ("Hibernated", 5)
    assert condition("Reachable")["reason"] == "PodNotReady"
    assert {kind for kind, _, _ in recorder.events} == {"Normal"}
    assert {key for key in client.objects if key[0] is not kinds.SWARM_MEMORY_STORE} == children
    before = client.writes()
    assert (await reconcile()).requeue_after >= 27, "no pod is about to answer"
    assert client.writes() == before

    seen(kinds.SWARM_MEMORY_STORE, store_object() | {"status": status()})
    await reconcile()
    assert replicas() == 1
    assert (condition("Ready")["reason"], status()["phase"]) == ("WaitingForPod", "Initializing")
