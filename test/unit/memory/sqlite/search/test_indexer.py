"""The index of words follows the feed: who waits for it, who is slowed down, and what a crash leaves."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.budget import budget
from support.index import indexed

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.errors import InternalStoreError
from swarm_operator.memory.core.stats import IndexStats
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import by_text, indexer, planner, words

WRITERS = Path(__file__).with_name("killed_writers.py")


def put(key, value, namespace="n"):
    return Put(Draft.create(namespace, key, value))


async def find(store, text, within=None, **options):
    return await store.search(replace(Query.create(text=text), within=within), **options)


def keys(page):
    return [hit.entry.key for hit in page.hits]


@contextlib.contextmanager
def no_steps(monkeypatch):
    """Let each step of the index fail."""

    def fail(_, language):
        raise sqlite3.OperationalError("no step")

    with monkeypatch.context() as patched:
        patched.setattr(words, "advance", fail)
        yield


WRITES = budget(48, long=128)


async def test_sixteen_writers_find_each_value_right_after_its_acknowledgement(tmp_path):
    async def write(store, writer):
        found = 0
        for number in range(WRITES):
            key = f"{writer}-{number % 8}"
            await store.put("n", key, f"writer{writer}number{number} common")
            page = await find(store, f"writer{writer}number{number}")
            assert page.fresh
            while page.partial:  # on a machine that hardly runs
                page = await find(store, f"writer{writer}number{number}", position=page.position)
            found += keys(page) == [key]
            if number >= 8:
                assert keys(await find(store, f"writer{writer}number{number - 8}")) == []
        return found

    async with SqliteStore.open(tmp_path / "db", StoreConfig(search_wait=60)) as store:
        assert sum(await asyncio.gather(*(write(store, writer) for writer in range(16)))) == 16 * WRITES
    assert check(tmp_path / "db").ok


async def test_the_words_of_a_commit_are_not_in_it(store, monkeypatch):
    with no_steps(monkeypatch):
        await store.put("n", "k", "word")
        rows = await store._worker.run(lambda db: db.execute("SELECT count(*) FROM entries_text_docsize").fetchone())
        assert rows == (0,)
        assert (await store.stats()).index == IndexStats(lag=1)


async def test_a_search_that_could_not_wait_says_so_and_shows_nothing_that_is_gone(tmp_path, monkeypatch, recorder):
    config = StoreConfig(search_wait=0.001, probe_interval=0.001)
    async with SqliteStore.open(tmp_path / "db", config, observer=recorder) as store:
        await store.batch(
            [put("changed", "red red red green"), put("deleted", "red"), put("kept", "red"), put("other", "red")]
        )
        await indexed(store)
        with no_steps(monkeypatch):
            await store.batch(
                [put("changed", "green"), Delete(("n", "deleted")), put("new", "red"), put("other", "red 2")]
            )
            page = await find(store, "red")
            assert not page.fresh
            assert sorted(keys(page)) == ["kept", "other"]
            page = await find(store, "red", within=("n",))
            assert sorted(keys(page)) == ["kept", "other"]
            assert keys(await find(store, "green")) == ["changed"]
            first = await find(store, "red", limit=1)
            last = await find(store, "red", limit=1, position=first.position)
            assert (sorted(keys(first) + keys(last)), last.position) == (["kept", "other"], None)
            assert any("index of words: no step" in reason for _, reason in recorder.failures)
        await indexed(store)
        page = await find(store, "red")
        assert page.fresh
        assert sorted(keys(page)) == ["kept", "new", "other"]


async def test_a_long_text_is_not_kept_when_its_row_changes(tmp_path, monkeypatch):
    """A full disk has no room for it when entries are deleted."""
    config = StoreConfig(search_wait=0.001, probe_interval=0.001, compression_threshold=6000)
    plain, compressed = "red " * 1100, "red " * 5000
    async with SqliteStore.open(tmp_path / "db", config) as store:
        await store.batch([put(f"{name}-{len(each)}", each) for each in (plain, compressed) for name in "abc"])
        await indexed(store)
        with no_steps(monkeypatch):
            for each in (plain, compressed):
                await store.delete("n", f"a-{len(each)}")
                await store.put("n", f"b-{len(each)}", "blue")
            assert await store._worker.run(words.replaced) == frozenset()
            assert sorted(keys(await find(store, "red"))) == ["c-20000", "c-4400"]
        await indexed(store)
        assert sorted(keys(await find(store, "blue"))) == ["b-20000", "b-4400"]
    assert check(tmp_path / "db").ok


@pytest.mark.parametrize("taken", [False, True])
async def test_a_row_id_that_another_namespace_has_taken_tells_nothing_of_it(tmp_path, monkeypatch, taken):
    """What a limited token is answered is the same whether the other namespace has such an entry or none."""
    config = StoreConfig(search_wait=0.001, probe_interval=0.001)
    async with SqliteStore.open(tmp_path / "db", config) as store:
        await store.batch([put("stays", "red"), put("goes", "red red red")])
        await indexed(store)
        with no_steps(monkeypatch):
            await store.delete("n", "goes")
            if taken:
                await store.batch([put("secret", "red red red and more", namespace="foreign")])
                ids = "SELECT id FROM entries WHERE key = 'secret'"
                assert await store._worker.run(lambda db: db.execute(ids).fetchone()) == (2,)
            for text in ("red", "red NOT green"):
                query = {"match": text} if "NOT" in text else {"text": text}
                page = await store.search(replace(Query.create(**query), within=("n",)))
                assert [(hit.entry.key, hit.score) for hit in page.hits] == [("stays", page.hits[0].score)]
                assert page.candidates == (1 if text == "red" else page.candidates)
                first = await store.search(replace(Query.create(**query), within=("n",)), limit=1)
                assert "foreign" not in repr(first.position)
                assert page.hits[0].score == pytest.approx(1e-06, rel=1)
            monkeypatch.setattr(by_text, "MAX_RANKED", 0)  # the newest first
            monkeypatch.setattr(planner, "MAX_CANDIDATES", 1)
            page = await store.search(replace(Query.create(text="red"), within=("n",)))
            assert (page.hits, page.partial, page.position) == ([], True, ["newest"])


async def test_writers_are_slowed_before_the_lag_passes_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(indexer, "START_AT", 4)
    monkeypatch.setattr(indexer, "MAX_LAG", 8)
    monkeypatch.setattr(words, "MAX_CHANGES", 2)
    lags = []
    async with SqliteStore.open(tmp_path / "db") as store:
        for number in range(40):
            await store.batch([put(f"{number}-{each}", "word") for each in range(5)])
            lags.append((await store.stats()).index.lag)
    assert max(lags) <= 8 + 5


async def test_long_texts_may_lag_less(tmp_path, monkeypatch):
    monkeypatch.setattr(indexer, "START_AT", 4)
    monkeypatch.setattr(indexer, "MAX_LONG_LAG", 6)
    monkeypatch.setattr(words, "MAX_BYTES", 5_000)
    lags = []
    async with SqliteStore.open(tmp_path / "db") as store:
        for number in range(20):
            await store.batch([put(f"{number}-{each}", "word " * 500) for each in range(5)])
            lags.append((await store.stats()).index.lag)
    assert max(lags) <= 6 + 5


class Failing:
    """A connection whose statements fail from one on."""

    def __init__(self, db, left):
        self.db = db
        self.left = left
        self.failed = False

    def __getattr__(self, name):
        return getattr(self.db, name)

    def execute(self, *statement):
        if self.left == 0 and statement[0] != "ROLLBACK":
            self.failed = True
            raise sqlite3.OperationalError("stopped")
        self.left -= 1
        return self.db.execute(*statement)


def test_a_step_that_ends_anywhere_has_moved_the_index_and_its_position_or_neither(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        schema.migrate(db, 0)
        words.prepare(db, full_text=True, language="none")
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
            " VALUES ('n', 'k', 1, 1, 1, 0, 5, '[]', '{}', CAST('\"red\"' AS BLOB))"
        )
        db.execute("INSERT INTO namespaces VALUES ('n', 1, 5)")
        db.execute("INSERT INTO changes VALUES (1, 'n', 'k', 0, 1, 1, 1, NULL)")
        for statements in itertools.count():
            failing = Failing(db, statements)
            with contextlib.suppress(InternalStoreError):
                words.advance(failing, "none")
            indexed_rows = db.execute("SELECT count(*) FROM entries_text_docsize").fetchone()
            assert db.execute("SELECT position FROM text_index").fetchone() == indexed_rows
            if not failing.failed:
                break
        assert (statements > 8, indexed_rows) == (True, (1,))
    assert check(tmp_path / "db").ok


async def test_a_gap_in_the_feed_is_mended_in_the_background(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "MAX_CHANGES", 2)
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.batch([put(f"k{number}", f"word{number}") for number in range(9)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE entries SET value = CAST('\"other\"' AS BLOB) WHERE key = 'k3'")
        db.execute("UPDATE changes SET seq = seq + 100")
    real, gate = words.advance, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(db, language):
        if gate.is_set():
            return real(db, language)
        step = real(db, language)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(60)
        return step

    monkeypatch.setattr(words, "advance", slow)
    async with SqliteStore.open(path, StoreConfig(search_wait=0.25)) as store:
        for within in (None, ("n",)):  # the first step has emptied the index, and the second has not begun
            page = await find(store, "other", within=within)
            assert (keys(page), page.fresh, page.ranked) == (["k3"], True, False)
            first = await find(store, "word1", within=within, limit=1)
            assert keys(first) == ["k1"]
        gate.set()
        await store.put("n", "k1", "meanwhile")
        await indexed(store)
        assert keys(await find(store, "other")) == ["k3"]
        assert (keys(await find(store, "word1")), keys(await find(store, "meanwhile"))) == ([], ["k1"])
    assert check(path).ok


async def test_changes_that_the_index_lacks_are_not_trimmed(tmp_path, monkeypatch):
    config = StoreConfig(change_log_entries=1, change_log_seconds=0, probe_interval=0.001)
    count = "SELECT count(*) FROM changes"
    async with SqliteStore.open(tmp_path / "db", config) as store:
        with no_steps(monkeypatch):
            await store.batch([put(f"k{number}", "word") for number in range(9)])
            await store.collect_garbage()
            assert await store._worker.run(lambda db: db.execute(count).fetchone()) == (9,)
        await indexed(store)
        assert len((await find(store, "word")).hits) == 9
        await store.batch([put(f"k{number}", "word") for number in range(9)])
        await store.collect_garbage()
        await indexed(store)
        assert not (await store.stats()).index.rebuilding


def test_writers_that_are_killed_have_lost_no_words(tmp_path):
    """Each time the next process goes on from where the index was, and finds what was acknowledged."""
    acknowledged = {}
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, str(WRITERS), str(tmp_path / "db")], stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout:
                writer, number = line.split()
                acknowledged[writer] = int(number)
                if sum(acknowledged.values()) % 97 == 0 and len(acknowledged) == 16:
                    os.kill(process.pid, signal.SIGKILL)
                    break

    async def look():
        async with SqliteStore.open(tmp_path / "db", StoreConfig(search_wait=60)) as store:
            for writer, number in acknowledged.items():
                key, page = f"{writer}-{number % 8}", await find(store, f"writer{writer}number{number}")
                entry = await store.get("n", key)
                assert page.fresh
                assert keys(page) == ([key] if entry.value["number"] == number else [])

    asyncio.run(look())
    assert check(tmp_path / "db").ok


async def test_another_language_is_indexed_in_the_background_and_searches_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "MAX_CHANGES", 2)
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.batch([put(f"k{number}", f"retried {number}") for number in range(9)])
        assert keys(await find(store, "retries")) == []
        store.configure(search_language="english")
        found, page = [], None
        while page is None or page.position is not None:  # while the index is built, or by it
            page = await find(store, "retries", position=page and page.position)
            assert page.fresh
            found += keys(page)
        assert sorted(found) == [f"k{number}" for number in range(9)]
        await indexed(store)
        assert len(keys(await find(store, "retries", limit=10))) == 9
        await store.delete("n", "k3")
        assert len(keys(await find(store, "retry", limit=10))) == 8
        await indexed(store)
    assert check(path).ok
    async with SqliteStore.open(path) as store:  # by a restart
        assert keys(await find(store, "retries")) == []
        await indexed(store)
        assert keys(await find(store, "retries")) == []
        assert len(keys(await find(store, "retried", limit=10))) == 8
    assert check(path).ok


async def test_an_index_that_is_of_the_language_is_not_built_again(tmp_path, monkeypatch):
    config = StoreConfig(search_language="english")
    async with SqliteStore.open(tmp_path / "db", config) as store:
        await store.put("n", "k", "retried")
        await indexed(store)
    with no_steps(monkeypatch):
        async with SqliteStore.open(tmp_path / "db", config) as store:
            assert not (await store.stats()).index.rebuilding
            assert keys(await find(store, "retries")) == ["k"]


@pytest.mark.parametrize("value", ["PaymentGateway failed", "PaymentGateway\nfailed", "PaymentGateway failed " * 300])
async def test_parts_of_identifiers_are_forgotten_with_their_texts(tmp_path, value):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=0)) as store:
        await store.put("n", "OrderService", value)
        for asked in ("gateway", "service", "payment_gateway", "order-service", "PAYMENTGATEWAY"):
            assert keys(await find(store, asked)) == ["OrderService"]
        await indexed(store)
        await store.put("n", "order_service", "payment-gateway")
        assert sorted(keys(await find(store, "PaymentGateway OrderServ*"))) == ["OrderService", "order_service"]
        await store.delete("n", "order_service")
        await store.put("n", "OrderService", "other")
        assert (keys(await find(store, "gateway")), keys(await find(store, "service"))) == ([], ["OrderService"])
        await store.delete("n", "OrderService")
        assert keys(await find(store, "service")) == []
        await indexed(store)
        terms = await store._worker.run(lambda db: db.execute("SELECT count(*) FROM entries_text").fetchone())
        assert terms == (0,)
    assert check(tmp_path / "db").ok
