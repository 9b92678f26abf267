"""The reflector against a real API server."""

import random

import pytest

from swarm_operator.runtime.backoff import Backoff
from swarm_operator.runtime.cache import Informer
from swarm_operator.runtime.reflector import State
from swarm_operator.runtime.resource import Key, Resource

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")


def config_map(namespace, name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}}


class Asking:
    """A client that remembers what it asked for."""

    def __init__(self, client):
        self._client = client
        self.asked = []

    def list(self, *arguments, **options):
        self.asked.append(("list", options["resource_version"]))
        return self._client.list(*arguments, **options)

    def watch(self, *arguments, **options):
        kind = "stream" if options["send_initial_events"] else "watch"
        self.asked.append((kind, options["resource_version"]))
        return self._client.watch(*arguments, **options)


@pytest.fixture
def client(admin):
    return Asking(admin)


@pytest.fixture
def informer(client, namespace):
    made = Informer(client, CONFIG_MAPS, namespace=namespace)
    made.reflector.backoff = Backoff(initial=0.01, cap=0.05, rng=random.Random(1))
    return made


async def test_a_list_is_streamed_and_the_same_watch_goes_on(
    admin, client, informer, namespace, background, eventually
):
    for number in range(20):
        await admin.create(CONFIG_MAPS, config_map(namespace, f"c{number}"), field_manager="test")
    changes = []
    informer.add_handler(changes.append)
    background(informer.run())
    await informer.wait_synced()
    assert len(informer.store) == 20, "all at once"
    assert all(change.initial for change in changes)
    await admin.create(CONFIG_MAPS, config_map(namespace, "later"), field_manager="test")

    async def heard():
        return informer.store.get(Key(namespace, "later"))

    await eventually(heard)
    assert client.asked == [("stream", "")]
    assert not changes[-1].initial


async def test_a_version_of_the_future_is_given_up_for_the_truth(
    admin, client, informer, namespace, background, eventually
):
    """As after a restore of etcd: the store has newer versions than the server, and one object too many."""
    created = await admin.create(CONFIG_MAPS, config_map(namespace, "c"), field_manager="test")
    future = str(int(created["metadata"]["resourceVersion"]) + 1_000_000)
    old = [config_map(namespace, name) for name in ("c", "ghost")]
    for obj in old:
        obj["metadata"]["resourceVersion"] = future
    informer.replaced(old, future)
    informer.reflector.version, informer.reflector.state = future, State.WATCH
    informer.reflector.idle_seconds = 5.0
    background(informer.run())

    async def restored():
        return not informer.store.get(Key(namespace, "ghost"))

    await eventually(restored)
    live = informer.store.get(Key(namespace, "c"))
    assert live["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert client.asked[0] == ("watch", future)
    assert client.asked[-1] == ("stream", "")
