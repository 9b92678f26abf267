"""Upgrades against a real API server: one store after the other, and an image that never gets ready is taken back.

The test is the StatefulSet controller.
"""

from __future__ import annotations

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.labels import FIELD_MANAGER, MANAGED_BY, STORE
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Key, owner_reference

SET, STORES = kinds.STATEFUL_SET, kinds.SWARM_MEMORY_STORE
COUNT = 20
WAITING = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


def image(workload):
    return workload["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.fixture
def version(objects):
    async def change(name, version):
        await objects.client.merge(
            STORES, objects.namespace, name, {"spec": {"version": version}}, field_manager="user"
        )  # fmt: skip

    return change


@pytest.fixture
def rolled(objects):
    """Is the StatefulSet controller: a revision of the template, its name in the status, and its pod."""

    async def roll(name, revision, *, ready, before=None, makes_pod=True):
        workload = await objects.get(SET, name)
        observed = {"observedGeneration": workload["metadata"]["generation"], "replicas": 1}
        revisions = {"currentRevision": before or revision, "updateRevision": revision}
        labels = workload["spec"]["selector"]["matchLabels"]
        if makes_pod:
            body = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": f"{name}-{revision}",
                    "namespace": objects.namespace,
                    "labels": labels,
                    "ownerReferences": [owner_reference({"apiVersion": "apps/v1", "kind": "StatefulSet", **workload})],
                },
                "data": {"spec": {"template": {**workload["spec"]["template"], "$patch": "replace"}}},
                "revision": int(revision[1:]),
            }
            await objects.client.create(kinds.CONTROLLER_REVISION, body, field_manager="controller")
            found = {MANAGED_BY: FIELD_MANAGER, STORE: name, "controller-revision-hash": revision}
            container = {"name": "memory", "image": "i"}
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"{name}-0", "namespace": objects.namespace, "labels": {**labels, **found}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            }
            await objects.client.create(kinds.POD, pod, field_manager="controller")
        status = {**observed, **revisions, "readyReplicas": int(ready)}
        await objects.status(SET, name, status)

    return roll


async def test_an_image_that_never_gets_ready_is_taken_back(objects, start_operator, eventually, version, rolled):
    start_operator()
    await objects.store("s", version="v1", upgradeDeadline="3s", cacheSize=7)
    await eventually(lambda: objects.get(SET, "s"))
    await objects.status(kinds.PERSISTENT_VOLUME_CLAIM, "s-data", {"phase": "Bound"})
    await rolled("s", "r1", ready=True, makes_pod=True)

    async def served():
        return (await objects.get(STORES, "s"))["status"]["image"].endswith(":v1")

    await eventually(served)
    former = (await objects.get(SET, "s"))["spec"]["template"]
    await version("s", "v2")

    async def has(tag):
        return image(await objects.get(SET, "s")).endswith(f":{tag}")

    await eventually(lambda: has("v2"))
    await objects.delete(kinds.POD, "s-0")
    await rolled("s", "r2", ready=False, before="r1")
    containers = [{"name": "memory", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": WAITING}]
    await objects.status(kinds.POD, "s-0", {"containerStatuses": containers})
    await eventually(lambda: has("v1"))
    assert (await objects.get(SET, "s"))["spec"]["template"] == former

    # The controller of some releases leaves the pod that is not ready; the operator deletes it.
    await rolled("s", "r1", ready=False, makes_pod=False)

    async def gone():
        try:
            await objects.get(kinds.POD, "s-0")
        except NotFoundError:
            return True
        return False

    await eventually(gone)
    await rolled("s", "r1", ready=True, makes_pod=False)

    async def told():
        store = await objects.get(STORES, "s")
        found = {each["type"]: each for each in store["status"]["conditions"]}
        return found["Ready"]["status"] == "True" and found["Upgraded"]["reason"] == "RolledBack" and store

    store = await eventually(told)
    assert store["status"]["rolledBack"]["reason"] == "ImagePullBackOff"
    assert store["status"]["image"].endswith(":v1")
    await version("s", "v3")
    await eventually(lambda: has("v3"))

    for strategy, update in (("OnDelete", "OnDelete"), ("Rolling", "RollingUpdate")):
        patch = {"spec": {"updateStrategy": strategy}}
        await objects.client.merge(STORES, objects.namespace, "s", patch, field_manager="user")

        async def is_of(update=update):
            return (await objects.get(SET, "s"))["spec"]["updateStrategy"]["type"] == update

        await eventually(is_of)


async def test_stores_change_one_after_the_other(objects, start_operator, eventually):
    start_operator()
    names = [f"s{number}" for number in range(COUNT)]
    for name in names:
        await objects.store(name, version="v1")
    for name in names:
        await eventually(lambda name=name: objects.get(SET, name))
        await objects.pretend_ready(name)

    async def all_serve():
        stores, _ = await objects.client.list(STORES, namespace=objects.namespace)
        return all(store.get("status", {}).get("image", "").endswith(":v1") for store in stores)

    await eventually(all_serve)
    for name in names:
        patch = {"spec": {"version": "v2"}}
        await objects.client.merge(STORES, objects.namespace, name, patch, field_manager="user")
    changed: list[Key] = []

    async def next_one():
        """Return the StatefulSets that have a new template, and a pod of the former one."""
        workloads, _ = await objects.client.list(SET, namespace=objects.namespace)
        return [
            workload["metadata"]["name"]
            for workload in workloads
            if workload["status"].get("observedGeneration") != workload["metadata"]["generation"]
        ]

    while len(changed) < COUNT:
        under_way = await eventually(next_one)
        assert len(under_way) == 1, (under_way, changed)
        changed += under_way
        await objects.pretend_ready(under_way[0])
    assert sorted(changed) == sorted(names)
