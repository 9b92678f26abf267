"""Operations of several entries: batches, read-modify-write, deleting many."""

import asyncio

import pytest

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.core.errors import (
    BatchItemError,
    InternalStoreError,
    InvalidInputError,
    OverloadedError,
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.gc import sweep


def put(key, value, **conditions):
    return Put(Draft.create("n", key, value), **conditions)


async def contents(store):
    return {entry.key: entry.value for entry in (await store.list("n", limit=1000)).entries}


async def test_a_batch_is_one_transaction_and_its_results_are_in_order(store):
    await store.put("n", "old", 0)
    results = await store.batch([put("a", 1), Delete(("n", "old")), put("a", 2), Delete(("n", "none"))])
    assert [(results[0][0].version, results[0][1]), results[1], (results[2][0].version, results[2][1]), results[3]] == [
        (1, True), True, (2, False), False,
    ]  # fmt: skip
    assert await contents(store) == {"a": 2}


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_an_atomic_batch_that_fails_wrote_nothing_and_names_the_write(store, position):
    await store.put("n", "there", 0)
    writes = [put("a", 1), Delete(("n", "there"))]
    writes.insert(position, put("b", 1, if_version=7))
    with pytest.raises(BatchItemError) as caught:
        await store.batch(writes)
    assert caught.value.index == position
    assert isinstance(caught.value.cause, VersionConflictError)
    assert await contents(store) == {"there": 0}
    assert (await store.stats()).entries == 1


async def test_in_a_batch_that_is_not_atomic_each_write_stands_alone(store):
    results = await store.batch([put("a", 1), put("a", 2, create_only=True), put("b", 3)], atomic=False)
    assert results[1].current_version == 1
    assert await contents(store) == {"a": 1, "b": 3}


async def test_a_batch_that_fails_leaves_its_batch_mates_alone(store):
    good = [asyncio.ensure_future(store.put("n", f"k{number}", number)) for number in range(5)]
    bad = asyncio.ensure_future(store.batch([put("x", 1), put("k1", 1, if_version=9)]))
    good.append(asyncio.ensure_future(store.put("n", "last", 1)))
    assert isinstance((await asyncio.gather(bad, return_exceptions=True))[0], BatchItemError)
    await asyncio.gather(*good)
    assert set(await contents(store)) == {"k0", "k1", "k2", "k3", "k4", "last"}


async def test_reads_see_what_a_batch_wrote_also_where_they_had_a_copy(store):
    await store.put("n", "a", 0)
    assert (await store.get("n", "a")).value == 0
    await store.batch([put("a", 1), put("b", 1)])
    assert [entry and entry.value for entry in await store.get_many([("n", "a"), ("n", "none"), ("n", "b")])] == [
        1, None, 1,
    ]  # fmt: skip
    await store.batch([Delete(("n", "a"))])
    assert await store.get("n", "a") is None


async def test_a_batch_is_compressed_as_single_writes_are(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=100)) as store:
        await store.batch([put("long", "x" * 10_000), put("short", "x")])
        assert (await store.stats()).compressed_entries == 1
        assert (await store.get("n", "long")).value == "x" * 10_000


async def test_a_batch_has_limits(store):
    with pytest.raises(InvalidInputError, match="operations: at most 1000"):
        await store.batch([put("a", 1)] * 1001)
    with pytest.raises(InvalidInputError, match="operations: at most 1000"):
        await store.get_many([("n", "a")] * 1001)
    with pytest.raises(InvalidInputError, match="key"):
        await store.batch([put("a", 1), Delete(("n", ""))])
    assert await store.batch([]) == []
    assert await contents(store) == {}


async def test_a_value_that_is_too_long_is_named(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_value_bytes=100)) as store:
        with pytest.raises(InvalidInputError, match=r"operations\[1\]\.value: at most 100 bytes"):
            await store.batch([put("a", 1), put("b", "x" * 100)])


async def test_the_queue_is_bounded_by_entries_and_takes_any_batch_when_empty(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_queue=10)) as store:
        first = asyncio.ensure_future(store.batch([put(f"a{number}", 1) for number in range(50)]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="50 writes are waiting"):
            await store.put("n", "b", 1)
        await first
        await store.put("n", "b", 1)


async def test_batches_are_committed_together_up_to_the_bound_of_entries(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_batch=100), observer=recorder) as store:
        await asyncio.gather(*(store.batch([put(f"{b}-{n}", n) for n in range(40)]) for b in range(5)))
        assert recorder.batches == [2, 2, 1]


async def test_a_transaction_reads_decides_and_writes_with_nothing_in_between(store):
    def increment(entries, _now):
        return [put("counter", 1 if entries[0] is None else entries[0].value + 1)]

    await asyncio.gather(*(store.transact([("n", "counter")], increment) for _ in range(200)))
    assert (await store.get("n", "counter")).value == 200


async def test_a_transaction_moves_something_from_one_entry_to_another_or_does_nothing(store):
    def move(entries, _now):
        source, target = entries
        if source.value == 0:
            raise VersionConflictError(source.version)
        return [put("a", source.value - 1), put("b", target.value + 1)]

    await store.batch([put("a", 5), put("b", 0)])
    results = await asyncio.gather(
        *(store.transact([("n", "a"), ("n", "b")], move) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, VersionConflictError) for result in results) == 3
    assert await contents(store) == {"a": 0, "b": 5}


async def test_a_transaction_does_not_see_what_has_expired(store, clock):
    await store.put("n", "a", 1, ttl=5)
    clock.advance(5)
    seen = []

    def look(entries, now):
        seen.append((entries, now))
        return []

    assert await store.transact([("n", "a")], look) == []
    assert seen == [([None], int(clock() * 1000))]


async def test_a_transaction_writes_only_what_it_announced_and_stores_it_as_any_write(tmp_path):
    config = StoreConfig(compression_threshold=100, max_value_bytes=20_000)
    async with SqliteStore.open(tmp_path / "db", config) as store:
        with pytest.raises(InternalStoreError, match="had not announced"):
            await store.transact([("n", "a")], lambda *_: [put("a", 1), put("b", 1)])
        with pytest.raises(InvalidInputError, match="value: at most 20000 bytes"):
            await store.transact([("n", "a")], lambda *_: [put("a", "x" * 30_000)])
        assert await contents(store) == {}
        await store.transact([("n", "a")], lambda *_: [put("a", "x" * 10_000)])
        assert (await store.stats()).compressed_entries == 1


async def test_many_entries_are_deleted_in_steps_between_which_others_write(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", observer=recorder) as store:
        for start in range(0, 1000, 500):
            await store.batch([put(f"k{number:04}", number) for number in range(start, start + 500)])
        await store.batch([put("other", 1), Put(Draft.create("m", "k", 1))])
        recorder.batches.clear()
        assert await store.delete_range("n", prefix="k") == 1000
        assert recorder.batches == [1] * 5
        assert await contents(store) == {"other": 1}
        assert await store.delete_range("n") == 1
        assert (await store.stats()).entries == 1


async def test_long_texts_are_deleted_in_shorter_steps(tmp_path, clock, recorder):
    config = StoreConfig(compression_threshold=1)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock, observer=recorder) as store:
        text = "word " * 8_000  # 40 kB, and next to nothing when compressed
        await store.batch([put(f"k{number}", text) for number in range(9)])
        recorder.batches.clear()
        assert await store.delete_range("n") == 9
        assert recorder.batches == [1] * 3
        for number in range(9):
            await store.put("n", str(number), text, ttl=1)
        clock.advance(1)
        found = await store._worker.run(lambda db: sweep.find(db, int(clock() * 1000)))
        assert len(found) == 6
        assert (await store.collect_garbage()).entries == 9


async def test_deleting_many_does_not_count_the_expired(store, clock):
    await store.put("n", "a", 1, ttl=1)
    await store.put("n", "b", 1)
    clock.advance(1)
    assert await store.delete_range("n") == 1
    assert (await store.collect_garbage()).entries == 0


@pytest.mark.parametrize("prefix", ["é", "\U0010ffff", "a%"])
async def test_a_prefix_is_taken_literally(store, prefix):
    await store.batch([put(prefix + "1", 1), put("a", 1), put("ab", 1)])
    assert await store.delete_range("n", prefix=prefix) == 1
    assert await contents(store) == {"a": 1, "ab": 1}
