"""Searches take turns by their owners, step by step, and hold up nothing else."""

import asyncio
import os
import threading
from dataclasses import replace

import pytest

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.read.pool import PAGES, TEXTS
from swarm_operator.memory.sqlite.read.turns import Turns
from swarm_operator.memory.sqlite.search import by_text, planner, slices


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

    def start_steps(self, owner, *names):
        """A read of several steps, with these names."""
        self.ends.update((name, asyncio.Event()) for name in names)
        left = list(names)

        async def step():
            name = await self.read(left.pop(0))
            return None if left else name

        return asyncio.create_task(self.turns.run(owner, step))


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def reads():
    return Reads(Turns(max_of_owner=3))


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


async def test_a_read_of_many_steps_gives_its_turn_away_after_each(reads):
    tasks = [reads.start_steps("a", "a1.1", "a1.2", "a1.3", "a1.4"), reads.start("a", "a2")]
    await settle()
    tasks += [reads.start_steps("b", "b1.1", "b1.2"), reads.start("c", "c1")]
    for done in range(1, 9):
        await settle()
        assert len(reads.order) == done
        reads.ends[reads.order[-1]].set()
    assert reads.order == ["a1.1", "b1.1", "c1", "a1.2", "b1.2", "a1.3", "a1.4", "a2"]
    assert await asyncio.gather(*tasks) == ["a1.4", "a2", "b1.2", "c1"]


async def test_a_caller_that_goes_between_two_steps_leaves_its_place(reads):
    first, second = reads.start_steps("a", "a1.1", "a1.2"), reads.start_steps("b", "b1.1", "b1.2")
    await settle()
    reads.ends["a1.1"].set()
    await settle()
    first.cancel()
    await settle()
    for event in reads.ends.values():
        event.set()
    assert await second == "b1.2"
    assert reads.order == ["a1.1", "b1.1", "b1.2"]


async def test_so_many_steps_run_at_one_time():
    reads = Reads(Turns(2))
    tasks = [reads.start("a", f"a{number}") for number in range(4)]
    await settle()
    assert reads.order == ["a0", "a1"]
    reads.ends["a1"].set()
    await settle()
    assert reads.order == ["a0", "a1", "a2"]
    for event in reads.ends.values():
        event.set()
    assert await asyncio.gather(*tasks) == ["a0", "a1", "a2", "a3"]


async def test_so_many_reads_of_all_owners_wait():
    reads = Reads(Turns(max_waiting=2, max_of_owner=2))
    tasks = [reads.start_steps("a", "a1", "a2"), reads.start("b", "b1"), reads.start("c", "c1")]
    await settle()
    with pytest.raises(OverloadedError, match="2 are waiting"):
        await reads.turns.run("d", lambda: reads.read("never"))
    reads.ends["a1"].set()
    await settle()
    assert reads.order == ["a1", "b1"]
    # The read that has begun waits for its second step, too, and takes no place of those that have not.
    tasks.append(reads.start("d", "d1"))
    for event in reads.ends.values():
        event.set()
    assert await asyncio.gather(*tasks) == ["a2", "b1", "c1", "d1"]


async def test_an_owner_with_too_many_waiting_reads_is_refused_and_others_are_not(reads):
    tasks = [reads.start("a", f"a{number}") for number in range(4)]
    await settle()
    with pytest.raises(OverloadedError, match="3 of this token"):
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
        search, loop = planner.search, asyncio.get_running_loop()

        def held(db, query, *arguments, **options):
            if (query.expression is not None) is self._text:
                loop.call_soon_threadsafe(self._entered.set)
                assert self._release.wait(60)
            return search(db, query, *arguments, **options)

        self._monkeypatch.setattr(planner, "search", held)
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

    async def noted(self, worker, read):
        ran.append(worker)
        return await real(self, worker, read)

    monkeypatch.setattr(type(store._readers), "_read", noted)
    async with Held(monkeypatch, PAGES) as held:
        tasks = [asyncio.create_task(store.search(Query.create(tags=["t"]))) for _ in range(4)]
        await held.entered()
        listed = asyncio.create_task(store.list("n"))
        await settle()
        pages = store._readers._workers[PAGES]
        assert ran == [pages] * 2, "one search and the list are with the thread; three searches wait"
    await listed
    await asyncio.gather(*tasks)
    assert len(ran) == 5


async def test_searches_for_words_are_refused_when_too_many_of_an_owner_wait(tmp_path, monkeypatch, recorder):
    mine, other, third = (replace(Query.create(text="word"), owner=owner) for owner in ("mine", "other", "third"))
    config = StoreConfig(max_waiting_searches=4)
    async with SqliteStore.open(tmp_path / "db", config, observer=recorder) as store:
        await store.put("n", "k", "word")
        async with Held(monkeypatch, TEXTS) as held:
            tasks = [asyncio.create_task(store.search(mine)) for _ in range(2)]
            await held.entered()
            with pytest.raises(OverloadedError, match="1 of this token"):
                await asyncio.wait_for(store.search(mine), 30)
            tasks += [asyncio.create_task(store.search(replace(other, owner=f"other{number}"))) for number in range(3)]
            await settle()
            with pytest.raises(OverloadedError, match="4 are waiting"):
                await asyncio.wait_for(store.search(third), 30)
        assert all(len(page.hits) == 1 for page in await asyncio.gather(*tasks))
    assert sorted(recorder.searches) == [("words", 0)] * 2 + [("words", 1)] * 5


async def test_so_many_searches_for_words_run_at_one_time(tmp_path, monkeypatch):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_searches=2)) as store:
        await store.put("n", "k", "word")
        both = threading.Barrier(2)
        search = planner.search

        def meet(*arguments, **options):
            both.wait(60)
            return search(*arguments, **options)

        monkeypatch.setattr(planner, "search", meet)
        pages = await asyncio.gather(*(store.search(Query.create(text="word")) for _ in range(4)))
        assert [len(page.hits) for page in pages] == [1] * 4


async def test_only_searches_for_words_run_behind_all_else(either_store, monkeypatch):
    """With a rollback journal they run on the writer's thread."""
    await either_store.put("n", "k", "word")
    seen, search = {}, planner.search

    def nice(_db=None):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def noted(db, query, *arguments, **options):
        seen["words" if query.expression else "glob"] = nice()
        return search(db, query, *arguments, **options)

    monkeypatch.setattr(planner, "search", noted)
    await either_store.search(Query.create(text="word"))
    await either_store.search(Query.create(glob="*k"))
    usual = nice()
    behind = usual if either_store.config.enable_wal is False else max(usual, 10)
    assert seen == {"words": behind, "glob": usual}
    assert await either_store._worker.run(nice) == usual


@pytest.mark.parametrize("query", [{"glob": "*9"}, {"match": "(word NOT word) OR 009 OR 199"}])
async def test_a_search_of_many_slices_lets_others_have_their_turns(store, monkeypatch, query):
    """Another owner's search begins after it, and runs after its first slice."""
    await store.batch([Put(Draft.create("n", f"{number:03d}", "word")) for number in range(200)])
    long, short = (replace(Query.create(**query), owner=owner) for owner in ("long", "short"))
    order, real = [], planner.search

    def noted(db, asked, position, **options):
        order.append(asked.owner)
        return real(db, asked, position, **options)

    monkeypatch.setattr(planner, "search", noted)
    monkeypatch.setattr(by_text, "_INDEX_SECONDS", -1)
    monkeypatch.setattr(by_text, "_CHECK_INTERVAL", 1)
    monkeypatch.setattr(planner, "_BLOCK", 16)
    monkeypatch.setattr(planner, "_MAX_SECONDS", -1)
    monkeypatch.setattr(slices, "MAX_SECONDS", 60)
    page, first = await asyncio.gather(store.search(long), store.search(short, limit=1))
    assert order[:2] == ["long", "short"]
    assert order.count("long") >= 4
    assert (page.partial, page.position, len(first.hits)) == (False, None, 1)
    assert len(page.hits) == (20 if "glob" in query else 2)
