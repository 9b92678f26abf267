"""The indexes of searches: what is in them, how they are filled, and what damage does."""

import pytest
from support.index import indexed

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import index, words


async def found(store, text):
    return {hit.entry.key for hit in (await store.search(Query.create(text=text))).hits}


def test_escapes_do_not_stick_to_words():
    assert index.index_text(b'"one\\ntwo\\u0007three\\\\four\\"five"').split() == [
        '"one', "two", "three", "four", 'five"'
    ]  # fmt: skip


def test_a_text_is_cut_between_characters():
    assert index.index_text(b'"' + "é".encode() * 40_000) == '"' + "é" * 32_767


async def test_only_the_start_of_a_long_value_is_found_and_it_can_be_forgotten(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=0)) as store:
        await store.put("n", "long", "early " + "x" * 100_000 + " late")
        assert (await found(store, "early"), await found(store, "late")) == ({"long"}, set())
        await store.put("n", "long", "short")
        assert (await found(store, "early"), await found(store, "short")) == (set(), {"long"})
        await check(store)


async def test_compressed_values_are_found_and_forgotten(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=1)) as store:
        await store.put("n", "k", "needle " * 100)
        assert (await store.stats()).compressed_entries == 1
        assert await found(store, "needle") == {"k"}
        await store.delete("n", "k")
        assert await found(store, "needle") == set()
        await check(store)


async def check(store):
    """FTS5's own check: its words against its structure; and no word of a row that is gone."""

    def look(db):
        db.execute("INSERT INTO entries_text (entries_text) VALUES ('integrity-check')")
        ids = {row[0] for row in db.execute("SELECT id FROM entries").fetchall()}
        return ids, {row[0] for row in db.execute("SELECT rowid FROM entries_text").fetchall()}

    await indexed(store)
    ids, there = await store._worker.run(look)
    assert ids == there


async def test_switched_off_it_costs_nothing_and_searches_by_text_are_refused(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.put("n", "before", "word", tags=["t"])
    async with SqliteStore.open(path, StoreConfig(full_text=False)) as store:
        await store.put("n", "meanwhile", "word", tags=["t"])
        await store.delete("n", "before")
        rows = await store._worker.run(lambda db: db.execute("SELECT count(*) FROM entries_text").fetchone()[0])
        assert rows == 0
        with pytest.raises(InvalidInputError, match="switched off"):
            await store.search(Query.create(text="word"))
        assert len((await store.search(Query.create(tags=["t"]))).hits) == 1
    async with SqliteStore.open(path) as store:
        assert await found(store, "word") == {"meanwhile"}
        await check(store)


async def test_parts_of_the_index_are_merged_late_in_older_files_too(tmp_path):
    path, setting = tmp_path / "db", "SELECT v FROM entries_text_config WHERE k = 'automerge'"
    async with SqliteStore.open(path) as store:
        assert await store._worker.run(lambda db: db.execute(setting).fetchone()) == (8,)
        await store._worker.run(
            lambda db: db.execute("DELETE FROM entries_text_config WHERE k = 'automerge'").fetchall()
        )
        await store._worker.run(lambda db: db.execute("UPDATE text_index SET revision = 2").fetchall())
    async with SqliteStore.open(path) as store:
        assert await store._worker.run(lambda db: db.execute(setting).fetchone()) == (8,)


async def test_another_revision_of_the_texts_is_indexed_anew(tmp_path, monkeypatch):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.put("n", "k", "word\n")
    monkeypatch.setattr(words, "index_text", lambda raw: "other " + raw.decode())
    monkeypatch.setattr(words, "REVISION", words.REVISION + 1)
    async with SqliteStore.open(path) as store:
        await indexed(store)
        rows = "SELECT rowid FROM entries_text WHERE entries_text MATCH 'other word'"
        assert len(await store._worker.run(lambda db: db.execute(rows).fetchall())) == 1


async def test_a_file_of_version_2_gets_its_indexes(tmp_path):
    path = tmp_path / "db"
    db = sqlite3.connect(path, isolation_level=None)
    schema.migrate(db, 0, until=2)
    for key, tags in (("a", '["x","y"]'), ("b", "[]"), ("c", '["x"]')):
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
            " VALUES ('n', ?, 1, 1, 1, 0, 6, ?, '{}', ?)",
            (key, tags, f'"word{key}"'.encode()),
        )
    db.execute("INSERT INTO namespaces VALUES ('n', 3, 18)")
    db.close()
    async with SqliteStore.open(path) as store:
        assert {hit.entry.key for hit in (await store.search(Query.create(tags=["x"]))).hits} == {"a", "c"}
        assert await found(store, "wordb") == {"b"}
        await store.delete("n", "a")
        await check(store)


async def test_plain_texts_are_indexed_without_python(tmp_path, monkeypatch):
    """A call for each row would wait for Python's lock; a text with an escape shows that calls are seen."""
    calls, text = [], words._indexed_text
    monkeypatch.setattr(words, "_indexed_text", lambda *given: (calls.append(given), text(*given))[1])
    async with SqliteStore.open(tmp_path / "db", StoreConfig()) as store:
        await store.put("n", "new", "needle")
        assert await found(store, "needle") == {"new"}
        await store.put("n", "new", "thread")
        assert await found(store, "thread") == {"new"}
        assert calls == []
        await store.put("n", "escaped", 'a "thread"')
        assert await found(store, "thread") == {"new", "escaped"}
        assert calls


async def test_a_damaged_value_can_be_overwritten_and_its_old_words_find_nothing(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(compression_threshold=1)) as store:
        await store.put("n", "k", "needle " * 100)
        await store._worker.run(lambda db: db.execute("UPDATE entries SET value = x'00'"))
        await store.put("n", "k", "thread")
        assert (await found(store, "needle"), await found(store, "thread")) == (set(), {"k"})
        await store.put("n", "k", "needle")
        assert await found(store, "needle") == {"k"}
        await store.delete("n", "k")
        assert (await found(store, "needle"), await found(store, "thread")) == (set(), set())
        await store.put("n", "new", "something")
        assert await found(store, "needle") == set()
        assert store.fault is None


async def test_the_index_of_an_older_revision_gets_tokens_of_namespaces(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.put("a:b", "k", "word")

        def make_old(db):
            db.execute("INSERT INTO entries_text (entries_text) VALUES ('delete-all')")
            db.execute("INSERT INTO entries_text (rowid, namespace, key, value) VALUES (1, 'a:b', 'k', 'word')")
            db.execute("UPDATE text_index SET revision = 1")

        await indexed(store)
        await store._worker.run(make_old)
        assert (await store.search(Query.create(text="word", namespace="a:b"))).hits == []
    async with SqliteStore.open(path) as store:
        assert len((await store.search(Query.create(text="word", namespace="a:b"))).hits) == 1
        await indexed(store)
        assert len((await store.search(Query.create(text="word", namespace="a:b"))).hits) == 1
        await store.delete("a:b", "k")
        await check(store)


@pytest.mark.parametrize(
    ("namespace", "roots"),
    [
        ("a", ["a"]),
        ("a/b/c", ["a", "a/b", "a/b/c"]),
        ("a//b", ["a", "a/", "a//b"]),
        ("/a", ["/a"]),
        ("a/", ["a", "a/"]),
    ],
)
def test_a_namespace_has_the_tokens_of_the_subtrees_that_it_is_in(namespace, roots):
    tokens = index.index_namespace(namespace).split()
    assert tokens == [index.exact_token(namespace), *map(index.subtree_token, roots)]
    assert all(covers([root], namespace) for root in roots)
