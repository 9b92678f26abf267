"""Reads by key, expiry, the writer of a version, and copies of the store, on each engine."""

import hashlib

import pytest
from support.store_calls import fill, found, listed, named, put

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.errors import (
    InvalidInputError,
)


async def test_an_expired_entry_is_nowhere_from_its_first_millisecond_on(store, clock):
    await put(store, "short", tags=["t"], ttl=1)
    await put(store, "k", 22)
    clock.advance(0.999)
    assert (await store.get("n", "short")).expires_at == store.now() + 1
    assert await listed(store) == ["k", "short"]
    clock.advance(0.001)
    assert await store.get("n", "short") is None
    assert [entry and entry.key for entry in await store.get_many([("n", "short"), ("n", "k")])] == [None, "k"]
    assert await listed(store) == ["k"]
    assert await found(store, Query.create(namespace="n")) == [("n", "k")]
    assert await found(store, Query.create(tags=["t"])) == []
    assert await found(store, Query.create(text="short")) == []
    assert await store.counts(["n", "none"]) == {"n": 1, "none": 0}
    assert await named(store) == [("n", 1, 2)]
    assert (await store.stats()).entries == 1
    seen = []
    await store.transact([("n", "short"), ("n", "k")], lambda entries, now: seen.append((entries, now)) or [])
    assert [(entry and entry.key) for entry in seen[0][0]] == [None, "k"]
    assert seen[0][1] == store.now()


async def test_a_namespace_whose_entries_have_expired_is_none(store, clock):
    await put(store, "k", ttl=1)
    clock.advance(1)
    assert await named(store) == []


async def test_garbage_is_collected_and_told_of(store, clock):
    await put(store, "a", "four", tags=["t"], ttl=1)
    await put(store, "b", tags=["t"])
    clock.advance(1)
    assert await store.tag_counts("n", ["t", "none"]) in ({"t": 1, "none": 0}, {"t": 2, "none": 0})
    async with store.watch() as watch:
        collection = await store.collect_garbage()
        (change,) = await watch.next()
    assert (collection.entries, collection.value_bytes, collection.started_at) == (1, 6, store.now())
    assert change[1:] == ("n", "a", Op.EXPIRE, 1, store.now(), None)
    assert await store.tag_counts("n", ["t", "none"]) == {"t": 1, "none": 0}
    assert (await store.collect_garbage()).entries == 0


async def test_an_entry_says_who_wrote_this_version_of_it(store):
    async with store.watch() as watch:
        by_ann = await put(store, "k", updated_by="ann")
        assert (await store.get("n", "k")).updated_by == by_ann.updated_by == "ann"
        await store.batch([
            Put(Draft.create("n", "k", 2, updated_by="swarm:agent:agent-0")), Put(Draft.create("n", "other", 1)),
        ])  # fmt: skip
        await store.transact([("n", "third")], lambda *_: [Put(Draft.create("n", "third", 1, updated_by="ann"))])
        await store.delete("n", "third")
        changes = []
        while len(changes) < 5:
            changes += await watch.next()
    names = {"k": "swarm:agent:agent-0", "other": None}
    assert [(change.key, change.updated_by) for change in changes] == [
        ("k", "ann"), *names.items(), ("third", "ann"), ("third", None),
    ]  # fmt: skip
    await put(store, "z", namespace="m", updated_by="zoe")  # with no watch, so that the next one reads what is stored
    async with store.watch(since=changes[0].seq) as watch:
        *told, last = await watch.next()
    assert (told, last.updated_by) == (changes[1:], "zoe"), "as they were told before"
    assert {entry.key: entry.updated_by for entry in (await store.list("n")).entries} == names
    searched = (await store.search(Query.create(prefix="k"))).hits
    assert [hit.entry.updated_by for hit in searched] == ["swarm:agent:agent-0"]
    assert [entry.updated_by for entry in await store.get_many([("n", "k")])] == ["swarm:agent:agent-0"]


@pytest.mark.parametrize("name", ["", "n" * 1025, "a\0b", 7, "\ud800"])
def test_a_name_of_who_wrote_is_a_text(name):
    with pytest.raises(InvalidInputError, match="updated_by"):
        Draft.create("n", "k", 1, updated_by=name)
    with pytest.raises(InvalidInputError, match="updated_by"):
        Query.create(updated_by=name)


async def test_each_of_several_reads_has_a_result_of_its_own(store, clock):
    await fill(store, ("n", "a"), ("m", "b"))
    await put(store, "short", ttl=1)
    clock.advance(1)
    places = [("n", "a"), ("n", "short"), ("m", "b"), ("n", "none"), ("n", "a")]
    found = await store.get_each(places)
    assert [entry and (entry.namespace, entry.key) for entry in found] == [
        ("n", "a"),
        None,
        ("m", "b"),
        None,
        ("n", "a"),
    ]
    assert await store.get_each([]) == []
    with pytest.raises(InvalidInputError):
        await store.get_each([("n", "a")] * 1001)


async def test_the_values_of_several_reads_are_bounded_together(store):
    largest = "x" * (store.max_value_bytes // 2)
    for number in range(4):
        await put(store, f"k{number}", largest)
    found = await store.get_each([("n", "none"), *(("n", f"k{number}") for number in range(4)), ("n", "none")])
    assert found[0] is None
    assert [entry.key for entry in found[1:3]] == ["k0", "k1"]
    assert [(type(error), error.field) for error in found[3:]] == [(InvalidInputError, "operations")] * 3


async def test_a_backup_is_a_new_file_and_a_snapshot_is_read_as_one(store, tmp_path):
    await put(store, "k", "text that is in the copy")
    target = tmp_path / "copy"
    backup = await store.backup(target)
    assert (backup.path, backup.size) == (target, target.stat().st_size)
    assert b"text that is in the copy" in target.read_bytes()
    with pytest.raises(InvalidInputError, match=r"^path: "):
        await store.backup(target)
    assert target.stat().st_size == backup.size
    async with store.snapshot() as snapshot:
        content = snapshot.file.read()
    assert (len(content), hashlib.sha256(content).digest()) == (snapshot.size, snapshot.sha256)
    assert b"text that is in the copy" in content
