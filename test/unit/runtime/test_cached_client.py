import pytest

from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import Key

pytestmark = pytest.mark.virtual_time


class Answering:
    """A client that answers every apply with the object in its next version."""

    def __init__(self):
        self.applied = []
        self.refusal = None

    async def apply(self, resource, obj, **options):
        self.applied.append((resource, obj, options))
        if self.refusal:
            raise self.refusal
        return {**obj, "metadata": obj["metadata"] | {"resourceVersion": "9", "managedFields": [{}]}}

    create = apply

    async def merge(self, resource, namespace, name, patch, **options):
        self.applied.append((resource, namespace, name, patch, options))
        metadata = {"namespace": namespace, "name": name, "resourceVersion": "9", "managedFields": [{}]}
        return {**patch, "metadata": metadata}


@pytest.fixture
def server():
    return Answering()


@pytest.fixture
def cache(widgets):
    made = Cache(None)
    made.add(widgets)[0].replaced([], "0")
    return made


@pytest.fixture
def client(server, cache):
    return CachedClient(server, cache)


def test_reads_are_of_the_cache(client, server, cache, widgets, widget):
    mine = widget("mine", owner="boss")
    cache.add(widgets)[0].changed(mine)
    assert client.get(widgets, Key("ns", "mine")) is mine
    assert client.list(widgets) == [mine]
    assert client.owned(widgets, widget("boss")) == [mine]
    assert server.applied == []


async def test_what_was_applied_is_read_at_once(client, server, cache, widgets, widget):
    answer = await client.apply(widgets, widget("a", 3), field_manager="me", subresource="status", force=False)
    assert client.get(widgets, Key("ns", "a")) is answer
    assert answer["metadata"]["resourceVersion"] == "9"
    assert "managedFields" not in answer["metadata"]
    assert server.applied == [
        (widgets, widget("a", 3), {"field_manager": "me", "subresource": "status", "force": False})
    ]


async def test_what_was_created_is_read_at_once(client, server, cache, widgets, widget):
    answer = await client.create(widgets, widget("a"), field_manager="me")
    assert client.get(widgets, Key("ns", "a")) is answer
    assert server.applied == [(widgets, widget("a"), {"field_manager": "me"})]


async def test_what_was_merged_is_read_at_once(client, server, cache, widgets):
    answer = await client.merge(widgets, "ns", "a", {"spec": {"x": 1}}, field_manager="me")
    assert client.get(widgets, Key("ns", "a")) is answer
    assert "managedFields" not in answer["metadata"]
    assert server.applied == [(widgets, "ns", "a", {"spec": {"x": 1}}, {"field_manager": "me"})]


async def test_handlers_hear_of_what_was_applied_and_not_of_its_echo(client, server, cache, widgets, widget):
    (informer,) = cache.add(widgets)
    heard = []
    informer.add_handler(heard.append)
    answer = await client.apply(widgets, widget("a"), field_manager="me")
    informer.changed(answer | {"echo": True})
    assert [change.new for change in heard] == [answer]


async def test_a_kind_that_is_not_watched_can_be_applied_too(client, server, cache, widgets, widget):
    client = CachedClient(server, Cache(None))
    assert (await client.apply(widgets, widget("a"), field_manager="me"))["metadata"]["resourceVersion"] == "9"


async def test_a_refused_write_leaves_the_cache_as_it_is(client, server, cache, widgets, widget):
    (informer,) = cache.add(widgets)
    informer.changed(widget("a", 3))
    server.refusal = ConflictError("no", status=409)
    with pytest.raises(ConflictError):
        await client.apply(widgets, widget("a"), field_manager="me")
    assert client.get(widgets, Key("ns", "a")) == widget("a", 3)
