"""The LRU's bookkeeping."""

import pytest

from swarm_operator.memory.core import Draft, Entry
from swarm_operator.memory.sqlite.read import entries
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


def test_the_name_of_who_wrote_counts():
    assert entry("a")._replace(updated_by="n" * 500).weight == entry("a").weight + 500


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


@pytest.mark.parametrize("limit", ["entries", "bytes"])
def test_new_limits_are_reached_in_steps_and_no_put_removes_many_entries(monkeypatch, limit):
    monkeypatch.setattr(entries, "_RESIZE_SECONDS", -1.0)
    cache = EntryCache(max_entries=10, max_bytes=100_000)
    for number in range(10):
        cache.put(entry(f"k{number}"))
    weight = entry("k0").weight
    limits = (
        {"max_entries": 100, "max_bytes": 7 * weight} if limit == "bytes" else {"max_entries": 7, "max_bytes": 10**6}
    )
    assert not cache.resize(**limits)
    assert (len(cache), cache.max_bytes if limit == "bytes" else cache.max_entries * weight) == (9, 9 * weight)
    cache.put(entry("kx"))
    assert (len(cache), cache.evictions) == (9, 2), "one in each step, and one for the new entry"
    while not cache.resize(**limits):
        pass
    assert (len(cache), cache.max_entries, cache.max_bytes) == (7, *limits.values())
    assert cache.get(("n", "kx"), 0) is not None


def test_an_empty_cache_takes_any_limits_at_once():
    cache = EntryCache(max_entries=10, max_bytes=1000)
    assert cache.resize(max_entries=1, max_bytes=1)
    assert (cache.max_entries, cache.max_bytes) == (1, 1)
