"""Searches take turns by their owners, and hold up nothing else."""

import asyncio
import threading
from dataclasses import replace

import pytest

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.sqlite.read import pool
from swarm_operator.memory.sqlite.read.pool import PAGES, TEXTS
from swarm_operator.memory.sqlite.read.turns import Turns


class Reads:
    """Reads that end when they are told to."""

    def __init__(self, turns):
        self.turns = turns
        self.order = []
        self.ends = {}

    async def read(self, name):
        self.order.append(name)
        await self.ends[name].wait()
        return name

    def start(self, owner, name):
        self.ends[name] = asyncio.Event()
        return asyncio.create_task(self.turns.run(owner, lambda: self.read(name)))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def reads():
    return Reads(Turns(3))


async def test_owners_take_turns_and_one_read_runs_at_a_time(reads):
    tasks = [reads.start(name[0], name) for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2")]
    for done in range(1, 8):
        await settle()
        assert len(reads.order) == done
        reads.ends[reads.order[-1]].set()
    assert reads.order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert await asyncio.gather(*tasks) == ["a1", "a2", "a3", "a4", "b1", "c1", "b2"]
    again = reads.start("a", "a5")
    reads.ends["a5"].set()
    assert await again == "a5"


async def test_an_owner_with_too_many_waiting_reads_is_refused_and_others_are_not(reads):
    tasks = [reads.start("a", f"a{number}") for number in range(4)]
    await settle()
    with pytest.raises(OverloadedError, match="3 searches of this token"):
        await reads.turns.run("a", lambda: reads.read("never"))
    tasks.append(reads.start("b", "b"))
    for event in reads.ends.values():
        event.set()
    assert len(await asyncio.gather(*tasks)) == 5


async def test_a_read_whose_caller_has_gone_keeps_its_turn_until_it_ends(reads):
    first, second = reads.start("a", "a1"), reads.start("b", "b1")
    await settle()
    first.cancel()
    await settle()
    assert (first.cancelled(), reads.order) == (True, ["a1"])
    reads.ends["a1"].set()
    await settle()
    assert reads.order == ["a1", "b1"]
    reads.ends["b1"].set()
    assert await second == "b1"


async def test_one_that_waits_and_goes_leaves_its_place(reads):
    first = reads.start("a", "a1")
    gone = [reads.start("a", f"gone{number}") for number in range(3)]
    other = reads.start("b", "b1")
    await settle()
    for task in gone:
        task.cancel()
    await settle()
    last = reads.start("a", "a2")
    await settle()
    for event in reads.ends.values():
        event.set()
    assert await asyncio.gather(first, other, last) == ["a1", "b1", "a2"]
    assert reads.order == ["a1", "b1", "a2"]


async def test_a_turn_that_was_given_to_one_who_goes_is_passed_on(reads):
    first, second, third = reads.start("a", "a1"), reads.start("b", "b1"), reads.start("c", "c1")
    await settle()
    reads.turns._next()  # as when the first one ends, and before the second one runs
    second.cancel()
    await settle()
    assert reads.order == ["a1", "c1"]
    for event in reads.ends.values():
        event.set()
    assert await asyncio.gather(first, third) == ["a1", "c1"]


async def test_an_error_of_a_read_is_its_caller_s_and_ends_its_turn(reads):
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await reads.turns.run("a", fail)
    task = reads.start("a", "a1")
    reads.ends["a1"].set()
    assert await task == "a1"


class Held:
    """Holds up a kind of searches inside their thread, until the end of this context."""

    def __init__(self, monkeypatch, kind):
        self._monkeypatch = monkeypatch
        self._text = kind == TEXTS
        self._release = threading.Event()
        self._entered = asyncio.Event()

    async def __aenter__(self):
        search, loop = pool.search, asyncio.get_running_loop()

        def held(db, query, *arguments, **options):
            if (query.expression is not None) is self._text:
                loop.call_soon_threadsafe(self._entered.set)
                assert self._release.wait(60)
            return search(db, query, *arguments, **options)

        self._monkeypatch.setattr(pool, "search", held)
        return self

    async def entered(self):
        await self._entered.wait()

    async def __aexit__(self, *_):
        self._release.set()


async def test_while_searches_for_words_are_held_up_all_else_is_answered(store, monkeypatch):
    await store.put("n", "k", "word", tags=["t"])
    store._cache.discard(("n", "k"))
    async with Held(monkeypatch, TEXTS) as held:
        tasks = [asyncio.create_task(store.search(Query.create(text="word"))) for _ in range(4)]
        await held.entered()
        assert [entry.key for entry in (await store.list("n", limit=1)).entries] == ["k"]
        assert (await store.get("n", "k")).value == "word"
        assert len((await store.search(Query.create(tags=["t"]))).hits) == 1
        assert len((await store.namespaces()).namespaces) == 1
        await store.put("n", "other", "thing")
        assert store._readers.under_way[TEXTS] == 4
    assert [page.candidates for page in await asyncio.gather(*tasks)] == [1] * 4


async def test_a_list_waits_for_one_search_at_most(store, monkeypatch):
    await store.put("n", "k", "word", tags=["t"])
    ran = []
    real = type(store._readers)._read

    async def noted(self, kind, read):
        ran.append(kind)
        return await real(self, kind, read)

    monkeypatch.setattr(type(store._readers), "_read", noted)
    async with Held(monkeypatch, PAGES) as held:
        tasks = [asyncio.create_task(store.search(Query.create(tags=["t"]))) for _ in range(4)]
        await held.entered()
        listed = asyncio.create_task(store.list("n"))
        await settle()
        assert ran == [PAGES, PAGES], "one search and the list are with the thread; three searches wait"
    await listed
    await asyncio.gather(*tasks)
    assert len(ran) == 5


async def test_searches_for_words_are_refused_when_too_many_of_an_owner_wait(store, monkeypatch):
    await store.put("n", "k", "word")
    mine, other = (replace(Query.create(text="word"), owner=owner) for owner in ("mine", "other"))
    async with Held(monkeypatch, TEXTS) as held:
        tasks = [asyncio.create_task(store.search(mine)) for _ in range(1 + pool.MAX_WAITING_TEXTS)]
        await held.entered()
        with pytest.raises(OverloadedError):
            await asyncio.wait_for(store.search(mine), 30)
        tasks.append(asyncio.create_task(store.search(other)))
    assert all(len(page.hits) == 1 for page in await asyncio.gather(*tasks))
