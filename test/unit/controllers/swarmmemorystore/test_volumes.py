"""The claim of a store's volume in its life: waiting, lost, or older than the store."""

import copy

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


async def test_a_claim_on_its_way_out_is_told(reconciler, seen, store_object, cache, condition):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    claim = copy.deepcopy(cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data")))
    claim["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"status": {"phase": "Bound"}})
    await reconciler.reconcile(KEY)
    assert condition("StorageReady")["reason"] == "VolumeTerminating"


async def test_a_claim_on_its_way_out_keeps_its_pod_and_the_numbers_as_they_are(
    reconciler, reconcile, client, seen, store_object, cache, condition, ready, observer, status, numbers
):
    seen(STORE, store_object())
    observer.answer = numbers
    await reconcile()
    ready()
    await reconcile()
    claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key("ns", "bees-data"))
    terminating = claim["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}
    seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"metadata": terminating})
    seen(STORE, cache.get(STORE, KEY) | {"spec": {"enableWAL": False}})
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


class TestAClassThatDoesNotExist:
    CONTROLLER = "persistentvolume-controller"

    @pytest.fixture
    def waits_for_volume(self, reconciler, seen, store_object, clock):
        """Make a store whose claim has been without a volume for five seconds."""

        async def make(**spec):
            seen(STORE, store_object(**spec))
            await reconciler.reconcile(KEY)
            clock.advance(5)

        return make

    async def test_it_is_told_with_the_field_that_names_it(self, waits_for_volume, reconciler, tell, condition, seen):
        await waits_for_volume(storageClass="fast")
        note = 'storageclass.storage.k8s.io "fast" not found'
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, "ProvisioningFailed", note)
        unscheduled = {"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-11-23T11:00:00Z"}
        pod = {"metadata": {"name": "bees-0", "namespace": "ns"}, "status": {"conditions": [unscheduled]}}
        seen(kinds.POD, pod)
        result = await reconciler.reconcile(KEY)
        for kind in ("StorageReady", "Ready"):
            told = condition(kind)
            assert (told["status"], told["reason"]) == ("False", "StorageClassMissing")
            assert "StorageClass fast does not exist" in told["message"]
            assert "spec.storageClass" in told["message"]
        assert 0 < result.requeue_after <= 5.5

    async def test_a_cluster_without_a_default_is_told(self, waits_for_volume, reconciler, tell, condition):
        await waits_for_volume()
        note = "no persistent volumes available for this claim and no storage class is set"
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, "FailedBinding", note, type="Normal")
        await reconciler.reconcile(KEY)
        told = condition("StorageReady")
        assert told["reason"] == "StorageClassMissing"
        assert "spec.storageClass names no class, and the cluster has no default" in told["message"]

    async def test_a_pod_that_has_a_trouble_of_its_own_tells_that(self, waits_for_volume, reconciler, tell, condition):
        await waits_for_volume(storageClass="fast")
        note = 'storageclass.storage.k8s.io "fast" not found'
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, "ProvisioningFailed", note)
        tell(kinds.STATEFUL_SET, "bees", "statefulset-controller", "FailedCreate", "exceeded quota")
        await reconciler.reconcile(KEY)
        assert condition("StorageReady")["reason"] == "StorageClassMissing"
        assert condition("Ready")["reason"] == "FailedCreate"

    @pytest.mark.parametrize(
        ("reason", "note"),
        [
            ("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
            ("ExternalProvisioning", "Waiting for a volume to be created"),
            ("ProvisioningFailed", "the disk quota of the cloud is exceeded"),
            ("FailedBinding", "no persistent volumes available for this claim and no storage class is set"),
        ],
    )
    async def test_a_class_that_exists_is_waited_for(self, waits_for_volume, reconciler, tell, condition, reason, note):
        await waits_for_volume(storageClass="fast")
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, reason, note)
        await reconciler.reconcile(KEY)
        assert condition("StorageReady")["reason"] == "WaitingForVolume"
        assert condition("Ready")["reason"] == "WaitingForPod"

    async def test_it_is_over_when_the_controller_says_something_else(
        self, waits_for_volume, reconciler, tell, condition, clock
    ):
        await waits_for_volume(storageClass="fast")
        note = 'storageclass.storage.k8s.io "fast" not found'
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, "ProvisioningFailed", note)
        await reconciler.reconcile(KEY)
        tell(kinds.PERSISTENT_VOLUME_CLAIM, "bees-data", self.CONTROLLER, "WaitForFirstConsumer")
        clock.advance(10)
        await reconciler.reconcile(KEY)
        assert condition("StorageReady")["reason"] == "WaitingForVolume"

    async def test_a_bound_claim_s_events_are_not_read(self, waits_for_volume, reconciler, ready, client, clock):
        await waits_for_volume()
        ready()
        clock.advance(60)
        client.requests.clear()
        await reconciler.reconcile(KEY)
        assert "list" not in [verb for verb, *_ in client.requests]
