"""What can be wrong with the vectors of a file, and is found."""

import asyncio
import contextlib
import shutil

import pytest
from support.embedders import WordEmbedder

from swarm_operator.memory.core import Query
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database.driver import sqlite3

A = "id / 4 = (SELECT id FROM entries WHERE key = 'a')"
GIVEN = "id / 4 = (SELECT id FROM entries WHERE key = 'given')"
MINE = "id / 4 = (SELECT id FROM entries WHERE key = 'mine')"
CODE = "its vector is none that this release writes"
NONE = "it has no vector of words, and no change that is to come"
NEXT_MODEL = "INSERT INTO vector_models SELECT 2, 'next', 8, position, {} FROM vector_models"


async def fill(path):
    config = StoreConfig(search_wait=60)
    async with SqliteStore.open(path, config) as store:
        await store.put("c", "mine", "fox", vector=[1, 0, 0.5])
        await store.put("c", "plain", "fox")
    async with SqliteStore.open(path, config, embedder=WordEmbedder("words", 8)) as store:
        await store.put("m", "a", "fox")
        await store.put("m", "b", "car")
        await store.put("m", "given", "car", vector=[1, 0, 0.5, 0, 0, 0, 0, 0])
        await store.put("m", "1", 2)  # the model knows no word of it
        async with asyncio.timeout(60):
            while not (await store.search(Query.create(text="fox", mode="meaning"))).fresh:
                pass


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "m.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
def database(filled, tmp_path):
    """A closed database: vectors of clients with and without an embedder, and vectors that it made."""
    return shutil.copy(filled, tmp_path / "m.db")


def findings(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount, statement
    return [tuple(finding) for finding in check(path).findings]


@pytest.mark.parametrize("statements", [
    (),
    (NEXT_MODEL.format(0),),
    # A model that is behind the changes, and one that is deleted.
    ("UPDATE vector_models SET position = position - 4", f"DELETE FROM vectors WHERE {A}"),
    ("UPDATE vector_models SET position = NULL", f"DELETE FROM vectors WHERE {A}"),
])  # fmt: skip
def test_a_database_that_is_well_is_said_to_be(database, statements):
    assert findings(database, *statements) == []


@pytest.mark.parametrize(("statement", "expected"), [
    (f"INSERT INTO vectors SELECT 4 * 999, model, space, scale, code FROM vectors WHERE {MINE}",
     [("table vectors", "row 999 has a vector, and is not there")]),
    (f"UPDATE vectors SET space = 77 WHERE {MINE}",
     [("entry 'c' 'mine'", "its vector is one of another namespace"),
      ("namespace 'c'", "the table vector_spaces says 1 vectors, 1 of clients; there are 0 and 0")]),
    (f"UPDATE vectors SET model = 4 WHERE {A}",
     [("entry 'm' 'a'", "its vector is of the model 4, which is not in the table vector_models")]),
    (f"UPDATE vectors SET id = id + 1 WHERE {A}",
     [("entry 'm' 'a'", "its vector of the model 1 is in the slot 3 of others"), ("entry 'm' 'a'", NONE)]),
    (f"INSERT INTO vectors SELECT id + 2, 1, space, scale, code FROM vectors WHERE {GIVEN}",
     [("entry 'm' 'given'", "it has a vector of a client, and another one of a model")]),
    (f"UPDATE vectors SET code = CAST(code || x'01' AS BLOB) WHERE {A}",
     [("entry 'm' 'a'", "its vector has 9 numbers, not 8")]),
    (f"UPDATE vectors SET code = CAST(code || x'01' AS BLOB) WHERE {MINE}",
     [("entry 'c' 'mine'", "its vector has 4 numbers, not 3")]),
    (f"UPDATE vectors SET code = x'', scale = 0 WHERE {MINE}",
     [("entry 'c' 'mine'", "its vector has 0 numbers, not 3")]),
    ("UPDATE vector_spaces SET width = 4 WHERE namespace = 'c'",
     [("entry 'c' 'mine'", "its vector has 3 numbers, not 4")]),
    (f"UPDATE vectors SET code = x'010203' WHERE {MINE}", [("entry 'c' 'mine'", CODE)]),
    (f"UPDATE vectors SET code = x'7f0280' WHERE {MINE}", [("entry 'c' 'mine'", CODE)]),
    (f"UPDATE vectors SET scale = 0 WHERE {A}", [("entry 'm' 'a'", CODE)]),
    (f"UPDATE vectors SET scale = 9e999 WHERE {A}", [("entry 'm' 'a'", CODE)]),
    ("UPDATE vectors SET scale = 1 WHERE code = x''", [("entry 'm' '1'", CODE)]),
    ("UPDATE vector_spaces SET entries = entries + 1 WHERE namespace = 'm'",
     [("namespace 'm'", "the table vector_spaces says 5 vectors, 1 of clients; there are 4 and 1")]),
    ("UPDATE vector_spaces SET clients = 0 WHERE namespace = 'm'",
     [("namespace 'm'", "the table vector_spaces says 4 vectors, 0 of clients; there are 4 and 1")]),
    ("UPDATE vector_models SET position = 7",
     [("table vector_models", "words has the change 7, and the last one is 6")]),
    (f"DELETE FROM vectors WHERE {A}", [("entry 'm' 'a'", NONE)]),
    (f"DELETE FROM vectors WHERE {GIVEN}", [("entry 'm' 'given'", NONE)]),
])  # fmt: skip
def test_what_is_wrong_is_found_and_said_where(database, statement, expected):
    found = findings(database, statement)
    assert [(where, what[: len(text)]) for (where, what), (_, text) in zip(found, expected, strict=True)] == expected


def test_a_former_model_is_compared_until_the_newest_has_all_entries(database):
    changes = (NEXT_MODEL.format(0), f"DELETE FROM vectors WHERE {A}")
    assert findings(database, *changes) == [("entry 'm' 'a'", NONE)]
    found = findings(database, "UPDATE vector_models SET built = NULL")
    assert {what for _, what in found} == {NONE.replace("words", "next")}
