"""The change feed: complete, in order, resumable, and nobody's burden."""

import asyncio
import contextlib

import pytest

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.errors import InvalidInputError, MissedChangesError, StoreClosedError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig, changes


def brief(found):
    return [(change.seq, Op(change.op).name.lower(), change.key, change.version) for change in found]


async def everything(store, since=0, **options):
    """All changes after a position that there are now."""
    found = []
    async with store.watch(since=since, **options) as watch:
        while watch.position < store._feed.newest:
            found += await watch.next(0.001)
    return found


async def test_each_commit_tells_what_it_changed_in_order(either_store, clock):
    store = either_store
    async with store.watch() as watch:
        await store.put("n", "a", 1)
        assert brief(await watch.next()) == [(1, "put", "a", 1)]
        await store.put("n", "a", 2, ttl=1)
        await store.batch([Put(Draft.create("n", "b", 1)), Delete(("n", "b")), Put(Draft.create("n", "c", 1))])
        await store.delete("n", "never")
        found = await watch.next()
        found += await watch.next(0.001)
        assert brief(found) == [(2, "put", "a", 2), (3, "put", "b", 1), (4, "delete", "b", 1), (5, "put", "c", 2)]
        assert {change.at for change in found} == {int(clock() * 1000)}
        clock.advance(1)
        await store.collect_garbage()
        assert brief(await watch.next()) == [(6, "expire", "a", 2)]
        await store.put("n", "d", 1, ttl=1)
        clock.advance(1)
        assert not await store.delete("n", "d")
        await watch.next()
        assert brief(await everything(store, 6)) == [(7, "put", "d", 3), (8, "expire", "d", 3)]


async def test_what_was_undone_is_not_told(store):
    async with store.watch() as watch:
        with pytest.raises(Exception, match="operations"):
            await store.batch([Put(Draft.create("n", "a", 1)), Put(Draft.create("n", "a", 1), create_only=True)])
        await store.update("n", "a", lambda _: None)
        await store.put("n", "b", 1)
        assert brief(await watch.next()) == [(1, "put", "b", 1)]


async def test_a_watch_is_told_only_what_it_asked_for(store):
    async with store.watch("n", prefix="x") as watch, store.watch("other") as other:
        for namespace, key in (("n", "y"), ("m", "x1"), ("n", "x2"), ("n", "x3")):
            await store.put(namespace, key, 1)
        assert [change.key for change in await watch.next() + await watch.next(0.001)] == ["x2", "x3"]
        assert await other.next(0.001) == []
    assert [change.key for change in await everything(store, namespace="n", prefix="x")] == ["x2", "x3"]


async def test_a_watch_can_go_back_and_go_on_after_a_restart(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        for number in range(3):
            await store.put("n", str(number), number)
    async with SqliteStore.open(path) as store:
        await store.put("n", "3", 3)
        assert [change.seq for change in await everything(store, 1)] == [2, 3, 4]
        async with store.watch(since=4) as watch:
            assert await watch.next(0.001) == []


async def test_from_memory_or_from_the_table_it_is_the_same_feed(store, monkeypatch):
    monkeypatch.setattr(changes, "_MOST_KEPT", 10)
    monkeypatch.setattr(changes, "PAGE", 7)
    async with store.watch() as slow, store.watch() as quick:
        seen = []
        for number in range(100):
            await store.put("n", str(number), number)
            seen += await quick.next(0.001)
        assert [change.key for change in seen] == [str(number) for number in range(100)]
        assert len(store._feed._commits) <= 10
        behind = []
        while len(behind) < 100:
            behind += await slow.next()
        assert behind == seen
    assert not store._feed._watches
    await store.put("n", "x", 1)
    assert not store._feed._commits
    assert await everything(store, 99) == [*seen[99:], *await everything(store, 100)]


async def test_one_that_falls_behind_the_table_is_told_what_it_missed_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(changes, "_MOST_KEPT", 1)
    config = StoreConfig(change_log_entries=5, full_text=False)
    async with SqliteStore.open(tmp_path / "db", config) as store, store.watch() as watch:
        for number in range(20):
            await store.put("n", str(number), number)
        with pytest.raises(MissedChangesError) as caught:
            await watch.next()
        assert (caught.value.since, caught.value.oldest) == (0, 15)
        assert [change.seq for change in await watch.next()] == [16, 17, 18, 19, 20]


async def test_the_table_is_bounded_and_positions_outside_of_it_are_refused(tmp_path):
    path, config = tmp_path / "db", StoreConfig(change_log_entries=5, full_text=False)
    async with SqliteStore.open(path) as store:
        await store.batch([Put(Draft.create("n", str(number), 1)) for number in range(100)])
    async with SqliteStore.open(path, config) as store:
        # More than it may be, it gets shorter with each commit, by twice what came.
        await store.batch([Put(Draft.create("n", str(number), 1)) for number in range(20)])
        count = "SELECT count(*), min(seq), max(seq) FROM changes"
        assert await store._worker.run(lambda db: db.execute(count).fetchone()) == (80, 41, 120)
        for since in (39, 121):
            with pytest.raises(MissedChangesError) as caught:
                async with store.watch(since=since):
                    pass
            assert caught.value.oldest == 40
        assert len(await everything(store, 40)) == 80
        await store.batch([Put(Draft.create("n", str(number), 1)) for number in range(500)])
        assert await store._worker.run(lambda db: db.execute(count).fetchone()) == (5, 616, 620)


async def test_old_changes_go_with_a_collection_but_the_count_stays(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(changes, "PAGE", 3)
    config = StoreConfig(change_log_seconds=60, full_text=False)
    async with SqliteStore.open(tmp_path / "db", config, clock=clock) as store:
        for number in range(10):
            await store.put("n", str(number), number)
        clock.advance(50)
        await store.put("n", "young", 1)
        clock.advance(20)
        await store.collect_garbage()
        assert [change.key for change in await everything(store, 10)] == ["young"]
        with pytest.raises(MissedChangesError):
            await everything(store, 9)
        clock.advance(100)
        await store.collect_garbage()
        async with store.watch() as watch:
            await store.put("n", "next", 1)
            assert [change.seq for change in await watch.next()] == [12]


async def test_a_watch_that_waits_ends_with_the_store(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        async with store.watch() as watch:
            waiting = asyncio.ensure_future(watch.next())
            await asyncio.sleep(0)
            await store._close()
            with pytest.raises(StoreClosedError):
                await waiting
        with pytest.raises(StoreClosedError):
            async with store.watch():
                pass


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"namespace": ""}, "namespace"),
        ({"prefix": "\0"}, "prefix"),
        ({"since": -1}, "since"),
        ({"since": "1"}, "since"),
    ],
)
async def test_what_cannot_be_watched_is_named(store, options, field):
    with pytest.raises(InvalidInputError) as caught:
        async with store.watch(**options):
            pass
    assert caught.value.field == field


async def test_the_bounds_of_the_table_are_found_without_reading_it(store):
    plan = await store._worker.run(lambda db: db.execute("EXPLAIN QUERY PLAN " + changes._BOUNDS).fetchall())
    assert {row[3] for row in plan} == {"SCAN CONSTANT ROW", "SCALAR SUBQUERY 1", "SCALAR SUBQUERY 2", "SEARCH changes"}


async def test_a_watch_may_begin_in_the_middle_of_a_commit(store):
    async with store.watch():
        await store.batch([Put(Draft.create("n", str(number), number)) for number in range(3)])
        async with store.watch(since=2) as watch:
            assert [change.seq for change in await watch.next(0.001)] == [3]


async def test_a_watch_misses_no_change_that_is_committed_while_it_begins(tmp_path):
    """The watch is registered before the table is read: changes that are trimmed after the read are kept in memory."""
    async with SqliteStore.open(tmp_path / "db", StoreConfig(change_log_entries=5)) as store:
        await store.put("n", "before", 1)
        real = store._readers.changes

        async def overtaken(since):
            page = await real(since)
            for number in range(20):
                await store.put("n", str(number), number)
            return page

        store._readers.changes = overtaken
        async with store.watch(since=1) as watch:
            assert [change.key for change in await watch.next(0.001)] == [str(number) for number in range(20)]


async def test_many_watches_are_woken_a_few_in_each_turn(store):
    async with contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(store.watch()) for _ in range(3 * changes._WOKEN)]
        woken = []
        store._feed.publish([Change(1, "n", "a", Op.PUT, 1, 1, None)])
        for _ in range(3):
            woken.append(sum(watch._wakeup.is_set() for watch in watches))
            await asyncio.sleep(0)
        assert woken == [changes._WOKEN, 2 * changes._WOKEN, 3 * changes._WOKEN]
        assert [len(await watch.next()) for watch in watches] == [1] * len(watches)
