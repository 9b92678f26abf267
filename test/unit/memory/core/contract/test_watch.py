"""Watches, on each engine."""

import asyncio

import pytest
from support.store_calls import put

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.errors import (
    InvalidInputError,
    MissedChangesError,
)


async def test_a_watch_goes_on_from_what_is_kept_and_says_what_it_missed(store):
    for number in range(19):
        await put(store, "k", number)
    await store.search(Query.create(text="k"))  # an engine may keep what its index of words lacks
    await put(store, "k", 19)
    with pytest.raises(MissedChangesError) as caught:
        async with store.watch(since=0):
            pass
    oldest = caught.value.oldest
    assert oldest <= 15
    with pytest.raises(MissedChangesError):
        async with store.watch(since=21):
            pass
    async with store.watch(since=oldest) as watch:
        assert [change.seq for change in await watch.next()] == list(range(oldest + 1, 21))
        assert watch.position == 20
        assert await watch.next(0.01) == []
    with pytest.raises(InvalidInputError, match=r"^since: "):
        async with store.watch(since=-1):
            pass


async def test_a_watch_waits_and_every_watch_is_told(store):
    async with store.watch("n", prefix="a") as narrow, store.watch() as wide:
        waiting = asyncio.create_task(narrow.next())
        await put(store, "b")
        await put(store, "a", namespace="m")
        await asyncio.sleep(0)
        assert not waiting.done()
        await put(store, "a")
        assert [(change.namespace, change.key, change.op, change.at) for change in await waiting] == [
            ("n", "a", Op.PUT, store.now())
        ]
        told = []
        while len(told) < 3:
            told += await wide.next()
        assert [(change.namespace, change.key) for change in told] == [("n", "b"), ("m", "a"), ("n", "a")]
        assert narrow.position == wide.position
