"""Settings that change while the store is in use."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import ConfigError, StoreClosedError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.config import LIVE

LONG = "word " * 200
OTHER = {
    "cache_size": 2, "cache_memory_mb": 1, "compression_threshold": 100, "gc_interval": 7.0, "enable_vacuum": False,
    "search_language": "english",
}  # fmt: skip


async def compressed(store):
    return (await store.stats()).compressed_entries


async def test_a_threshold_counts_from_the_next_write_on(store):
    await store.put("n", "before", LONG)
    store.configure(compression_threshold=100)
    assert await compressed(store) == 0
    await store.put("n", "after", LONG)
    await store.update("n", "updated", lambda _: None)
    assert await compressed(store) == 1
    store.configure(compression_threshold=0)
    await store.put("n", "after", LONG)
    assert await compressed(store) == 0


async def test_a_smaller_cache_keeps_the_entries_that_were_used_last_and_a_larger_one_all(store):
    async def cached():
        return (await store.stats()).cache_entries

    for number in range(10):
        await store.put("n", f"k{number}", number)
    store.configure(cache_size=3)
    await store._lookup._resizing
    assert [key for _, key in store._cache._entries] == ["k7", "k8", "k9"]
    store.configure(cache_size=5)
    for number in range(10):
        await store.get("n", f"k{number}")
    assert await cached() == 5


async def test_the_last_of_two_sizes_counts(store):
    for number in range(10):
        await store.put("n", f"k{number}", number)
    store.configure(cache_size=1)
    first = store._lookup._resizing
    store.configure(cache_size=8)
    await asyncio.wait([first, store._lookup._resizing])
    assert (store._cache.max_entries, (await store.stats()).cache_entries) == (8, 8)


@pytest.mark.parametrize("wrong", [{"cache_memory_mb": 0}, {"enable_wal": False}, {"gc_interval": "5m"}])
async def test_all_are_checked_before_any_is_changed(store, wrong):
    before = dict(store.settings)
    with pytest.raises((ConfigError, TypeError), match=next(iter(wrong)) if "gc_interval" not in wrong else "str"):
        store.configure(**{"compression_threshold": 100} | wrong)
    assert store.settings == before
    await store.put("n", "k", LONG)
    assert await compressed(store) == 0


async def test_what_is_in_force_is_told(store):
    assert OTHER.keys() == LIVE
    before = dict(store.settings)
    store.configure(**OTHER)
    assert store.settings == before | OTHER
    assert (await store.stats()).settings == before | OTHER


async def test_a_closed_store_changes_nothing(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig()) as store:
        pass
    with pytest.raises(StoreClosedError):
        store.configure(cache_size=3)
