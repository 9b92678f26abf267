import pytest

from swarm_operator.controllers.common import finalizers, kinds
from swarm_operator.runtime.errors import ConflictError, ForbiddenError
from swarm_operator.runtime.resource import key_of

STORE = kinds.SWARM_MEMORY_STORE
OURS, THEIRS = "swarm.claudeflow.io/last-backup", "example.com/theirs"


@pytest.fixture
def start(store_object, seen, reconciliation):
    """Starts a pass over a store with these finalizers."""

    def make(*names, **metadata):
        obj = store_object()
        obj["metadata"] |= {"finalizers": list(names), **metadata}
        return reconciliation(seen(STORE, obj))

    return make


@pytest.fixture
def stored(client, store_object):
    return lambda: client.objects[STORE, key_of(store_object())]["metadata"]["finalizers"]


async def test_a_finalizer_is_added_beside_those_of_others(start, stored, client, cache):
    r = start(THEIRS)
    await finalizers.add(r, OURS)
    assert stored() == r.obj["metadata"]["finalizers"] == [THEIRS, OURS]
    assert cache.get(STORE, key_of(r.obj)) == r.obj
    await finalizers.add(r, OURS)
    assert client.requests == [("merge", "SwarmMemoryStore", "bees")]


async def test_an_object_that_has_no_list_yet_gets_one(start, stored):
    r = start()
    del r.obj["metadata"]["finalizers"]
    await finalizers.add(r, OURS)
    assert stored() == [OURS]


async def test_an_object_that_is_being_deleted_takes_no_new_finalizer(start, client):
    await finalizers.add(start(deletionTimestamp="2026-11-23T12:00:00Z"), OURS)
    assert client.requests == []


async def test_only_our_finalizer_is_removed(start, stored, client):
    r = start(THEIRS, OURS, deletionTimestamp="2026-11-23T12:00:00Z")
    await finalizers.remove(r, OURS)
    assert stored() == r.obj["metadata"]["finalizers"] == [THEIRS]
    await finalizers.remove(r, OURS)
    assert client.requests == [("merge", "SwarmMemoryStore", "bees")]


@pytest.mark.parametrize("metadata", [{}, {"deletionTimestamp": "2026-11-23T12:00:00Z"}])
async def test_only_an_object_that_is_being_deleted_is_released(start, metadata):
    r = start(OURS, **metadata)
    await finalizers.remove(r, OURS)
    assert r.released is bool(metadata), "the status of one that lives on is written"


async def test_an_object_that_is_gone_needs_no_removal(start, client):
    r = start(OURS, deletionTimestamp="2026-11-23T12:00:00Z")
    client.objects.clear()
    await finalizers.remove(r, OURS)


@pytest.mark.parametrize("write", [finalizers.add, finalizers.remove])
@pytest.mark.parametrize("changed", ["uid", "resourceVersion"])
async def test_a_list_that_others_may_have_changed_is_not_overwritten(start, client, stored, write, changed):
    r = start(*([OURS] if write is finalizers.remove else []))
    metadata = r.obj["metadata"] | {"finalizers": [THEIRS], changed: "another"}
    client.objects[STORE, key_of(r.obj)] = r.obj | {"metadata": metadata}
    with pytest.raises(ConflictError):
        await write(r, OURS)
    assert stored() == [THEIRS]


async def test_a_refusal_is_passed_on(start, client):
    client.refusals["merge", "SwarmMemoryStore"] = ForbiddenError("no right", status=403)
    with pytest.raises(ForbiddenError):
        await finalizers.add(start(), OURS)
