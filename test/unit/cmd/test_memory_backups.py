"""`swarm-memory backups` on a folder: without a service, and without its token."""

import asyncio
import json
import sqlite3

import pytest

from swarm_operator.cmd import memory as command
from swarm_operator.cmd.memory.backups import NO_DATABASE
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.lock import ProcessLock
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.location import folder_of, open_destination


@pytest.fixture
def vault(tmp_path):
    """Backups of two swarms, and what a kill has left of a third one."""
    root = tmp_path / "vault"
    root.mkdir()

    async def make():
        for swarm_id, name in (("default", "monday"), ("team/a", "tuesday")):
            config = StoreConfig(swarm_id=swarm_id)
            async with SqliteStore.open(tmp_path / f"{name}.db", config) as store:
                await store.put("n", name, 1)
                destination = open_destination(str(root)).below(folder_of(swarm_id))
                await Catalog(destination, source=store, scratch=tmp_path).make(name, "Requested")

    asyncio.run(make())
    (root / "default/half").mkdir()
    (root / "default/half/memory.db").write_bytes(b"half")
    return root


def run(capsys, *arguments):
    code = command.main(["backups", *map(str, arguments), "-o", "json"])
    said = capsys.readouterr()
    return code, [json.loads(line) for line in said.out.splitlines()], said.err


def test_backups_are_listed_by_destination_and_by_swarm(vault, capsys):
    code, rows, _ = run(capsys, "list", vault)
    assert code == 0
    assert [(row["name"], row["phase"], row["swarm_id"], row["location"]) for row in rows] == [
        ("half", "Incomplete", None, f"file://{vault}/default/half"),
        ("monday", "Completed", "default", f"file://{vault}/default/monday"),
        ("tuesday", "Completed", "team/a", f"file://{vault}/team=2Fa/tuesday"),
    ]
    code, rows, _ = run(capsys, "list", f"file://{vault}/team=2Fa")
    assert [row["name"] for row in rows] == ["tuesday"]


def test_a_backup_is_verified_fetched_restored_and_deleted(vault, capsys, tmp_path):
    location = f"file://{vault}/default/monday"
    code, (manifest,), _ = run(capsys, "verify", location)
    assert (code, manifest["name"], manifest["entries"]) == (0, "monday", 1)
    code, (fetched,), _ = run(capsys, "fetch", location, tmp_path / "fetched.db")
    assert (code, fetched["sha256"]) == (0, manifest["sha256"])
    code, rows, error = run(capsys, "fetch", location, tmp_path / "fetched.db")
    assert (code, rows, "already" in error) == (1, [], True)
    code, (restored,), _ = run(capsys, "restore", location, "--data-dir", tmp_path / "new" / "data")
    assert (code, restored["entries"]) == (0, 1)
    database = sqlite3.connect(tmp_path / "new/data/swarm-memory.db")
    assert database.execute("SELECT key FROM entries").fetchall() == [("monday",)]
    database.close()
    assert run(capsys, "delete", location)[0] == 0
    code, rows, error = run(capsys, "verify", location)
    assert (code, rows, "no such backup" in error) == (3, [], True)
    assert error.startswith("swarm-memory: backup-not-found: ")


def test_a_database_is_never_overwritten_and_a_restore_that_was_killed_at_its_end_succeeds(vault, capsys, tmp_path):
    restore = ("restore", f"file://{vault}/default/monday", "--data-dir", tmp_path / "data")
    _, first, _ = run(capsys, *restore)
    assert run(capsys, *restore) == (0, first, ""), "the database is this backup: the kill came after it was in place"
    log = tmp_path / "data/swarm-memory.db-wal"
    log.write_bytes(b"")
    code, rows, error = run(capsys, *restore)
    assert (code, rows) == (1, [])
    assert error.startswith(f"swarm-memory: database-exists: there is a {log} already; ")
    log.unlink()
    with (tmp_path / "data/swarm-memory.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"written since")
    before = (tmp_path / "data/swarm-memory.db").read_bytes()
    code, rows, error = run(capsys, *restore)
    assert (code, rows) == (1, [])
    assert error.startswith("swarm-memory: database-exists: ")
    assert (tmp_path / "data/swarm-memory.db").read_bytes() == before


def test_what_is_damaged_fails(vault, capsys, tmp_path):
    with (vault / "default/monday/memory.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    for arguments in (("restore", "--data-dir", tmp_path / "new"), ("fetch", tmp_path / "x.db"), ("verify",)):
        code, rows, error = run(capsys, arguments[0], f"{vault}/default/monday", *arguments[1:])
        assert (code, rows, "SHA-256" in error) == (1, [], True)
        assert error.startswith("swarm-memory: backup-damaged: ")
    assert not (tmp_path / "new/swarm-memory.db").exists()
    code, rows, _ = run(capsys, "list", f"{vault}/default")
    assert [(row["phase"], row["name"]) for row in rows] == [("Incomplete", "half"), ("Failed", "monday")]


@pytest.mark.parametrize("location", ["s3://user:secret@bucket/a/b", "ftp://a/b", "no-such-folder/default/monday"])
def test_a_location_that_is_none_is_refused(location, capsys):
    code, rows, error = run(capsys, "verify", location)
    assert (code, rows) == (1, [])
    assert error.startswith("swarm-memory: ")
    assert "secret" not in error


@pytest.fixture
def data_dir(tmp_path):
    """The directory of a service that has stopped."""
    folder = tmp_path / "data"
    folder.mkdir()

    async def write():
        async with SqliteStore.open(folder / "swarm-memory.db", StoreConfig(swarm_id="bees")) as store:
            await store.put("n", "k", 1)

    asyncio.run(write())
    return folder


def make(capsys, root, data_dir, *arguments):
    location = f"file://{root}/bees/last"
    return run(capsys, "make", location, "--data-dir", data_dir, "--swarm-id", "bees", *arguments)


def test_a_backup_of_a_stopped_service_is_made_verified_and_reported(vault, data_dir, capsys, tmp_path):
    report = tmp_path / "report"
    code, (manifest,), _ = make(capsys, vault, data_dir, "--reason", "Final", "--report", report)
    assert (code, manifest["reason"], manifest["entries"], manifest["swarm_id"]) == (0, "Final", 1, "bees")
    assert json.loads(report.read_text()) == manifest
    assert run(capsys, "verify", f"file://{vault}/bees/last")[0] == 0
    code, (again,), _ = make(capsys, vault, data_dir)
    assert (code, again["completed_at"]) == (0, manifest["completed_at"]), "it is made once"


def test_a_directory_without_a_database_is_refused_unless_that_is_fine(vault, capsys, tmp_path):
    report, empty = tmp_path / "report", tmp_path / "empty"
    empty.mkdir()
    code, rows, error = make(capsys, vault, empty, "--report", report)
    assert (code, rows) == (1, [])
    assert error == f"swarm-memory: data_dir: there is no {empty}/swarm-memory.db; the database must exist\n"
    assert make(capsys, vault, empty, "--report", report, "--missing-ok")[:2] == (0, [])
    assert json.loads(report.read_text())["problem"]["code"] == NO_DATABASE
    assert list(empty.iterdir()) == [], "none is made"


@pytest.mark.parametrize(
    ("damage", "destination", "code"),
    [(b"no database" * 1000, "vault", "foreign-database"), (b"", "missing", "destination-missing")],
)
def test_why_none_could_be_made_is_reported(vault, data_dir, capsys, tmp_path, damage, destination, code):
    report = tmp_path / "report"
    if damage:
        (data_dir / "swarm-memory.db").write_bytes(damage)
    ended, rows, error = make(capsys, tmp_path / destination, data_dir, "--report", report)
    problem = json.loads(report.read_text())["problem"]
    assert (ended, rows, problem["code"]) == (1, [], code)
    assert problem["detail"] in error


def test_a_database_that_a_service_has_open_is_refused(vault, data_dir, capsys, tmp_path):
    lock = ProcessLock(data_dir / "swarm-memory.db")
    lock.acquire()
    code, _, error = make(capsys, vault, data_dir)
    lock.release()
    assert (code, "already open" in error) == (1, True)
