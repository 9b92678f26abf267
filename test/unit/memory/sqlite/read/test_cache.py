"""The LRU's bookkeeping."""

import pytest

from swarm_operator.memory.core import Draft, Entry
from swarm_operator.memory.sqlite.read.entries import EntryCache


def entry(key, size=10, expires_at=None):
    return Entry("n", key, Draft.create("n", key, "x" * (size - 2)).value_json, "[]", "{}", 0, 1, 0, 0, expires_at)


def test_the_least_recently_used_entry_goes_first():
    cache = EntryCache(max_entries=2, max_bytes=10_000)
    cache.put(entry("a"))
    cache.put(entry("b"))
    cache.get(("n", "a"), 0)
    cache.put(entry("c"))
    assert [cache.get(("n", key), 0) is not None for key in "abc"] == [True, False, True]
    assert cache.evictions == 1


def test_overwriting_counts_bytes_once_and_evicts_nothing():
    cache = EntryCache(max_entries=1, max_bytes=10_000)
    for size in (100, 5000, 10):
        cache.put(entry("a", size))
        assert cache.bytes == entry("a", size).weight
    assert (len(cache), cache.evictions) == (1, 0)


def test_bytes_are_bounded_by_what_entries_really_take():
    room = entry("a", 1000).weight * 3
    cache = EntryCache(max_entries=100, max_bytes=room)
    for key in "abcdef":
        cache.put(entry(key, 1000))
        assert cache.bytes <= room
    assert len(cache) == 3


def test_an_entry_larger_than_the_cache_is_not_kept_and_displaces_nobody():
    cache = EntryCache(max_entries=10, max_bytes=5000)
    cache.put(entry("a"))
    cache.put(entry("b", 6000))
    assert cache.get(("n", "a"), 0) is not None
    assert cache.get(("n", "b"), 0) is None
    cache.put(entry("a", 6000))
    assert (len(cache), cache.bytes) == (0, 0)


@pytest.mark.parametrize(("now", "found"), [(999, True), (1000, False)])
def test_an_expired_entry_is_dropped_when_it_is_asked_for(now, found):
    cache = EntryCache(max_entries=10, max_bytes=5000)
    cache.put(entry("a", expires_at=1000))
    assert (cache.get(("n", "a"), now) is not None) is found
    assert (len(cache), cache.bytes > 0) == (int(found), found)
    assert (cache.hits, cache.misses) == (int(found), int(not found))
