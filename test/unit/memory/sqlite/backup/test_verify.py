"""Checking a file: what is well, and everything that can be wrong with it."""

import contextlib
import shutil

import pytest

from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DatabaseInUseError,
    ForeignDatabaseError,
    NewerSchemaError,
    ReadOnlyError,
    StorageIOError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def change(path, *statements):
    """Change the file behind the back of its triggers."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in (*statements, *(sql for _, sql in triggers)):
            db.execute(statement)


async def fill(store):
    for number in range(20):
        await store.put(
            "a", f"k{number}", {"words": f"some of {number}", "more": "x" * number}, tags=["t", f"t{number}"]
        )
        await store.put("b", f"k{number}", "long " * 10_000, metadata={"n": number})
    await store.put("a", "k1", "overwritten", tags=["u"])
    await store.delete("a", "k2")
    await store.put("c", "brief", 1, ttl=1)


@pytest.fixture
async def database(tmp_path):
    """A closed database with a bit of everything."""
    async with SqliteStore.open(tmp_path / "m.db") as store:
        await fill(store)
    return tmp_path / "m.db"


def only_finding(path):
    report = check(path)
    assert not report.ok
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


async def test_a_database_that_is_well_is_said_to_be(database):
    before = {name: (database.parent / name).read_bytes() for name in names(database.parent)}
    told = []
    report = check(database, progress=lambda *numbers: told.append(numbers))
    assert (report.ok, report.findings, report.omitted) == (True, (), 0)
    assert (report.schema_version, report.entries, report.namespaces) == (schema.LATEST, 40, 3)
    assert report.size == database.stat().st_size
    assert report.value_bytes > 20 * 50_000
    assert told == [(40, 40)]
    assert {name: (database.parent / name).read_bytes() for name in names(database.parent)} == before


@pytest.mark.parametrize("options", [{"full_text": False}, {"enable_wal": False}, {"compression_threshold": 0}])
async def test_every_setting_makes_a_database_that_is_well(tmp_path, options):
    async with SqliteStore.open(tmp_path / "m.db", StoreConfig(**options)) as store:
        await fill(store)
        await store.backup(tmp_path / "backup.db")
    for name in ("m.db", "backup.db"):
        assert check(tmp_path / name).findings == ()


async def test_after_a_kill_the_log_is_read_too(tmp_path):
    async with SqliteStore.open(tmp_path / "m.db") as store:
        await fill(store)
        (tmp_path / "killed").mkdir()
        for name in ("m.db", "m.db-wal"):  # what a process leaves that ends now
            shutil.copy(tmp_path / name, tmp_path / "killed" / name)
    before = (tmp_path / "killed" / "m.db").read_bytes()
    report = check(tmp_path / "killed" / "m.db")
    assert (report.ok, report.entries) == (True, 40)
    assert (tmp_path / "killed" / "m.db").read_bytes() == before


async def test_a_database_in_use_is_left_to_its_service(store):
    with pytest.raises(DatabaseInUseError, match="stop its service first, or check a backup"):
        check(store.path)
    await store.put("n", "k", 1)


def test_a_missing_file_a_directory_and_a_foreign_one_are_told_apart(tmp_path):
    with pytest.raises(StorageIOError, match=r"none\.db: No such file or directory"):
        check(tmp_path / "none.db")
    with pytest.raises(StorageIOError, match="is not a file"):
        check(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(CorruptDatabaseError, match="empty"):
        check(tmp_path / "empty")
    (tmp_path / "text").write_text("no database\n" * 100)
    with pytest.raises(ForeignDatabaseError, match="is not an SQLite database"):
        check(tmp_path / "text")
    change(tmp_path / "other.db", "CREATE TABLE t (a)")
    with pytest.raises(ForeignDatabaseError, match="another program's"):
        check(tmp_path / "other.db")
    assert names(tmp_path) == ["empty", "other.db", "text"]


async def test_a_newer_schema_is_not_guessed_at(database):
    change(database, f"PRAGMA user_version = {schema.LATEST + 1}")
    with pytest.raises(NewerSchemaError, match="Use the release that wrote it"):
        check(database)


@pytest.mark.parametrize("version", range(1, schema.LATEST + 1))
def test_an_older_schema_is_checked_as_what_it_is(tmp_path, version):
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as db:
        schema.migrate(db, 0, until=version)
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
            " VALUES ('n', 'k', 1, 1, 1, 0, 1, '[]', '{}', x'31')"
        )
        db.execute("INSERT INTO namespaces VALUES ('n', 1, 1)")
    report = check(tmp_path / "m.db")
    assert (report.findings, report.schema_version, report.entries) == ((), version, 1)
    change(tmp_path / "m.db", "UPDATE namespaces SET entries = 2")
    assert not check(tmp_path / "m.db").ok


@pytest.mark.parametrize(("statement", "where", "what"), [
    ("UPDATE namespaces SET entries = 9 WHERE name = 'a'", "namespace 'a'", "says 9 entries"),
    ("UPDATE namespaces SET bytes = bytes + 1 WHERE name = 'b'", "namespace 'b'", "and there are 20 entries"),
    ("INSERT INTO namespaces VALUES ('ghost', 1, 1)", "namespace 'ghost'", "and there are 0 entries"),
    ("UPDATE compression SET stored = stored - 1", "table compression", "it says (20, "),
    ("DELETE FROM compression", "table compression", "it says None"),
    ("DELETE FROM entry_tags WHERE tag = 't7'", "entry 'a' 'k7'", "tag 't7' is not in the table"),
    ("INSERT INTO entry_tags VALUES ('t', 'b', 'k3')", "entry 'b' 'k3'", "the entry does not have it"),
    ("DELETE FROM changes WHERE seq = 17", "table changes", "1 are missing between 1 and 43"),
    ("UPDATE changes SET version = 5 WHERE seq = 43", "entry 'c' 'brief'", "wrote version 5, and it has version"),
    ("UPDATE changes SET op = 1 WHERE seq = 43", "entry 'c' 'brief'", "deleted it, and it is there"),
    ("UPDATE changes SET op = 0 WHERE seq = 42", "entry 'a' 'k2'", "wrote version 1, and it is not there"),
    ("UPDATE changes SET op = 7 WHERE seq = 3 AND key = 'k1'", "table changes", "7 is not a kind of change"),
    ("DELETE FROM deleted_versions", "table deleted_versions", "no highest version"),
    ("DELETE FROM text_index", "table text_index", "does not say"),
    ("UPDATE text_index SET position = 44", "index of words", "it has the change 44, and the last one is 43"),
    ("INSERT INTO replaced_texts SELECT id, namespace, key, codec, size, value FROM entries WHERE key = 'brief'",
     "index of words", "has a former text there, and no change that is to come"),
    ("UPDATE entries SET tags = '{}' WHERE key = 'k3' AND namespace = 'b'", "entry 'b' 'k3'", "tags are not a list"),
    ("UPDATE entries SET metadata = '[]' WHERE key = 'k3' AND namespace = 'b'", "entry 'b' 'k3'", "not an object"),
    ("UPDATE entries SET metadata = '{' WHERE key = 'k3' AND namespace = 'b'", "entry 'b' 'k3'", "not JSON"),
    ("UPDATE entries SET created_at = updated_at + 1 WHERE key = 'brief'", "entry 'c' 'brief'", "before it was"),
    ("UPDATE entries SET ttl = 2 WHERE key = 'brief'", "entry 'c' 'brief'", "is not its ttl of 2 s"),
    ("UPDATE entries SET value = x'7b' WHERE key = 'brief'", "entry 'c' 'brief'", "value is not JSON"),
    ("UPDATE entries SET value = x'3131' WHERE key = 'brief'", "entry 'c' 'brief'", "2 bytes, and its row says 1"),
    ("UPDATE entries SET codec = 9 WHERE key = 'brief'", None, "codec 9 is unknown"),
    ("UPDATE entries SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB) WHERE id = 8",
     "entry 'b' 'k3'", "its value is damaged"),
    ("DROP INDEX entries_updated", "schema", "index entries_updated is missing"),
    ("CREATE TABLE mine (a)", "schema", "table mine does not belong there"),
    ("ALTER TABLE namespaces ADD COLUMN more TEXT", "schema", "table namespaces is not what"),
])  # fmt: skip
async def test_what_is_wrong_is_found_and_said_where(database, statement, where, what):
    change(database, statement)
    if where is None:
        assert any(what in finding.what for finding in check(database).findings)
        return
    finding = only_finding(database)
    assert finding.where == where
    assert what in finding.what


async def test_words_that_are_not_those_of_the_values_are_found(database):
    change(database, "UPDATE entries SET value = CAST(replace(value, 'some', 'none') AS BLOB) WHERE key = 'k3'")
    found = {finding.what for finding in check(database).findings}
    assert found == {
        '"none" is in 1 entries 1 times, and the index says otherwise',
        '"some" is in 17 entries 17 times, and the index says otherwise',
        '"some" is said to be in 18 entries 18 times, and is not',
    }


async def test_a_damaged_page_is_found_and_nothing_more_is_read(database):
    with contextlib.closing(sqlite3.connect(database)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries_updated'").fetchone()[0]
    with database.open("r+b") as file:
        file.seek((root - 1) * 4096 + 3)
        file.write(b"\x00\x01")
    report = check(database)
    assert {finding.where for finding in report.findings} == {"database"}
    assert report.entries == 0


async def test_a_file_cut_off_is_found(database):
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)
    with pytest.raises(CorruptDatabaseError, match="malformed"):
        check(database)


async def test_rows_of_the_index_of_words_that_no_entry_has_are_found(database):
    change(database, "INSERT INTO entries_text (rowid, namespace, key, value) VALUES (999, 'a', 'x', 'unheard')")
    found = {finding.what for finding in check(database).findings}
    assert "row 999 is in the index of words, and not there" in found
    assert '"unheard" is said to be in 1 entries 1 times, and is not' in found


async def test_rows_that_the_index_of_words_lacks_are_found(database):
    change(database, "DELETE FROM entries_text_docsize WHERE id = (SELECT id FROM entries WHERE key = 'brief')")
    found = {finding.what for finding in check(database).findings}
    assert {"row 41 is not in the index of words", '"brief" is said to be in 1 entries 1 times, and is not'} <= found


async def test_the_first_hundred_findings_are_named_and_the_rest_counted(tmp_path):
    async with SqliteStore.open(tmp_path / "m.db", StoreConfig(full_text=False)) as store:
        for number in range(150):
            await store.put("n", f"k{number}", 1)
    change(tmp_path / "m.db", "UPDATE entries SET value = x'7b'")
    report = check(tmp_path / "m.db")
    assert (len(report.findings), report.omitted) == (100, 50)


async def test_a_transaction_that_was_cut_off_is_for_the_service_to_undo(tmp_path):
    async with SqliteStore.open(tmp_path / "m.db", StoreConfig(enable_wal=False)) as store:
        await fill(store)
    (tmp_path / "cut").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE entries SET version = version + 1")
        for name in ("m.db", "m.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / "cut" / name)
        db.execute("ROLLBACK")
    with pytest.raises(ReadOnlyError, match="was not closed"):
        check(tmp_path / "cut" / "m.db")
