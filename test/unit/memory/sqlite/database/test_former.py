"""The database of before a change of its schema: kept until the release is ready, and put back by an earlier one."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from swarm_operator.memory.core.errors import NewerSchemaError, StorageIOError, UpgradingError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import former, schema
from swarm_operator.memory.sqlite.database.driver import sqlite3

KEEP = StoreConfig(keep_former=True, gc_interval=1e9)
NO_WAL = replace(KEEP, enable_wal=False)
BY_HAND = replace(KEEP, keep_former=False)
CHANGE = ("CREATE TABLE more (x INTEGER) STRICT", "UPDATE entries SET value = x'5b5d', size = 2")
KILLED = Path(__file__).with_name("killed_upgrade.py")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.db"


@pytest.fixture
def copy(path):
    return path.with_name("m.db-former")


@pytest.fixture
def next_release(monkeypatch):
    """Be the next release inside the context: it knows one schema more."""

    @contextlib.contextmanager
    def be():
        with monkeypatch.context() as patch:
            patch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, CHANGE))
            patch.setattr(schema, "LATEST", schema.LATEST + 1)
            yield

    return be


@pytest.fixture
def opened(path, recorder):
    @contextlib.asynccontextmanager
    async def open_store(config=KEEP):
        async with SqliteStore.open(path, config, observer=recorder) as store:
            yield store

    return open_store


@pytest.fixture
async def written(opened):
    """A store of this release that has acknowledged a write. Nothing is copied for a new file."""
    async with opened() as store:
        entry, _ = await store.put("n", "k", 1)
    return entry


async def test_writes_are_refused_until_the_release_is_ready_and_then_there_is_no_way_back(
    written, opened, next_release, copy, path, recorder
):
    with next_release():
        async with opened() as store:
            assert (await store.get("n", "k")).value == []
            (path.parent / "r").mkdir()
            backup = (await store.backup(path.parent / "r" / "backup.db")).path
            for write in (
                store.put("n", "k", 2), store.delete("n", "k"), store.collect_garbage(), store.stop_writes("b"),
                store.replace(backup, former=path.with_name("f.db"), before=None),
            ):  # fmt: skip
                with pytest.raises(UpgradingError, match="until it is ready"):
                    await write
            assert copy.exists()
            await store.confirm_upgrade()
            assert not copy.exists()
            await store.put("n", "k", 3)
            await store.confirm_upgrade()
        assert recorder.former == ["kept"]
        async with opened() as store:
            await store.put("n", "k", 4)
    with pytest.raises(NewerSchemaError):
        async with opened():
            pass


@pytest.mark.parametrize("config", [KEEP, NO_WAL, BY_HAND], ids=["log", "journal", "by hand"])
async def test_an_earlier_release_puts_the_copy_back(written, opened, next_release, copy, config, recorder):
    with next_release():
        async with opened(replace(config, keep_former=True)):
            pass
    async with opened(config) as store:
        assert await store.get("n", "k") == written
        await store.put("n", "k", 2)
    assert recorder.former == ["kept", "put-back"]
    assert not copy.exists()


@pytest.mark.parametrize("name", ["m.db-former", "m.db-returning"])
async def test_the_log_of_the_changed_database_is_not_applied_to_the_copy(
    written, opened, next_release, tmp_path, name
):
    """The log may be there when the copy is found, and when a kill has interrupted its return."""
    with next_release():
        async with opened():
            killed = tmp_path / "killed"
            shutil.copytree(tmp_path, killed, ignore=lambda *_: ["killed"])
    assert (killed / "m.db-wal").stat().st_size > 0
    (killed / "m.db-former").rename(killed / name)
    async with SqliteStore.open(killed / "m.db", KEEP) as store:
        assert await store.get("n", "k") == written
    assert [row[0] for row in rows(killed / "m.db", "PRAGMA integrity_check")] == ["ok"]


async def test_a_return_that_is_cut_off_is_completed(written, opened, next_release, path, monkeypatch):
    """Another program may have the database open, and so keep its log."""
    log = path.with_name("m.db-wal")

    def fail_without_log(directory):
        if not log.exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(directory)

    with next_release():
        async with opened():
            reader = sqlite3.connect(path, isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entries").fetchone()
    assert log.exists()
    real = former.sync_directory
    with monkeypatch.context() as patch:
        patch.setattr(former, "sync_directory", fail_without_log)
        with pytest.raises(StorageIOError):
            await opened().__aenter__()
    reader.close()  # which may write the rest of its log into the database
    async with opened() as store:
        assert await store.get("n", "k") == written


async def test_a_release_that_starts_again_goes_on_to_wait(written, opened, next_release, copy, recorder):
    with next_release():
        for _ in range(2):
            async with opened() as store:
                with pytest.raises(UpgradingError):
                    await store.put("n", "k", 2)
            made = copy.stat().st_ino
    assert (copy.stat().st_ino, recorder.former) == (made, ["kept"])


async def test_a_copy_of_an_unchanged_database_is_made_again(written, opened, next_release, copy, path):
    """The release that kept it was killed before it changed anything, and one that knows of no copy took writes."""
    shutil.copyfile(path, copy)
    db = sqlite3.connect(path)
    with contextlib.closing(db), db:
        db.execute("UPDATE entries SET version = 7")
    with next_release():
        async with opened():
            pass
    async with opened() as store:
        assert (await store.get("n", "k")).version == 7


async def test_no_copy_is_kept_where_nobody_asks_for_one(written, opened, next_release, copy, recorder):
    with next_release():
        async with opened():
            pass
        async with opened(BY_HAND) as store:
            await store.put("n", "k", 2)
    assert (copy.exists(), recorder.former) == (False, ["kept", "dropped"])


async def test_a_copy_that_nobody_asks_for_is_not_made_again(written, opened, next_release, copy, path):
    shutil.copyfile(path, copy)
    with next_release():
        async with opened(BY_HAND) as store:
            await store.put("n", "k", 2)
    assert not copy.exists()


@pytest.mark.parametrize("cause", ["little is free", "it is full after all"])
async def test_without_room_for_a_copy_there_is_no_way_back(
    written, opened, next_release, copy, recorder, monkeypatch, cause
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if cause == "little is free":
        usage = shutil.disk_usage(copy.parent)
        monkeypatch.setattr(former.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    else:
        monkeypatch.setattr(former.shutil, "copyfile", full)
    with next_release():
        async with opened() as store:
            await store.put("n", "k", 2)
    assert (sorted(path.name for path in copy.parent.glob("*former*")), recorder.former) == ([], ["no-room"])


async def test_a_damaged_database_is_replaced_by_the_copy(written, opened, next_release, path):
    with next_release():
        async with opened():
            pass
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = bytes(3996)  # the table of tables
    path.write_bytes(damaged)
    async with opened() as store:
        assert await store.get("n", "k") == written


async def test_an_earlier_release_than_the_copy_changes_nothing(written, opened, next_release, path, copy, monkeypatch):
    with next_release():
        async with opened():
            pass
    before = copy.read_bytes(), path.read_bytes()
    monkeypatch.setattr(schema, "LATEST", schema.LATEST - 1)
    with pytest.raises(NewerSchemaError):
        async with opened():
            pass
    assert (copy.read_bytes(), path.read_bytes()) == before


async def test_writes_stay_refused_while_the_copy_cannot_be_deleted(written, opened, next_release, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with next_release():
        async with opened() as store:
            with monkeypatch.context() as patch:
                patch.setattr(former, "sync_directory", fail)
                with pytest.raises(StorageIOError):
                    await store.confirm_upgrade()
            with pytest.raises(UpgradingError):
                await store.put("n", "k", 2)
            await store.confirm_upgrade()
            await store.put("n", "k", 2)


async def test_a_store_that_is_deleted_needs_no_way_back(written, opened, next_release, copy):
    config = replace(KEEP, final_backup="final")
    async with opened(config) as store:
        await store.stop_writes("final")
    with next_release():
        async with opened(config) as store:
            assert not copy.exists()
            await store.resume_writes("final")
            await store.put("n", "k", 2)


@pytest.mark.parametrize("who", ["create", "upgrade", "return"])
def test_a_kill_at_any_step_loses_no_acknowledged_write(tmp_path, who):
    command = [sys.executable, KILLED, tmp_path, who]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = done.stdout.split()
    assert len(outcomes) > 5
    assert who == "create" or outcomes.count("put-back") > 2, outcomes
    assert who != "upgrade" or outcomes.count("newer") > 0, outcomes


def rows(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()
