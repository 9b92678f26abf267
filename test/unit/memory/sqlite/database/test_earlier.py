"""Databases that earlier releases have made come up with all their data: one real file of each schema version."""

import contextlib
import lzma
from pathlib import Path

import pytest
from unit.memory.sqlite.database.earlier.make import ENTRIES

from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.backup import verify
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3

FOLDER = Path(__file__).parent / "earlier"
VERSIONS = range(1, schema.LATEST)


@pytest.fixture(params=VERSIONS)
def path(request, tmp_path):
    made = tmp_path / "db"
    made.write_bytes(lzma.decompress((FOLDER / f"schema-{request.param}.db.xz").read_bytes()))
    assert version_of(made) == request.param
    return made


def version_of(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def test_there_is_a_file_of_each_earlier_version():
    """A change of the schema needs a file that the release before it has made: see earlier/make.py."""
    assert {path.name for path in FOLDER.glob("*.xz")} == {f"schema-{version}.db.xz" for version in VERSIONS}


async def test_every_entry_is_there_and_can_be_searched_and_changed(path):
    async with SqliteStore.open(path) as store:
        for namespace, key, value, given in ENTRIES:
            entry = await store.get(namespace, key)
            assert entry is not None, (namespace, key)
            assert (entry.value, list(entry.tags)) == (value, given.get("tags", []))
            assert entry.metadata == given.get("metadata", {})
            assert (entry.expires_at is not None) == ("ttl" in given)
            assert entry.version == (2 if key == "key:000" else 1)
            assert entry.updated_by is None, "nobody knows"
        assert await store.get("team", "deleted") is None
        assert (await store.stats()).entries == len(ENTRIES)
        tagged = await store.search(Query.create(tags=["x"]))
        assert sorted(hit.entry.key for hit in tagged.hits) == ["object", "text"]
        found = await store.search(Query.create(text="queue stuck"))
        assert [hit.entry.key for hit in found.hits] == ["long"]
        entry, is_new = await store.put("team", "object", 2, updated_by="ann")
        assert (entry.version, is_new, entry.updated_by) == (2, False, "ann")
    assert version_of(path) == schema.LATEST
    report = verify.check(path)
    assert not report.findings


def objects(path):
    """Return the rows of sqlite_schema; spaces in the SQL are those of whichever statement wrote it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    return {(kind, name, table, "".join((sql or "").split())) for kind, name, table, sql in rows}


async def test_a_new_file_has_the_tables_of_a_migrated_one(path, tmp_path):
    for each in (path, tmp_path / "new"):
        async with SqliteStore.open(each):
            pass
    assert objects(path) == objects(tmp_path / "new")
