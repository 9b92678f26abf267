"""Passes over a store: its children, and what causes a pass."""

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import ServerError, TerminalError, UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


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
        ("merge", "SwarmMemoryStore", "bees"),
        ("apply", "PersistentVolumeClaim", "bees-data"),
        ("create", "Secret", "bees-auth"),
        ("apply", "Service", "bees"),
        ("apply", "Service", "bees-headless"),
        ("apply", "NetworkPolicy", "bees"),
        ("apply", "PodDisruptionBudget", "bees"),
        ("apply", "ConfigMap", "bees-settings"),
        ("apply", "ConfigMap", "bees-identity"),
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
        ("merge", "SwarmMemoryStore"),
        ("apply", "PersistentVolumeClaim"),
        ("create", "Secret"),
        ("apply", "Service"),
        ("apply", "NetworkPolicy"),
        ("apply", "PodDisruptionBudget"),
        ("apply", "ConfigMap"),
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
        *["bees"] * 4,
        "bees-auth",
        "bees-data",
        "bees-headless",
        "bees-identity",
        "bees-settings",
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


async def test_a_spec_that_is_not_valid_makes_no_children(reconciler, client, seen, store_object, condition):
    seen(STORE, store_object(storageSize="lots"))
    with pytest.raises(TerminalError, match="storageSize"):
        await reconciler.reconcile(KEY)
    assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")]
    assert condition("Ready")["reason"] == "InvalidSpec"


async def test_a_changed_spec_is_reconciled_and_a_changed_status_is_not(
    reconciler, cache, caching, client, store_object
):
    """Otherwise each status write would cause another pass."""
    fresh = type(cache)(client)
    controller = Controller("watching-stores-themselves", reconciler, fresh)
    reconciler.client = type(caching)(client, fresh)
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


async def test_a_change_of_what_a_store_owns_is_a_reason_to_look(reconciler, cache, caching, client, store_object):
    fresh = type(cache)(client)
    reconciler.client = type(caching)(client, fresh)
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
    watched[kinds.SWARM_MEMORY_BACKUP].changed(
        {"metadata": {"name": "x", "namespace": "ns", "resourceVersion": "1"}, "spec": {"storeRef": {"name": "bees"}}}
    )
    assert await controller.queue.get() == (KEY, 0)
