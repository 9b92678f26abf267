"""Errors of the API server: which are told, which are only retried, and what goes on besides."""

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import LASTING
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
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


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
    seen(STORE, cache.get(STORE, KEY) | {"spec": {"enableWAL": False}})
    await fail()
    assert condition("Ready")["reason"] == "WaitingForPod", "it is counted from the start again"


async def test_failures_are_those_of_the_controller_s_queue(reconciler, cache, client):
    controller = Controller("swarmmemorystore-failures", reconciler, type(cache)(client))
    reconciler.set_up(controller)
    controller.queue.add_rate_limited(KEY)
    assert reconciler.failures(KEY) == 1
    controller.queue.shut_down()


class TestOneChildsFailure:
    """A failure hides no other failure, and blocks no child that does not depend on the failed one."""

    @pytest.fixture
    async def running(self, reconcile, seen, store_object, ready, observer, client, numbers):
        """A ready store with its numbers."""
        seen(STORE, store_object())
        observer.answer = numbers
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
        change(storageSize="20Gi", enableWAL=False)
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
        seen(STORE, store_object())
        client.refusals["apply", "PersistentVolumeClaim"] = ForbiddenError("exceeded quota", status=403)
        client.refusals["apply", "Service"] = InvalidError("no such port", status=422)
        with pytest.raises(ForbiddenError):
            await reconciler.reconcile(KEY)
        ready = condition("Ready")
        # Both Services are refused.
        assert (ready["reason"], ready["message"]) == ("Forbidden", "exceeded quota; no such port; no such port")
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
        change(storageSize="20Gi", enableWAL=False)
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
        assert client.writes()[-1] == ("apply", "PersistentVolumeClaim", "bees-data")

    @pytest.mark.parametrize("exists", [True, False])
    async def test_a_namespace_that_is_being_deleted_ends_the_pass_at_once(
        self, reconciler, client, seen, store_object, exists, change
    ):
        seen(STORE, store_object())
        if exists:
            await reconciler.reconcile(KEY)
            change(storageSize="20Gi", enableWAL=False)
            client.requests.clear()
        cause = Cause("", "", "NamespaceTerminating")
        client.refusals["apply", "PersistentVolumeClaim"] = ForbiddenError("terminating", status=403, causes=(cause,))
        assert await reconciler.reconcile(KEY) == Result()
        assert client.writes()[-1] == ("apply", "PersistentVolumeClaim", "bees-data")
