"""An image with which the pod does not get ready is replaced by the former one, once, and is not tried again."""

import copy
from datetime import timedelta

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
POD, SET, STORE = kinds.POD, kinds.STATEFUL_SET, kinds.SWARM_MEMORY_STORE
OLD, NEW = "registry/swarm-memory:v1", "registry/swarm-memory:v2"
BAD = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "restartCount": 0}


class Kubernetes:
    """The StatefulSet controller: revisions, and a pod of the newest one."""

    def __init__(self, client, seen, forget, clock):
        self.client, self.seen, self.forget, self.clock = client, seen, forget, clock
        self.current, self.templates = None, []

    @property
    def workload(self):
        return copy.deepcopy(self.client.objects[SET, KEY])

    @property
    def template(self):
        return self.workload["spec"]["template"]

    @property
    def image(self):
        return self.template["spec"]["containers"][0]["image"]

    @property
    def pod(self):
        return copy.deepcopy(self.client.objects.get((POD, Key("ns", "bees-0"))))

    def roll(self, *, ready, container=None, replaces=True):
        """Make the pod of the newest template, or leave the one that there is."""
        if self.template not in self.templates:
            self.templates.append(self.template)
            self._revision(len(self.templates))
        newest = f"r{self.templates.index(self.template) + 1}"
        if replaces or self.pod is None:
            labels = {"controller-revision-hash": newest}
            metadata = {
                "name": "bees-0",
                "namespace": "ns",
                "uid": f"uid-{newest}-{self.clock.now()}",
                "labels": labels,
            }
            condition = {"type": "Ready", "status": str(ready)}
            status = {"conditions": [condition], "containerStatuses": [container] if container else []}
            self.seen(POD, {"metadata": {**metadata, "creationTimestamp": rfc3339(self.clock.now())}, "status": status})
        if ready and replaces:
            self.current = newest
        observed = {"observedGeneration": self.workload["metadata"]["generation"], "readyReplicas": int(ready)}
        revisions = {"currentRevision": self.current or newest, "updateRevision": newest}
        self.seen(SET, self.workload | {"status": observed | revisions})

    def _revision(self, number):
        workload = self.workload
        owner = owner_reference({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": workload["metadata"]})
        metadata = {"name": f"bees-r{number}", "namespace": "ns", "ownerReferences": [owner]}
        metadata["labels"] = workload["spec"]["selector"]["matchLabels"]
        template = {**self.template, "$patch": "replace"}
        template["metadata"] = {**template["metadata"], "creationTimestamp": None}
        data = {"spec": {"template": template}}
        self.client.put(kinds.CONTROLLER_REVISION, {"metadata": metadata, "data": data, "revision": number})


@pytest.fixture
def kubernetes(client, seen, forget, clock):
    return Kubernetes(client, seen, forget, clock)


@pytest.fixture
async def serving(become, ready, reconcile, kubernetes):
    await become(version="v1", mcpMode=False)
    ready()
    kubernetes.roll(ready=True)
    await reconcile()


@pytest.fixture
async def failing(serving, become, kubernetes, reconcile):
    """The pod of a new image does not run."""
    await become(version="v2")
    kubernetes.roll(ready=False, container=BAD)
    await reconcile()


@pytest.fixture
def pass_deadline(clock, reconcile):
    async def wait(seconds=601):
        clock.moment += timedelta(seconds=seconds)
        await reconcile()
        await reconcile()

    return wait


async def test_the_status_names_the_image_with_which_the_pod_was_ready(serving, status, failing, kubernetes):
    assert (kubernetes.image, status()["image"]) == (NEW, OLD)


async def test_a_new_image_has_until_its_deadline(failing, clock, reconcile, condition, kubernetes, status):
    assert (condition("Upgraded")["status"], condition("Upgraded")["reason"]) == ("False", "Upgrading")
    result = await reconcile()
    assert 0 < result.requeue_after <= 600
    clock.moment += timedelta(seconds=599)
    assert 0 < (await reconcile()).requeue_after <= 1
    assert kubernetes.image == NEW
    kubernetes.roll(ready=True)
    await reconcile()
    assert status()["image"] == NEW
    assert "Upgraded" not in {found["type"] for found in status()["conditions"]}


async def test_the_former_template_is_put_back_as_it_was_and_the_image_is_not_tried_again(
    failing, pass_deadline, kubernetes, condition, status, client, reconcile, recorder
):
    await pass_deadline()
    assert kubernetes.template == kubernetes.templates[0]
    found = condition("Upgraded")
    assert (found["status"], found["reason"]) == ("False", "RolledBack")
    for word in (OLD, NEW, "ImagePullBackOff", "no such image", "10m"):
        assert word in found["message"]
    assert (status()["rolledBack"]["image"], status()["rolledBack"]["reason"]) == (NEW, "ImagePullBackOff")
    assert ("Warning", "RolledBack") in [(kind, reason) for kind, reason, _ in recorder.events]
    kubernetes.roll(ready=True)
    await reconcile()
    assert condition("Ready")["status"] == "True"
    before = client.writes()
    await pass_deadline(3600)
    assert client.writes() == before
    assert kubernetes.image == OLD


async def test_the_pod_of_the_failed_image_is_deleted_if_its_controller_leaves_it(
    failing, pass_deadline, kubernetes, client, reconcile
):
    await pass_deadline()
    failed = kubernetes.pod["metadata"]["uid"]
    kubernetes.roll(ready=False, replaces=False)
    await reconcile()
    assert ("delete", "Pod", "bees-0") in client.requests
    assert kubernetes.pod is None or kubernetes.pod["metadata"]["uid"] != failed


@pytest.mark.parametrize("last", range(3))
async def test_an_operator_that_starts_again_after_any_write_goes_on(
    last, failing, clock, live, kubernetes, status, condition, caching, recorder, observer
):
    def operator():
        return SwarmMemoryStoreReconciler(caching, recorder, observer, "registry/swarm-memory:v1", clock=clock)

    clock.moment += timedelta(seconds=601)
    assert await live(last, STORE, KEY, operator) == (last > 0)
    assert kubernetes.template == kubernetes.templates[0]
    assert (status()["rolledBack"]["image"], condition("Upgraded")["reason"]) == (NEW, "RolledBack")


async def test_a_change_of_the_spec_tries_again(failing, pass_deadline, kubernetes, become, reconcile, status):
    await pass_deadline()
    kubernetes.roll(ready=True)
    await become(version="v2", enableWAL=False)
    assert kubernetes.image == NEW
    assert "rolledBack" not in status()


async def test_another_image_of_the_operator_s_is_tried(
    caching, recorder, observer, clock, serving, become, ready, kubernetes, reconcile, reconciler
):
    def operator(tag):
        return SwarmMemoryStoreReconciler(caching, recorder, observer, f"registry/swarm-memory:{tag}", clock=clock)

    await become()
    await operator("v2").reconcile(KEY)
    kubernetes.roll(ready=False)
    clock.moment += timedelta(seconds=601)
    for _ in range(2):
        await operator("v2").reconcile(KEY)
    assert kubernetes.image == OLD
    kubernetes.roll(ready=True)
    await operator("v2").reconcile(KEY)
    assert kubernetes.image == OLD, "an operator that starts again knows it"
    await operator("v3").reconcile(KEY)
    assert kubernetes.image == "registry/swarm-memory:v3"


async def test_without_its_revision_the_former_image_alone_is_put_back(failing, pass_deadline, kubernetes, client):
    for key in [key for key in client.objects if key[0] is kinds.CONTROLLER_REVISION]:
        del client.objects[key]
    await pass_deadline()
    assert kubernetes.image == OLD
    assert {"name": "ENABLE_WAL", "value": "true"} in kubernetes.template["spec"]["containers"][0]["env"]


@pytest.mark.parametrize("spec", [{"version": "v1", "enableWAL": False}, {"version": "v1", "podTemplate": {}}])
async def test_another_change_is_not_put_back(serving, become, kubernetes, pass_deadline, spec):
    await become(**spec)
    kubernetes.roll(ready=False, container=BAD)
    template = kubernetes.template
    await pass_deadline()
    assert kubernetes.template == template


async def test_an_image_with_which_no_pod_was_ever_ready_is_not_put_back(become, kubernetes, pass_deadline, reconcile):
    await become(version="v1")
    kubernetes.roll(ready=False, container=BAD)
    await reconcile()
    await become(version="v2")
    kubernetes.roll(ready=False, container=BAD)
    await pass_deadline()
    assert kubernetes.image == NEW


async def test_a_pod_that_was_ready_with_the_new_image_keeps_it(failing, kubernetes, reconcile, pass_deadline):
    kubernetes.roll(ready=True)
    await reconcile()
    kubernetes.roll(ready=False, container=BAD)
    await pass_deadline()
    assert kubernetes.image == NEW


async def test_the_deadline_is_a_field(serving, become, kubernetes, clock, reconcile):
    await become(version="v2", upgradeDeadline="30s")
    kubernetes.roll(ready=False)
    clock.moment += timedelta(seconds=31)
    await reconcile()
    await reconcile()
    assert kubernetes.image == OLD


async def test_a_store_whose_image_is_not_known_yet_notes_it_before_it_is_replaced(
    serving, reconciler, kubernetes, reconcile, status, cache, seen, store_object
):
    obj = store_object(version="v2")
    obj["metadata"]["generation"] = 2
    # As an operator before this release has left it.
    seen(STORE, obj | {"status": {name: value for name, value in status().items() if name != "image"}})
    result = await reconciler.reconcile(KEY)
    assert (kubernetes.image, status()["image"]) == (OLD, OLD)
    assert 0 < result.requeue_after < 1
    await reconcile()
    assert kubernetes.image == NEW


class TestOnDelete:
    @pytest.fixture
    async def changed(self, become, ready, reconcile, kubernetes):
        """A new template, and the pod of the former one."""
        await become(version="v1", updateStrategy="OnDelete")
        ready()
        kubernetes.roll(ready=True)
        await reconcile()
        await become(version="v2", updateStrategy="OnDelete")
        kubernetes.roll(ready=True, replaces=False)
        await reconcile()

    async def test_the_pod_serves_on_until_somebody_deletes_it(
        self, changed, kubernetes, condition, status, client, clock, reconcile
    ):
        assert kubernetes.workload["spec"]["updateStrategy"]["type"] == "OnDelete"
        assert (kubernetes.image, status()["image"]) == (NEW, OLD)
        assert condition("Ready")["status"] == "True"
        assert (condition("Upgraded")["status"], condition("Upgraded")["reason"]) == ("False", "WaitingForDeletion")
        clock.moment += timedelta(days=1)
        await reconcile()
        assert ("delete", "Pod", "bees-0") not in client.requests
        kubernetes.roll(ready=True)
        await reconcile()
        assert status()["image"] == NEW
        assert "Upgraded" not in {found["type"] for found in status()["conditions"]}

    async def test_a_failed_image_is_put_back_and_its_pod_deleted(
        self, changed, kubernetes, pass_deadline, client, condition, reconcile
    ):
        kubernetes.roll(ready=False, container=BAD)
        await pass_deadline()
        assert kubernetes.image == OLD
        kubernetes.roll(ready=False, replaces=False)
        await reconcile()
        assert ("delete", "Pod", "bees-0") in client.requests
        assert condition("Upgraded")["reason"] == "RolledBack"


async def test_a_new_statefulset_has_the_strategy_after_one_pass(become, kubernetes):
    await become(version="v1", updateStrategy="OnDelete")
    assert kubernetes.workload["spec"]["updateStrategy"]["type"] == "OnDelete"


async def test_no_field_says_rolling(serving, kubernetes):
    """It is the API server's default: a new field would write the StatefulSets of all stores."""
    assert "updateStrategy" not in kubernetes.workload["spec"]


class TestTurns:
    @pytest.fixture
    def busy(self, seen):
        """Another store's pod is being replaced, or no longer."""

        def be(*, under_way):
            workload = {"metadata": {"name": "other", "namespace": "ns", "uid": "uid-other", "generation": 2}}
            status = {"observedGeneration": 2, "currentRevision": "r1", "updateRevision": "r2" if under_way else "r1"}
            seen(SET, {**workload, "spec": {"template": {}}, "status": status})

        return be

    async def test_a_pod_that_works_waits_for_its_turn(
        self, serving, become, kubernetes, busy, condition, reconcile, clock, reconciler
    ):
        busy(under_way=True)
        result = await become(version="v2")
        assert kubernetes.image == OLD
        assert condition("Upgraded")["reason"] == "WaitingForTurn"
        assert condition("Upgraded")["message"] == "the pod of ns/other is being replaced (limit: 1)"
        assert condition("Ready")["status"] == "True"
        assert 0 < result.requeue_after <= 60
        reconciler.turns.end(Key("ns", "other"))
        await reconcile()
        assert kubernetes.image == NEW

    async def test_a_store_that_never_gets_ready_holds_up_the_others_until_its_deadline(
        self, serving, become, kubernetes, reconciler, clock, reconcile
    ):
        await become(version="v1", enableWAL=False)
        kubernetes.roll(ready=False)
        await reconcile()
        other = Key("ns", "other")
        assert not reconciler.turns.take(other, clock.monotonic(), lasts=720)
        clock.moment += timedelta(seconds=601)
        await reconcile()
        assert reconciler.turns.take(other, clock.monotonic(), lasts=720)

    async def test_the_next_one_goes_on_when_the_pod_is_ready(
        self, serving, become, kubernetes, reconciler, clock, reconcile
    ):
        told = []
        reconciler.turns.enqueue = told.append
        await become(version="v2")
        assert not reconciler.turns.take(Key("ns", "other"), clock.monotonic(), lasts=720)
        kubernetes.roll(ready=True)
        await reconcile()
        assert told == [Key("ns", "other")]

    async def test_a_pod_that_does_not_work_waits_for_nobody(self, failing, become, kubernetes, busy):
        busy(under_way=True)
        await become(version="v3")
        assert kubernetes.image == "registry/swarm-memory:v3"
