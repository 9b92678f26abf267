"""A slow client holds nobody up, and what is kept for it is bounded."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import OverloadedError, StoreClosedError
from swarm_operator.memory.service.access.rights import ADMIN, Credential
from swarm_operator.memory.service.mcp.subscriptions import Subscriptions
from swarm_operator.memory.service.quotas import Quota
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig, changes

always = Credential(ADMIN, lambda: True)


@pytest.fixture
def quota():
    return Quota("listeners", 2)


@pytest.fixture
def subscriptions(store, quota):
    made = Subscriptions(store, quota=quota)
    yield made
    made.end()


async def test_an_address_that_changed_often_is_told_once(store, subscriptions):
    with subscriptions.listening(always) as slow, subscriptions.listening(always) as quick:
        slow.add("memory://n/k")
        slow.add("memory://n")
        quick.add("memory://n/last")
        for number in range(500):
            await store.put("n", "k", number)
        await store.put("n", "last", 1)
        async with asyncio.timeout(60):
            assert await quick.next() == ["memory://n/last"]
            assert set(await slow.next()) == {"memory://n/k", "memory://n"}
            await store.put("n", "k", 1)
            assert set(await slow.next()) == {"memory://n/k", "memory://n"}


async def test_two_spellings_of_an_address_are_both_told(store, subscriptions):
    with subscriptions.listening(always) as listener:
        listener.add("memory://n/k")
        listener.add("memory://%6E/%6B")
        await store.put("n", "k", 1)
        async with asyncio.timeout(60):
            assert set(await listener.next()) == {"memory://n/k", "memory://%6E/%6B"}


async def test_when_changes_were_missed_everything_may_have_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "_MOST_KEPT", 1)
    gate = asyncio.Event()
    config = StoreConfig(change_log_entries=5, full_text=False)  # the index of words keeps changes for a moment
    async with SqliteStore.open(tmp_path / "db", config) as store, asyncio.timeout(60):
        subscriptions = Subscriptions(store, quota=Quota("listeners", 1), sleep=lambda _: gate.wait())
        with subscriptions.listening(always) as listener:
            listener.add("memory://n/first")
            listener.add("memory://n/never")
            await store.put("n", "first", 1)
            assert await listener.next() == ["memory://n/first"]
            for number in range(20):
                await store.put("n", str(number), number)
            gate.set()
            assert set(await listener.next()) == {"memory://n/first", "memory://n/never"}
            # While it catches up, the next write may let go of what it has not seen yet: then it is everything again.
            told = []
            while told != ["memory://n/first"]:
                await store.put("n", "first", 2)
                told = await listener.next()
                assert "memory://n/first" in told


async def test_too_many_are_refused_and_those_that_end_make_room(subscriptions, quota):
    first, second = subscriptions.open(always), subscriptions.open(always)
    with pytest.raises(OverloadedError):
        subscriptions.open(always)
    subscriptions.close(first)
    subscriptions.close(first)
    assert quota.held == 1
    third = subscriptions.open(always)
    assert quota.held == 2
    subscriptions.end()
    assert quota.held == 0
    assert await second.next() == await third.next() == []
    with pytest.raises(StoreClosedError):
        subscriptions.open(always)


async def test_nothing_follows_the_feed_while_nobody_listens(store, subscriptions):
    with subscriptions.listening(always) as listener:
        listener.add("memory://n")
        assert subscriptions._following is not None
    assert subscriptions._following is None
    assert subscriptions._wanted == {}


async def test_a_listener_whose_token_has_lost_its_rights_is_told_nothing_more(store, subscriptions):
    rights = [True]
    with (
        subscriptions.listening(Credential(ADMIN, lambda: rights[0])) as listener,
        subscriptions.listening(always) as other,
    ):
        listener.add("memory://n")
        other.add("memory://n")
        async with asyncio.timeout(60):
            await store.put("n", "k", 1)
            assert await listener.next() == await other.next() == ["memory://n"]
            rights[0] = False
            await store.put("n", "k", 2)
            assert (await listener.next(), await other.next()) == ([], ["memory://n"])
            assert (listener.revoked, other.revoked) == (True, False)
            rights[0] = True
            with pytest.raises(StoreClosedError):
                listener.add("memory://m")
