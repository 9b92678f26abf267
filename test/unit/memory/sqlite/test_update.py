"""Read, change, write: one entry at a time, with nothing in between."""

import asyncio

import pytest

from swarm_operator.memory.core import Draft
from swarm_operator.memory.core.errors import (
    CorruptValueError,
    InternalStoreError,
    InvalidInputError,
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig


def draft(key, value):
    return Draft.create("n", key, value)


def add_one(entry):
    return draft("count", 1 if entry is None else entry.value + 1)


async def test_updates_of_many_callers_never_lose_one(either_store):
    results = await asyncio.gather(*(either_store.update("n", "count", add_one) for _ in range(100)))
    assert sorted(entry.value for entry, written in results if written) == list(range(1, 101))
    entry = await either_store.get("n", "count")
    assert (entry.value, entry.version) == (100, 100)


async def test_an_update_may_leave_things_as_they_are(store):
    assert await store.update("n", "k", lambda _: None) == (None, False)
    await store.put("n", "k", 1)
    entry, written = await store.update("n", "k", lambda _: None)
    assert (entry.version, entry.value, written) == (1, 1, False)
    assert (await store.get("n", "k")).version == 1


async def test_an_update_sees_an_expired_entry_as_absent(store, clock):
    await store.put("n", "k", 1, ttl=1)
    clock.advance(1)
    seen = []
    await store.update("n", "k", seen.append)
    assert seen == [None]


@pytest.mark.parametrize(
    ("error", "kind"), [(VersionConflictError(3), VersionConflictError), (KeyError("x"), InternalStoreError)]
)
async def test_an_update_whose_change_raises_is_undone_alone(store, error, kind):
    def change(_):
        raise error

    failed, other = await asyncio.gather(store.update("n", "k", change), store.put("n", "b", 1), return_exceptions=True)
    assert isinstance(failed, kind)
    assert other[1]
    assert await store.get("n", "k") is None


async def test_an_update_writes_its_own_entry_and_keeps_the_limits(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_value_bytes=100, compression_threshold=50)) as store:
        with pytest.raises(InternalStoreError, match="an update of"):
            await store.update("n", "k", lambda _: draft("other", 1))
        with pytest.raises(InvalidInputError, match="value: at most 100 bytes"):
            await store.update("n", "k", lambda _: draft("k", "x" * 99))
        with pytest.raises(InvalidInputError, match="key"):
            await store.update("n", "", lambda _: None)
        await store.update("n", "k", lambda _: draft("k", "x" * 98))
        assert (await store.stats()).compressed_entries == 1
        assert await store.get("n", "other") is None


async def test_a_damaged_value_fails_those_who_read_it_and_nobody_else(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=1)) as store:
        await store.put("n", "bad", "x" * 1000)
        await store._worker.run(lambda db: db.execute("UPDATE entries SET value = x'00'"))
        updated, decided, put = await asyncio.gather(
            store.update("n", "bad", lambda _: None),
            store.transact([("n", "bad")], lambda *_: []),
            store.put("n", "good", 1),
            return_exceptions=True,
        )
        assert [type(updated), type(decided)] == [CorruptValueError] * 2
        assert put[1]
        assert store.fault is None
