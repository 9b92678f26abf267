"""The Secret of a store's tokens in its life."""

import base64

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


async def test_a_secret_of_somebody_else_is_not_used(reconciler, client, seen, store_object, condition, observer):
    seen(STORE, store_object())
    client.put(kinds.SECRET, {"metadata": {"name": "bees-auth", "namespace": "ns"}, "data": {"client-token": "eA=="}})
    assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
    assert condition("Ready")["reason"] == "NameTaken"
    assert not [write for write in client.writes() if write[1] == "StatefulSet"]


async def test_a_secret_that_exists_keeps_its_tokens(reconciler, client, seen, store_object):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    before = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
    seen(STORE, store_object(cacheSize=8))
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")] is before


async def test_a_secret_that_another_worker_made_meanwhile_is_used(reconciler, client, seen, store_object, recorder):
    seen(STORE, store_object())
    theirs = {
        "metadata": {"name": "bees-auth", "namespace": "ns", "ownerReferences": [owner_reference(store_object())]},
        "data": {"client-token": "eA=="},
    }
    client.put(kinds.SECRET, theirs)
    answers = [NotFoundError("not yet", status=404)]
    get = client.get

    async def behind(resource, namespace, name):
        if resource is kinds.SECRET and answers:
            raise answers.pop()
        return await get(resource, namespace, name)

    client.get = behind
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"] == {"client-token": "eA=="}
    assert ("Normal", "Created", "created Secret bees-auth") not in recorder.events


async def test_tokens_appear_neither_in_events_nor_in_the_log_nor_in_the_status(
    reconciler, client, seen, store_object, ready, recorder, status, logged
):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    said = str(recorder.events) + str(logged) + str(status())
    said += str([obj for (kind, _), obj in client.objects.items() if kind is not kinds.SECRET])
    for encoded in client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"].values():
        assert encoded not in said
        assert base64.b64decode(encoded).decode() not in said
