"""Scenarios of a store's upkeep: an upgrade that is rolled back, hibernation, and new tokens.

The world is the StatefulSet controller and the kubelet.
"""

from __future__ import annotations

from typing import Any

from fault.world import Step, World, become_ready

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.runtime.resource import Object, owner_reference

STORE, NAME = kinds.SWARM_MEMORY_STORE, "c-memory"
BROKEN = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
LONG_AGO = "2026-01-01T00:00:00Z"


async def create(world: World) -> None:
    """A user makes a store with a version of its own."""
    metadata = {"name": NAME, "namespace": world.namespace}
    spec = {"storageSize": "1Gi", "version": "v1", "upgradeDeadline": "1s", "deletionPolicy": "Delete"}
    body = {"apiVersion": STORE.api_version, "kind": STORE.kind, "metadata": metadata, "spec": spec}
    await world.admin.apply(STORE, body, field_manager="user")


async def upgrade(world: World) -> None:
    """A user wants another version."""
    await _patch(world, {"spec": {"version": "v2"}})


async def fail(world: World) -> None:
    """The pod is replaced by one of the new image, which is not there."""
    workload = await world.get(kinds.STATEFUL_SET, NAME)
    former = {**workload, "spec": {**workload["spec"], "template": _with_image(workload["spec"]["template"], "v1")}}
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{NAME}-r",
            "namespace": world.namespace,
            "labels": workload["spec"]["selector"]["matchLabels"],
            "ownerReferences": [owner_reference({"apiVersion": "apps/v1", "kind": "StatefulSet", **workload})],
        },
        "data": {"spec": {"template": {**former["spec"]["template"], "$patch": "replace"}}},
        "revision": 1,
    }
    await world.admin.create(kinds.CONTROLLER_REVISION, revision, field_manager="kubelet")
    marks = {**workload["spec"]["template"]["metadata"]["labels"], "controller-revision-hash": "r2"}
    container = {"name": "memory", "image": "x"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{NAME}-0", "namespace": world.namespace, "labels": marks},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    await world.admin.create(kinds.POD, pod, field_manager="kubelet")
    status = {**container, "imageID": "", "ready": False, "restartCount": 0, "state": BROKEN}
    await world.status(kinds.POD, f"{NAME}-0", {"containerStatuses": [status]})
    await _observe(world, current="r", update="r2", ready=False)


async def observe_former(world: World) -> None:
    """The StatefulSet controller sees the former template again, and leaves the pod that is not ready."""
    await _observe(world, current="r", update="r", ready=False)


async def hibernate(world: World) -> None:
    """A user wants no pod."""
    await _patch(world, {"spec": {"hibernated": True}})


async def wake(world: World) -> None:
    """A user wants the pod again."""
    await _patch(world, {"spec": {"hibernated": False}})


async def rotate(world: World) -> None:
    """A user wants other tokens."""
    world.kept["token"] = await _token(world)
    await _patch(world, {"metadata": {"annotations": {labels.ROTATE_TOKENS: "first"}}})


async def rotate_again(world: World) -> None:
    """The overlap is over, and a user wants other tokens once more."""
    world.kept["token"] = await _token(world)
    past = {"metadata": {"annotations": {labels.TOKENS_ROTATED: LONG_AGO}}}
    await world.admin.merge(kinds.SECRET, world.namespace, f"{NAME}-auth", past, field_manager="user")
    await _patch(world, {"metadata": {"annotations": {labels.ROTATE_TOKENS: "second"}}})


async def has_v1(world: World) -> bool:
    return await _image(world) == "v1"


async def has_v2(world: World) -> bool:
    return await _image(world) == "v2"


async def is_available(world: World) -> bool:
    store = await world.get(STORE, NAME)
    assert store["status"]["image"].endswith(":v1")
    return store["status"]["phase"] == "Ready"


async def is_rolled_back(world: World) -> bool:
    """Whether the former template is back, the failure is in the status, and the pod that failed is deleted."""
    failed = (await world.get(STORE, NAME))["status"]["rolledBack"]
    assert (failed["reason"], failed["image"].rpartition(":")[2]) == ("ImagePullBackOff", "v2")
    pods, _ = await world.admin.list(kinds.POD, namespace=world.namespace)
    return not pods and await has_v1(world)


async def is_hibernated(world: World) -> bool:
    assert (await world.get(STORE, NAME))["status"]["phase"] == "Hibernated"
    return (await world.get(kinds.STATEFUL_SET, NAME))["spec"]["replicas"] == 0


async def is_waking(world: World) -> bool:
    return (await world.get(kinds.STATEFUL_SET, NAME))["spec"]["replicas"] == 1


async def is_rotated(world: World) -> bool:
    """Whether there are new tokens, once: those before the new ones are those before the user wanted others."""
    secret = await world.get(kinds.SECRET, f"{NAME}-auth")
    asked = (await world.get(STORE, NAME))["metadata"]["annotations"][labels.ROTATE_TOKENS]
    assert secret["metadata"]["annotations"][labels.ROTATE_TOKENS] == asked
    assert secret["metadata"]["annotations"][labels.TOKENS_ROTATED] != LONG_AGO
    assert secret["data"]["former-client-token"] == world.kept["token"] != secret["data"]["client-token"]
    store = await world.get(STORE, NAME)
    (auth,) = [found for found in store["status"]["conditions"] if found["type"] == "AuthReady"]
    return auth["reason"] == "TokensRotating"


def _settled(done: Any) -> Any:
    async def check(world: World) -> bool:
        return await done(world) and bool(await world.settled_store())

    return check


async def _patch(world: World, patch: Object) -> None:
    await world.admin.merge(STORE, world.namespace, NAME, patch, field_manager="user")


async def _observe(world: World, *, current: str, update: str, ready: bool) -> None:
    generation = (await world.get(kinds.STATEFUL_SET, NAME))["metadata"]["generation"]
    status = {"replicas": 1, "readyReplicas": int(ready), "currentRevision": current, "updateRevision": update}
    await world.status(kinds.STATEFUL_SET, NAME, {"observedGeneration": generation, **status})


async def _token(world: World) -> str:
    token: str = (await world.get(kinds.SECRET, f"{NAME}-auth"))["data"]["client-token"]
    return token


async def _image(world: World) -> str:
    template = (await world.get(kinds.STATEFUL_SET, NAME))["spec"]["template"]
    image: str = template["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def _with_image(template: Object, version: str) -> Object:
    (container,) = template["spec"]["containers"]
    image = f"{container['image'].rpartition(':')[0]}:{version}"
    return {**template, "spec": {**template["spec"], "containers": [{**container, "image": image}]}}


SERVING: tuple[Step, ...] = ((create, _settled(has_v1)), (become_ready, _settled(is_available)))
UPGRADE: tuple[Step, ...] = (
    (upgrade, has_v2),
    (fail, has_v1),
    (observe_former, is_rolled_back),
    (become_ready, _settled(is_available)),
)
SLEEP_AND_TOKENS: tuple[Step, ...] = (
    (hibernate, is_hibernated),
    (wake, is_waking),
    (become_ready, _settled(is_available)),
    (rotate, _settled(is_rotated)),
    (rotate_again, _settled(is_rotated)),
)
