"""A replacement that fails, or is killed, leaves the old data or the new."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.budget import budget
from support.replacements import swap, values

from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DiskFullError,
    ForeignDatabaseError,
    NewerSchemaError,
    StorageIOError,
    StoreClosedError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import replace
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import words

MIB = 1024 * 1024


def findings(path):
    return list(check(path).findings)


@pytest.mark.parametrize("step", ["set_aside", "put_in_place", "open_writer", "open_reader", "sync_directory"])
async def test_a_step_that_fails_leaves_the_old_file_in_use(store, place, monkeypatch, step):
    """Whatever fails, before the rename or after it."""
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")
    real, calls = getattr(replace, step), []

    def fail(*arguments):
        calls.append(arguments)
        # Of the directory: the sync after the rename.
        if len(calls) == (3 if step == "sync_directory" else 1):
            raise OSError(5, "the disk is broken")
        return real(*arguments)

    monkeypatch.setattr(replace, step, fail)
    async with store.watch() as watch:
        with pytest.raises(StorageIOError):
            await swap(store, place)
        assert await values(store) == {"k": "new"}
        entry, _ = await store.put("n", "k", "newer", if_version=2)
        assert entry.version == 3
        assert [change.version for change in await watch.next(5)] == [3]
    assert (await store.get("n", "k")).value == "newer"
    assert store.alive
    await store.backup(place.with_name("b.db"))
    assert findings(place.with_name("b.db")) == []


async def test_a_file_that_cannot_be_opened_again_ends_the_store_and_nobody_waits(store, place, monkeypatch):
    await store.put("n", "k", "old")
    await store.backup(place)

    async def fail(*_):
        raise StorageIOError("too many open files")

    monkeypatch.setattr(replace, "open_writer", fail)
    with pytest.raises(StorageIOError):
        await swap(store, place)
    assert not store.alive
    with pytest.raises(StoreClosedError):
        await store.list("n")
    with pytest.raises(StoreClosedError):
        await store.put("n", "k", 1)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.path.with_name(store.path.name + ".lock").unlink)


async def test_another_program_that_has_the_database_open_stops_it(store, place):
    await store.put("n", "k", "old")
    await store.backup(place)
    await store.put("n", "k", "new")
    code = (
        f"import sqlite3; db = sqlite3.connect({str(store.path)!r}); "
        "db.execute('SELECT * FROM entries').fetchall(); print('open', flush=True); input()"
    )
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    try:
        await program.stdout.readline()
        with pytest.raises(StorageIOError, match="no other program"):
            await swap(store, place)
        assert await values(store) == {"k": "new"}
        await store.put("n", "k", "newer")
    finally:
        await program.communicate(b"\n")
    await store.backup(place.with_name("again.db"))
    await swap(store, place.with_name("again.db"))
    assert await values(store) == {"k": "newer"}


async def test_what_is_no_backup_is_refused(store, place):
    await store.put("n", "k", "here")
    await store.backup(place)
    size = place.stat().st_size
    whole = place.read_bytes()
    newer = place.with_name("newer.db")
    newer.write_bytes(whole)
    with contextlib.closing(sqlite3.connect(newer)) as db:
        db.execute(f"PRAGMA user_version = {schema.LATEST + 1}")
    damaged = place.with_name("damaged.db")
    damaged.write_bytes(whole[: size // 2] + bytes(size - size // 2))
    foreign = place.with_name("foreign.db")
    with contextlib.closing(sqlite3.connect(foreign)) as db:
        db.execute("CREATE TABLE t (x)")
    empty = place.with_name("empty.db")
    empty.write_bytes(b"")
    for path, error in (
        (newer, NewerSchemaError), (damaged, CorruptDatabaseError), (foreign, ForeignDatabaseError),
        (empty, CorruptDatabaseError),
    ):  # fmt: skip
        with pytest.raises(error):
            await swap(store, path)
    assert await values(store) == {"k": "here"}
    await store.put("n", "k", 2)


@pytest.fixture
def small_disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


async def test_a_full_disk_leaves_everything_as_it_was(small_disk, tmp_path):
    """Preparing the copy takes room: its index of words is brought up to its changes."""
    async with SqliteStore.open(tmp_path / "source.db", StoreConfig(full_text=False)) as source:
        for number in range(200):
            await source.put("n", f"k{number}", os.urandom(20_000).hex())
        (small_disk / "restore").mkdir()
        copy = small_disk / "restore" / "copy.db"
        await source.backup(tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as db:
        db.execute("UPDATE text_index SET revision = ?, position = 0", (words.REVISION,))
    async with SqliteStore.open(small_disk / "store.db") as store:
        await store.put("n", "k", "here")
        await asyncio.to_thread(shutil.copyfile, tmp_path / "copy.db", copy)
        room = shutil.disk_usage(small_disk).free
        (small_disk / "ballast").write_bytes(b"\0" * (room - 2 * MIB))
        with pytest.raises(DiskFullError):
            await swap(store, copy)
        assert await values(store) == {"k": "here"}
        copy.unlink()
        await store.put("n", "k2", "written")
        (small_disk / "ballast").unlink()
        await asyncio.to_thread(shutil.copyfile, tmp_path / "copy.db", copy)
        await swap(store, copy)
        assert len(await values(store)) == 200


KILLED = Path(__file__).with_name("killed_replacement.py")


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_kill_at_any_line_leaves_the_old_data_or_the_new(tmp_path, journal):
    """The program kills a process at every few lines of backup.replace, and looks at what is there afterwards."""
    done = subprocess.run(
        [sys.executable, KILLED, tmp_path, journal, str(budget(4, long=2))],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = done.stdout.split()
    assert set(outcomes) == {"old", "new"}
    # Two threads count lines, so those of one may come before or after those of the other.
    assert outcomes.count("old") > budget(5, long=10)
    assert outcomes.count("new") > budget(0, long=2)
