"""Which files are opened, and how a file gets its shape."""

import contextlib
import functools
import os

import pytest

from swarm_operator.memory.core.errors import ForeignDatabaseError, NewerSchemaError, StorageError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import verify
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "db"


def run(path, *statements):
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return [db.execute(statement).fetchall() for statement in statements]
    finally:
        db.close()


async def open_once(path):
    async with SqliteStore.open(path) as store:
        await store.put("n", "k", 1)


async def test_a_new_file_has_our_mark_a_version_and_incremental_vacuum(path):
    await open_once(path)
    marks = run(path, "PRAGMA application_id", "PRAGMA user_version", "PRAGMA auto_vacuum", "PRAGMA journal_mode")
    assert marks == [[(schema.APPLICATION_ID,)], [(schema.LATEST,)], [(2,)], [("wal",)]]
    strict = run(path, "SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict")[0]
    assert [name for (name,) in strict if not name.startswith("entries_text")] == ["sqlite_schema"]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE memory_store (id INTEGER PRIMARY KEY)"],
        ["PRAGMA application_id = 7", "CREATE TABLE t (x)"],
        ["PRAGMA user_version = 1"],
    ],
)
async def test_another_programs_database_is_refused_and_left_alone(path, statements):
    run(path, *statements)
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match=str(path)):
        await open_once(path)
    assert path.read_bytes() == before
    assert not path.with_name("db-wal").exists()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(b"this is not a database, it is a diary. " * 100)
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match="not an SQLite database"):
        await open_once(path)
    assert path.read_bytes() == before


async def test_a_newer_file_is_refused_and_left_alone(path):
    await open_once(path)
    run(path, f"PRAGMA user_version = {schema.LATEST + 1}")
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match=f"version {schema.LATEST + 1}"):
        await open_once(path)
    assert path.read_bytes() == before


async def test_a_refused_file_is_not_left_locked(path):
    path.write_bytes(b"x" * 1000)
    for _ in range(2):
        with pytest.raises(ForeignDatabaseError):
            await open_once(path)
    path.unlink()
    await open_once(path)


def test_a_new_file_is_complete_with_one_commit_and_has_the_rows_of_all_steps(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        done = []
        db.set_trace_callback(done.append)
        schema.migrate(db, 0)
    assert done.count("COMMIT") == 1
    assert not [statement for statement in done if statement.startswith(("ALTER", "DROP"))]
    with contextlib.closing(sqlite3.connect(path.with_name("stepwise"), isolation_level=None)) as db:
        schema.migrate(db, 0, until=schema.LATEST)
    tables = [name for (name,) in run(path, "SELECT name FROM pragma_table_list WHERE schema = 'main'")[0]]
    contents = [f"SELECT * FROM {name}" for name in tables if not name.startswith("sqlite_")]
    assert run(path, *contents) == run(path.with_name("stepwise"), *contents)


async def test_a_migration_that_fails_leaves_the_version_before_it(path, monkeypatch):
    await open_once(path)
    broken = ("CREATE TABLE half (x INTEGER) STRICT", "CREATE TABLE half (x INTEGER) STRICT")
    before = schema.LATEST
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, broken))
    monkeypatch.setattr(schema, "LATEST", before + 1)
    with pytest.raises(Exception, match="half already exists"):
        await open_once(path)
    assert run(path, "PRAGMA user_version", "SELECT name FROM sqlite_schema WHERE name = 'half'") == [[(before,)], []]


async def test_an_older_file_is_brought_forward_with_its_entries(path, monkeypatch):
    await open_once(path)
    step = ("CREATE TABLE more (x INTEGER) STRICT",)
    after = schema.LATEST + 1
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, step))
    monkeypatch.setattr(schema, "LATEST", after)
    async with SqliteStore.open(path) as store:
        assert (await store.get("n", "k")).value == 1
    assert run(path, "PRAGMA user_version") == [[(after,)]]


async def test_a_directory_that_does_not_exist_is_an_error_of_the_storage(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        await open_once(tmp_path / "missing" / "db")


async def test_acknowledged_means_synced_in_both_modes(path, tmp_path):
    for enable_wal, journal, synchronous in ((True, "wal", 2), (False, "delete", 3)):
        async with SqliteStore.open(tmp_path / journal, StoreConfig(enable_wal=enable_wal)) as store:
            settings = await store._worker.run(
                lambda db: [
                    db.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
                ]
            )
            assert settings == [journal, synchronous, 0]


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_the_directory_of_a_new_file_is_synced_when_the_schema_is_complete(path, monkeypatch, enable_wal):
    """After a power failure a file may be missing from a directory that was not synced."""
    directory, synced = path.parent.stat(), []
    real = os.fsync

    def fsync(descriptor):
        real(descriptor)
        if os.path.samestat(os.fstat(descriptor), directory):
            synced.append(run(path, "PRAGMA user_version")[0])

    monkeypatch.setattr(os, "fsync", fsync)
    async with SqliteStore.open(path, StoreConfig(enable_wal=enable_wal)) as store:
        assert synced == [[(schema.LATEST,)]], "synced once, after the last migration"
        await store.put("n", "k", 1)


OTHER_DEFAULTS = ("mmap_size = 1048576", "cell_size_check = OFF", "trusted_schema = ON", "secure_delete = OFF")
SETTINGS = {"mmap_size": [(0,)], "cell_size_check": [(1,)], "trusted_schema": [(0,)], "secure_delete": [(2,)]}
"""With mmap an I/O error would end the process; without the cell check a damaged page would be read as it is."""


@pytest.fixture
def other_defaults(monkeypatch):
    """Open connections with other defaults, as another build of SQLite may; return those that were closed."""
    closed = []

    class Connection(sqlite3.Connection):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for setting in OTHER_DEFAULTS:
                self.execute(f"PRAGMA {setting}")

        def close(self):
            closed.append(self)
            self.settings = {name: self.execute(f"PRAGMA {name}").fetchall() for name in SETTINGS}
            super().close()

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection))
    return closed


@pytest.mark.parametrize(("enable_wal", "connections"), [(True, 4), (False, 1)])
async def test_connection_settings_do_not_depend_on_the_build_s_defaults(path, other_defaults, enable_wal, connections):
    async with SqliteStore.open(path, StoreConfig(enable_wal=enable_wal)) as store:
        await store.put("n", "k", 1)
    assert [connection.settings for connection in other_defaults] == [SETTINGS] * connections


async def test_settings_of_a_check_do_not_depend_on_the_build_s_defaults(path, other_defaults):
    await open_once(path)
    other_defaults.clear()
    assert verify.check(path).ok
    wanted = {name: SETTINGS[name] for name in ("mmap_size", "cell_size_check", "trusted_schema")}
    assert wanted.items() <= other_defaults[-1].settings.items()
