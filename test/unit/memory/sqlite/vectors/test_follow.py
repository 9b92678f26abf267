"""An embedder follows the feed: who waits for it, what a crash leaves, and what happens when it fails or changes."""

import asyncio

import pytest
from support.embedders import WordEmbedder, vector_of
from support.replacements import swap

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Mode
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.vectors import follow, index, pending, table


async def find(store, text, mode="meaning", **options):
    return await store.search(Query.create(text=text, mode=mode), **options)


def keys(page):
    return [hit.entry.key for hit in page.hits]


def opened(path, embedder, former=None, **settings):
    settings = {"probe_interval": 0.002, **settings}
    by_name = {} if former is None else {former.name: former}
    return SqliteStore.open(path / "memory.db", StoreConfig(**settings), embedder=embedder, former_embedder=by_name.get)


async def until(condition):
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.01)


async def embedded(store):
    stats = (await store.stats()).vectors
    return stats.lag == 0 and not stats.rebuilding


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_a_text_is_found_by_meaning_right_after_its_acknowledgement(tmp_path, enable_wal):
    async with opened(tmp_path, WordEmbedder(), enable_wal=enable_wal) as store:

        async def write(writer):
            for number in range(8):
                await store.put("n", f"{writer}-{number % 3}", {"says": f"vixen{writer}x{number} fox"})
                page = await find(store, f"vixen{writer}x{number}", limit=1)
                assert page.fresh
                assert keys(page) == [f"{writer}-{number % 3}"]

        await asyncio.gather(*(write(name) for name in "abcdef"))
        assert (await store.search(Query.create(text="fox"))).mode is Mode.HYBRID
    assert not check(tmp_path / "memory.db").findings


async def test_words_that_mean_the_same_are_found(tmp_path):
    async with opened(tmp_path, WordEmbedder()) as store:
        await store.put("n", "a", "the automobile")
        await store.put("n", "b", "some apples")
        assert keys(await find(store, "car"))[0] == "a"
        assert keys(await store.search(Query.create(text="car")))[0] == "a"
        assert keys(await find(store, "car", mode="words")) == []


async def test_a_text_of_which_the_model_knows_nothing_is_like_no_other(tmp_path):
    async with opened(tmp_path, WordEmbedder()) as store:
        await store.put("1", "2", 3)
        await store.put("n", "fox", 3)
        assert keys(await find(store, "fox")) == ["fox"]
        assert keys(await find(store, "???")) == []
        assert keys(await store.search(Query.create(text="fox 3"))) == ["fox"]
    assert not check(tmp_path / "memory.db").findings


async def test_a_clients_vector_is_kept(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder) as store:
        await store.put("n", "mine", "fox", vector=vector_of("words", 32, "car"))
        await store.put("n", "its", "fox")
        assert keys(await find(store, "car"))[0] == "mine"
        assert embedder.texts.count("mine\nfox") == 0
        with pytest.raises(InvalidInputError, match="vector: 32 numbers"):
            await store.put("elsewhere", "k", 1, vector=[1.0])
        await store.put("n", "mine", "fox")
        page = await find(store, "mine fox")
        assert (keys(page)[0], page.hits[0].cosine) == ("mine", pytest.approx(1, abs=1e-3))


async def test_an_old_vector_is_not_used_while_the_embedder_is_behind(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder, search_wait=0.01) as store:
        await store.put("n", "a", "fox")
        await until(lambda: embedded(store))
        embedder.gate.clear()
        await store.put("n", "a", "car")
        vector = vector_of("words", 32, "fox")
        page = await store.search(Query.create(vector=vector))
        assert (keys(page), page.fresh) == ([], False)
        assert (await store.stats()).vectors.lag == 1
        embedder.gate.set()

        async def fresh():
            return (await store.search(Query.create(vector=vector))).fresh

        await until(fresh)
        page = await store.search(Query.create(vector=vector))
        assert keys(page) == ["a"]
        assert page.hits[0].cosine < 0.9


async def test_an_entry_that_is_written_meanwhile_gets_no_old_vector(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder) as store:
        embedder.gate.clear()
        await store.put("n", "a", "fox")
        await asyncio.wait_for(embedder.asked.wait(), 60)
        await store.put("n", "a", "car")
        embedder.gate.set()
        await until(lambda: embedded(store))
        assert (await store.search(Query.create(vector=vector_of("words", 32, "a car")))).hits[0].cosine > 0.99


async def test_a_step_that_ends_at_any_statement_is_done_again(tmp_path, monkeypatch):
    """Vectors and position are committed together: what one of two transactions lost would never be found."""
    async with opened(tmp_path, WordEmbedder()) as store:
        fail_at = [0]

        def failing(name):
            whole = getattr(table, name)

            def step(*arguments):
                result = whole(*arguments)
                fail_at[0] -= 1
                if fail_at[0] == 0:
                    raise sqlite3.OperationalError("no step")
                return result

            monkeypatch.setattr(table, name, step)

        failing("store"), failing("set_progress")
        for number, failed in enumerate((1, 2), 1):
            fail_at[0] = failed
            await store.put("n", f"k{number}", f"fox{number}")
            await until(lambda number=number: failures(store, number))
            await until(lambda: embedded(store))
            assert keys(await find(store, f"k{number} fox{number}", limit=1)) == [f"k{number}"]
    assert not check(tmp_path / "memory.db").findings


async def failures(store, least):
    return (await store.stats()).vectors.failures >= least


async def test_what_was_not_embedded_is_embedded_after_a_restart(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder, search_wait=0) as store:
        await store.put("n", "a", "fox")
        await until(lambda: embedded(store))
        embedder.gate.clear()
        await store.put("n", "b", "car")
    embedder.gate.set()
    embedder.texts.clear()
    assert not check(tmp_path / "memory.db").findings
    async with opened(tmp_path, embedder) as store:
        assert sorted(keys(await find(store, "car"))) == ["a", "b"]
        assert sorted(embedder.texts) == ["b\ncar", "car"]


@pytest.mark.parametrize("gap", ["no embedder", "changes are gone", "an older file"])
async def test_entries_whose_changes_are_gone_are_looked_for(tmp_path, gap):
    embedder = WordEmbedder()
    async with opened(tmp_path, None if gap == "an older file" else embedder) as store:
        await store.put("n", "a", "fox")
        await until(lambda: embedded(store))
    if gap == "no embedder":
        async with opened(tmp_path, None, change_log_entries=1) as store:
            await store.put("n", "a", "fox fox")
            await store.put("n", "b", "car")
            await store.put("n", "c", "car")
    elif gap == "changes are gone":
        with sqlite3.connect(tmp_path / "memory.db") as db:
            db.execute("DELETE FROM vectors")
            db.execute("UPDATE vector_models SET position = -5")
        db.close()
    embedder.texts.clear()
    async with opened(tmp_path, embedder) as store:
        await until(lambda: embedded(store))
        page = await find(store, "fox")
        assert page.fresh
        assert keys(page)[0] == "a"
    assert embedder.texts[:1] == ["a\nfox fox" if gap == "no embedder" else "a\nfox"]
    assert not check(tmp_path / "memory.db").findings


async def test_failures_back_off_are_counted_and_make_no_search_wait(tmp_path):
    embedder = WordEmbedder()
    embedder.failing = True
    async with opened(tmp_path, embedder, probe_interval=0.01) as store:
        for number in range(5):
            await store.put("n", f"k{number}", "fox")
        await until(lambda: failures(store, 2))
        stats = (await store.stats()).vectors
        assert (stats.last_error, stats.embedded) == ("the embedder is away", 0)
        page = await store.search(Query.create(vector=vector_of("words", 32, "fox")))
        assert (keys(page), page.fresh) == ([], False)
        embedder.failing = False
        await until(lambda: embedded(store))
        stats = (await store.stats()).vectors
        assert (stats.last_error, stats.embedded, stats.entries) == (None, 5, 5)


async def test_a_text_that_the_embedder_refuses_does_not_hold_up_others(tmp_path):
    embedder = WordEmbedder()
    embedder.refused = "poison"
    async with opened(tmp_path, embedder) as store:
        for number in range(6):
            await store.put("n", f"k{number}", "poison" if number == 3 else "fox")
        await until(lambda: embedded(store))
        assert sorted(keys(await find(store, "fox"))) == ["k0", "k1", "k2", "k4", "k5"]
    assert not check(tmp_path / "memory.db").findings


async def test_searches_use_the_former_model_until_all_is_embedded_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(pending, "_MAX_ROWS", 4)
    monkeypatch.setattr(follow, "MAX_TEXTS", 4)
    monkeypatch.setattr(index, "_DROPPED_AT_ONCE", 3)
    former, current = WordEmbedder("former", 16), WordEmbedder("current", 24)
    async with opened(tmp_path, former) as store:
        for number in range(10):
            await store.put("n", f"k{number}", f"fox{number}")
        assert (await find(store, "fox3")).fresh
    current.gate.clear()
    async with opened(tmp_path, current, former) as store:
        await store.put("n", "new", "vixen")
        page = await find(store, "new fox")
        assert (keys(page)[0], page.fresh) == ("new", True)
        assert keys(await find(store, "k3 fox3"))[0] == "k3"
        assert (await store.stats()).vectors.rebuilding
        current.gate.set()
        await until(lambda: embedded(store))
        assert keys(await find(store, "k3 fox3"))[0] == "k3"
        assert current.texts[-1] == "k3 fox3"

        async def only_the_new_ones():
            return (await store.stats()).vectors.entries == 11

        await until(only_the_new_ones)
        assert (await store.stats()).vectors.model == "current"
    assert not check(tmp_path / "memory.db").findings


async def test_a_restored_backup_is_embedded_where_it_lacks_vectors(tmp_path):
    embedder = WordEmbedder()
    async with opened(tmp_path, embedder, search_wait=0) as store:
        await store.put("n", "a", "fox")
        await until(lambda: embedded(store))
        embedder.gate.clear()
        await store.put("n", "b", "car")
        (tmp_path / "restored").mkdir()
        await store.backup(tmp_path / "restored" / "copy.db")
        embedder.gate.set()
        await store.put("n", "c", "apple")
        await until(lambda: embedded(store))

        async def nothing(_):
            pass

        embedder.texts.clear()
        await store.replace(tmp_path / "restored" / "copy.db", former=tmp_path / "former.db", before=nothing)

        async def fresh():
            return (await find(store, "car")).fresh

        await until(fresh)
        assert sorted(keys(await find(store, "car"))) == ["a", "b"]
        assert embedder.texts.count("b\ncar") >= 1
        assert embedder.texts.count("a\nfox") == 0
    assert not check(tmp_path / "memory.db").findings


@pytest.fixture
async def replaceable(tmp_path):
    """A store with one entry, and a copy of another with twenty, whose log of vectors begins like the store's."""
    (tmp_path / "other").mkdir()
    async with opened(tmp_path / "other", WordEmbedder()) as other:
        for number in range(20):
            await other.put("n", f"k{number:02}", f"fox {number}")
        await until(lambda: embedded(other))
        await other.backup(tmp_path / "other" / "copy.db")
    async with opened(tmp_path, WordEmbedder(), search_wait=10) as store:
        for _ in range(5):
            await store.put("n", "former", "fox")
            await until(lambda: embedded(store))
        assert keys(await find(store, "vixen")) == ["former"]
        yield store


@pytest.mark.parametrize("mode", ["meaning", "hybrid"])
async def test_a_search_before_whose_read_the_database_is_replaced_begins_anew(
    replaceable, tmp_path, monkeypatch, mode
):
    """The bits of the former database lack row IDs of the new one, whose log does not tell."""
    store, reads = replaceable, []
    real = store._readers.read_texts

    async def read_texts(owner, read):
        reads.append(owner)
        if len(reads) == 1:
            await swap(store, tmp_path / "other" / "copy.db")
        return await real(owner, read)

    monkeypatch.setattr(store._readers, "read_texts", read_texts)
    page = await find(store, "vixen", mode=mode)
    assert sorted(keys(page)) == [f"k{number:02}" for number in range(20)]
    assert (page.mode, page.partial, page.fresh) == (Mode(mode), False, True)
    assert len(reads) == 2


async def test_a_search_uses_no_model_of_the_former_database(replaceable, tmp_path, monkeypatch):
    store, gate = replaceable, asyncio.Event()
    real = store._vectors._step

    async def step(function):
        await gate.wait()
        return await real(function)

    monkeypatch.setattr(store._vectors, "_step", step)
    monkeypatch.setattr(store._vectors, "_config", StoreConfig(search_wait=0))
    await swap(store, tmp_path / "other" / "copy.db")
    page = await find(store, "vixen")
    assert (page.mode, page.hits, page.partial, page.fresh) == (Mode.MEANING, [], True, False)
    page = await find(store, "fox", mode="hybrid")
    assert (page.mode, len(page.hits)) == (Mode.WORDS, 20)
    gate.set()

    async def by_meaning():
        return (await find(store, "vixen")).fresh

    await until(by_meaning)
    page = await find(store, "vixen", mode="hybrid")
    assert (page.mode, len(page.hits), page.fresh) == (Mode.HYBRID, 20, True)
