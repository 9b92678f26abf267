"""Writes, batches, transactions and versions, on each engine."""

import asyncio

import pytest
from support.store_calls import fill, listed, put

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.core.duplicates import DuplicateRule
from swarm_operator.memory.core.errors import (
    BatchItemError,
    DuplicateError,
    InternalStoreError,
    InvalidInputError,
    VersionConflictError,
)


@pytest.mark.parametrize("removal", ["delete", "expire", "collect", "range", "batch", "transact"])
async def test_versions_grow_over_every_kind_of_removal(store, clock, removal):
    for _ in range(3):
        await put(store, "k", ttl=10 if removal in {"expire", "collect"} else 0)
    if removal == "delete":
        assert await store.delete("n", "k", if_version=3)
    elif removal == "range":
        assert await store.delete_range("n") == 1
    elif removal == "batch":
        assert await store.batch([Delete(("n", "k"))]) == [True]
    elif removal == "transact":
        assert await store.transact([("n", "k")], lambda *_: [Delete(("n", "k"))]) == [True]
    else:
        clock.advance(10)
        if removal == "collect":
            await store.collect_garbage()
    with pytest.raises(VersionConflictError) as caught:
        await store.write(Draft.create("n", "k", 1), if_version=3)
    assert caught.value.current_version is None
    entry, created = await store.write(Draft.create("n", "k", 1), create_only=True)
    assert (entry.version, created, entry.created_at) == (4, True, store.now())


async def test_a_failed_write_takes_no_version_and_tells_nobody(store):
    await put(store, "k")
    async with store.watch() as watch:
        with pytest.raises(VersionConflictError):
            await store.write(Draft.create("n", "k", 2), create_only=True)
        with pytest.raises(BatchItemError):
            await store.batch([Put(Draft.create("n", "k", 3)), Delete(("n", "k")), Delete(("n", "x"), if_version=1)])
        assert (await put(store, "k", 4)).version == 2
        assert [change.version for change in await watch.next()] == [2]


async def test_an_overwritten_entry_keeps_when_it_was_created_but_not_how_long_it_lives(store, clock):
    first = await put(store, "k", ttl=10)
    clock.advance(1)
    second = await put(store, "k", 2, tags=["t"])
    assert (second.created_at, second.updated_at) == (first.created_at, store.now())
    assert (second.ttl, second.expires_at, second.tags) == (0, None, ["t"])
    assert await store.get("n", "k") == second
    again, created = await store.write(Draft.create("n", "k", 3), if_version=2)
    assert (again.version, created) == (3, False)


async def test_an_atomic_batch_names_the_write_that_failed_and_undoes_the_others(store):
    await put(store, "a")
    for failing in (
        Put(Draft.create("n", "a", 2), create_only=True),
        Put(Draft.create("n", "a", 2), if_version=2),
        Delete(("n", "a"), if_version=2),
    ):
        with pytest.raises(BatchItemError) as caught:
            await store.batch([Put(Draft.create("n", "b", 1)), failing])
        assert (caught.value.index, caught.value.cause.current_version) == (1, 1)
        assert await listed(store) == ["a"]


async def test_in_a_batch_a_write_sees_those_before_it(store):
    results = await store.batch([
        Put(Draft.create("n", "a", 1), create_only=True),
        Put(Draft.create("n", "a", 2), if_version=1),
        Put(Draft.create("n", "a", 3), create_only=True),
        Delete(("n", "a"), if_version=2),
        Delete(("n", "a")),
    ], atomic=False)  # fmt: skip
    assert [created for _, created in results[:2]] == [True, False]
    assert (type(results[2]), results[2].current_version) == (VersionConflictError, 2)
    assert results[3:] == [True, False]


async def test_a_value_that_is_too_large_is_refused_wherever_it_is_written(store):
    large = Draft.create("n", "k", "x" * store.max_value_bytes)
    for call, field in (
        (store.write(large), "value"),
        (store.batch([Delete(("n", "k")), Put(large)], atomic=False), r"operations\[1\]\.value"),
        (store.transact([("n", "k")], lambda *_: [Put(large)]), "value"),
    ):
        with pytest.raises(InvalidInputError, match=f"^{field}: "):
            await call
    assert await listed(store) == []


async def test_a_transaction_writes_what_it_decides_or_nothing(store):
    await put(store, "a", 5)
    places = [("n", "a"), ("n", "b")]

    def move(entries, _):
        assert entries[1] is None
        return [Delete(places[0], entries[0].version), Put(Draft.create(*places[1], entries[0].value))]

    deleted, (entry, created) = await store.transact(places, move)
    assert (deleted, entry.value, created) == (True, 5, True)
    assert await listed(store) == ["b"]

    def fail(*_):
        raise InvalidInputError("decision", "made")

    for decide, error in (
        (fail, InvalidInputError),
        (lambda *_: [Delete(places[1]), Put(Draft.create("n", "a", 1), if_version=7)], VersionConflictError),
        (lambda *_: [Delete(places[1]), Put(Draft.create("n", "c", 1))], InternalStoreError),
        (lambda *_: 1 / 0, InternalStoreError),
    ):
        with pytest.raises(error):
            await store.transact(places, decide)
        assert await listed(store) == ["b"]


async def test_nothing_comes_between_what_a_transaction_reads_and_writes(store):
    def count(entries, _):
        return [Put(Draft.create("n", "k", 1 if entries[0] is None else entries[0].value + 1))]

    await asyncio.gather(*(store.transact([("n", "k")], count) for _ in range(20)))
    assert (await store.get("n", "k")).value == 20


async def test_transactions_commit_in_the_order_in_which_they_were_called(store):
    async with store.watch() as watch:
        calls = [
            store.transact([("n", key)], lambda *_, key=key: [Put(Draft.create("n", key, 1))]) for key in "dacb"
        ]  # fmt: skip
        await asyncio.gather(*calls)
        told = []
        while len(told) < 4:
            told += await watch.next()
    assert [change.key for change in told] == list("dacb")


async def test_a_range_is_deleted_with_all_that_is_in_it(store):
    await fill(store, ("n", "a"), ("n", "a\U0010ffff"), ("n", "ab"), ("n", "b"), ("m", "a"))
    assert await store.delete_range("n", prefix="a") == 3
    assert await listed(store) == ["b"]
    assert await store.counts(["m"]) == {"m": 1}


async def test_a_checked_write_finds_its_twin(store):
    refuse, link = DuplicateRule.create("refuse", 0.8), DuplicateRule.create("link", 0.8)
    await put(store, "far", vector=[0.0, 1.0])
    await put(store, "near", vector=[1.0, 0.5])
    await put(store, "elsewhere", namespace="other", vector=[1.0, 0.0])
    draft = Draft.create("n", "k", 1, vector=[1.0, 0.0])
    with pytest.raises(DuplicateError) as refused:
        await store.write_checked(draft, refuse)
    assert (refused.value.key, refused.value.cosine) == ("near", pytest.approx(0.894, abs=0.01))
    assert await store.get("n", "k") is None
    entry, created, twin = await store.write_checked(draft, link, create_only=True)
    assert (entry.metadata, created, twin.key) == ({"duplicate_of": "near"}, True, "near")
    with pytest.raises(VersionConflictError):
        await store.write_checked(draft, link, create_only=True)
    await store.delete("n", "near")
    results = await store.batch(
        [
            Put(draft, duplicates=refuse),
            Put(draft._replace(key="other"), duplicates=link),
            Put(draft._replace(key="third"), duplicates=refuse),
        ],
        atomic=False,
    )
    assert [result.twin and result.twin.key for result in results[:2]] == [None, "k"]
    assert isinstance(results[2], DuplicateError)
    with pytest.raises(InvalidInputError, match=r"^on_duplicate: the store has no embedder"):
        await store.write_checked(Draft.create("n", "none", 1), refuse)
