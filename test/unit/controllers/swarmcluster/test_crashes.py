"""The operator dies after each write and a new one goes on: a swarm in other namespaces is made, and goes, as ever."""

import asyncio
import copy

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmcluster.deletion import CONTENTS
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "hive")
CLUSTER, STORE, NAMESPACE, QUOTA = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE, kinds.NAMESPACE, kinds.RESOURCE_QUOTA


@pytest.fixture
def world(client, cache, seen, monkeypatch):
    """What other controllers do meanwhile: they count what is in a namespace; deletions are seen."""
    create, delete = client.create, client.delete

    async def counting(resource, obj, *, field_manager):
        made = await create(resource, obj, field_manager=field_manager)
        if resource == QUOTA:
            used = dict.fromkeys(made["spec"]["hard"], "0") | {"count/configmaps": "1", "count/serviceaccounts": "1"}
            client.put(QUOTA, made | {"status": {"used": used}})
        return made

    async def deleting(resource, namespace, name, **options):
        await delete(resource, namespace, name, **options)
        if resource == STORE:
            (informer,) = cache.add(STORE)
            informer.deleted(copy.deepcopy(informer.store.get(Key(namespace, name))))
        if resource == NAMESPACE:
            client.objects.pop((QUOTA, Key(name, CONTENTS)))

    monkeypatch.setattr(client, "create", counting)
    monkeypatch.setattr(client, "delete", deleting)


async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(
    world, live, separate, client, cache, caching, recorder, clock, seen
):
    ends = []
    for last in range(12):
        client.objects.clear()
        for informer in cache.informers:
            informer.replaced([], str(client.version))
        separate(hive=True)

        def make():
            return SwarmClusterReconciler(caching, recorder, clock, image="swarm-memory:v1")

        deaths = await live(last, CLUSTER, KEY, make)
        assert sorted(str(key) for kind, key in client.objects if kind == STORE) == [
            "claude-flow-hivemind/hive-hivemind",
            "claude-flow-swarm/hive-memory",
        ]
        ends.append(client.objects[CLUSTER, KEY]["status"])
        assert ends[-1] == ends[0]
        (stores,) = cache.add(STORE)
        for obj in [copy.deepcopy(obj) for (kind, _), obj in client.objects.items() if kind == STORE]:
            stores.changed(obj)  # what the watch brings
        found = client.objects[CLUSTER, KEY]
        seen(CLUSTER, found | {"metadata": found["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}})
        for _ in range(8):
            await live(last, CLUSTER, KEY, make)
            await asyncio.sleep(0)
        assert [key for _, key in client.objects] == [KEY], "nothing is left in any namespace"
        assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == []
        if last and not deaths:
            break
    assert last > 5, "there are so many writes"
