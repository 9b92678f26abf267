"""Copies of a database that is in use."""

import asyncio
import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from swarm_operator.memory import atomicfile
from swarm_operator.memory.core import Draft, Put
from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DiskFullError,
    InvalidInputError,
    ReadOnlyError,
    StorageIOError,
    StoreClosedError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import backup
from swarm_operator.memory.sqlite.database.driver import sqlite3


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def backups(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


@pytest.fixture
def gate(monkeypatch):
    """Holds a copy between its pages and its check, where nothing but `open` lets it go on."""

    class Gate:
        def __init__(self):
            self.reached = threading.Event()
            self.opened = threading.Event()

        async def wait(self):
            await asyncio.to_thread(self.reached.wait)

    real, the_gate = backup._finish, Gate()

    def finish(path, stop):
        the_gate.reached.set()
        while not (the_gate.opened.wait(0.01) or stop.is_set()):
            pass
        real(path, stop)

    monkeypatch.setattr(backup, "_finish", finish)
    return the_gate


async def test_a_backup_is_opened_like_any_database_and_has_everything(either_store, backups):
    for number in range(50):
        await either_store.put("n", f"k{number}", "ü" * number * 1000, tags=["t"])
    await either_store.delete("n", "k0")
    made = await either_store.backup(backups / "b.db")
    assert names(backups) == ["b.db"]
    assert (made.path, made.size) == (backups / "b.db", (backups / "b.db").stat().st_size)
    assert made.path.stat().st_mode & 0o077 == 0
    await either_store.put("n", "later", 1)
    async with SqliteStore.open(made.path) as copy:
        page = await copy.list("n", limit=1000)
        assert [(entry.key, entry.version) for entry in page.entries] == sorted((f"k{n}", 1) for n in range(1, 50))
        assert (await copy.get("n", "k49")).value == "ü" * 49_000
        assert (await copy.stats()).entries == 49


async def test_a_backup_is_a_single_file_that_can_be_read_where_nothing_can_be_written(store, backups):
    await store.put("n", "k", 1)
    made = await store.backup(backups / "b.db")
    backups.chmod(0o500)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{made.path}?mode=ro", uri=True)) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert db.execute("SELECT key FROM entries").fetchall() == [("k",)]
    finally:
        backups.chmod(0o700)
    assert names(backups) == ["b.db"]


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_writers_go_on_and_the_copy_is_that_of_one_moment(tmp_path, backups, monkeypatch, enable_wal):
    # Pairs are written together: a copy of one moment has both of each or none.
    monkeypatch.setattr(backup, "_PAGES_AT_ONCE", 1)
    config = StoreConfig(enable_wal=enable_wal, checkpoint_bytes=4096, compression_threshold=0)
    async with SqliteStore.open(tmp_path / "db", config) as store:
        await store.put("n", "ballast", "x" * 2_000_000)
        going = True
        written = 0

        async def write():
            nonlocal written
            while going:
                written += 1
                draft = [(f"{side}{written % 50}", written) for side in "ab"]
                await store.transact(
                    [("n", key) for key, _ in draft],
                    lambda _, __, draft=draft: [put("n", key, value) for key, value in draft],
                )

        def put(namespace, key, value):
            return Put(Draft.create(namespace, key, value))

        writing = asyncio.create_task(write())
        before = written
        made = [await store.backup(backups / f"b{number}") for number in range(3)]
        assert written > before
        going = False
        await writing
    for each in made:
        async with SqliteStore.open(each.path, config) as copy:
            values = {entry.key: entry.value for entry in (await copy.list("n", limit=1000)).entries}
            assert len(values.pop("ballast")) == 2_000_000
            for key, value in values.items():
                assert values[("b" if key[0] == "a" else "a") + key[1:]] == value


def test_a_commit_between_two_steps_does_not_make_the_copy_start_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "_PAGES_AT_ONCE", 1)
    with contextlib.ExitStack() as stack:
        source, other, copy = (
            stack.enter_context(contextlib.closing(sqlite3.connect(tmp_path / name, isolation_level=None)))
            for name in ("db", "db", "copy")
        )
        source.execute("PRAGMA journal_mode = WAL")
        source.execute("CREATE TABLE t (a BLOB)")
        source.execute("INSERT INTO t VALUES (zeroblob(200000))")

        class Stop:
            steps = 0

            def is_set(self):
                self.steps += 1
                if self.steps > 1:  # the first look comes when the snapshot is taken
                    other.execute("INSERT INTO t VALUES (1)")
                return self.steps > 300  # a copy that starts anew never ends

        backup._copy_pages(source, tmp_path / "copy", Stop())
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (1,)


async def test_while_a_backup_copies_a_long_log_does_not_make_the_writer_wait_for_it(tmp_path, backups, monkeypatch):
    held, go = threading.Event(), threading.Event()
    real = backup._copy_pages

    def copy_pages(db, path, stop):
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM entries").fetchone()  # the snapshot that the copy would hold
        held.set()
        assert go.wait(60)
        db.execute("COMMIT")
        real(db, path, stop)

    monkeypatch.setattr(backup, "_copy_pages", copy_pages)
    # Waiting would take a minute at each write, and the test's time is two.
    config = StoreConfig(checkpoint_bytes=4096, wal_limit_bytes=4096, busy_timeout_ms=60_000)
    async with SqliteStore.open(tmp_path / "db", config) as store:
        copying = asyncio.create_task(store.backup(backups / "b"))
        await asyncio.to_thread(held.wait)
        for number in range(5):
            await asyncio.wait_for(store.put("n", f"k{number}", "x" * 10_000), 30)
        assert (await store.stats()).wal_size_bytes > 4096
        go.set()
        await copying
        for number in range(2):
            await store.put("n", f"k{number}", "y" * 10_000)
        assert (await store.stats()).wal_size_bytes < 100_000


async def test_a_file_that_is_there_is_left_alone(store, backups):
    (backups / "b").write_text("somebody's")
    with pytest.raises(InvalidInputError, match=r"there is a .*b already"):
        await store.backup(backups / "b")
    assert (backups / "b").read_text() == "somebody's"
    with pytest.raises(InvalidInputError, match="already"):
        await store.backup(store.path)
    await store.put("n", "k", 1)


async def test_a_file_that_comes_meanwhile_is_left_alone_too(store, backups, gate):
    copying = asyncio.create_task(store.backup(backups / "b"))
    await gate.wait()
    (backups / "b").write_text("somebody's")
    gate.opened.set()
    with pytest.raises(InvalidInputError, match="already"):
        await copying
    assert (names(backups), (backups / "b").read_text()) == (["b"], "somebody's")


async def test_a_missing_directory_is_an_error_that_names_it(store, backups):
    with pytest.raises(StorageIOError, match=r"missing/b: No such file or directory"):
        await store.backup(backups / "missing" / "b")
    assert store.fault is None


async def test_a_damaged_database_gives_no_backup(tmp_path, backups):
    async with SqliteStore.open(tmp_path / "db") as store:
        for number in range(200):
            await store.put("n", f"k{number}", "x" * 200)
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries_updated'").fetchone()[0]
    with (tmp_path / "db").open("r+b") as file:  # the index points at rows that are not there
        file.seek((root - 1) * 4096 + 3)
        file.write(b"\x00\x01")
    async with SqliteStore.open(tmp_path / "db") as store:
        with pytest.raises(CorruptDatabaseError, match="the backup"):
            await store.backup(backups / "b")
    assert names(backups) == []


async def test_a_caller_that_gives_up_leaves_nothing(store, backups, gate):
    copying = asyncio.create_task(store.backup(backups / "b"))
    await gate.wait()
    assert len(names(backups)) == 1
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert names(backups) == []
    gate.opened.set()
    await store.backup(backups / "b")
    assert names(backups) == ["b"]


async def test_closing_the_store_stops_a_backup_and_leaves_nothing(tmp_path, backups, gate):
    async with SqliteStore.open(tmp_path / "db") as store:
        await store.put("n", "k", 1)
        copying = asyncio.create_task(store.backup(backups / "b"))
        await gate.wait()
    with pytest.raises(StoreClosedError):
        await copying
    assert names(backups) == []
    with pytest.raises(StoreClosedError):
        await store.backup(backups / "b")


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_a_stopped_copy_ends_between_two_pages(tmp_path, enable_wal):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(enable_wal=enable_wal)) as store:
        stop = threading.Event()
        stop.set()
        with pytest.raises(backup.StoppedError):
            await store._worker.run(lambda db: backup._copy_pages(db, tmp_path / "copy", stop))
        await store.put("n", "k", 1)


async def test_a_snapshot_has_no_name_and_is_the_whole_database(store, tmp_path):
    await store.put("n", "k", "x" * 100_000)
    before = names(tmp_path)
    async with store.snapshot() as snapshot:
        assert names(tmp_path) == before
        content = snapshot.file.read()
    assert (len(content), hashlib.sha256(content).digest()) == (snapshot.size, snapshot.sha256)
    assert snapshot.file.closed
    (tmp_path / "again.db").write_bytes(content)
    async with SqliteStore.open(tmp_path / "again.db") as copy:
        assert (await copy.get("n", "k")).value == "x" * 100_000


PROGRAM = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import backup
from swarm_operator.memory.core.errors import StorageError

async def main(what, database, target):
    async with SqliteStore.open(database) as store:
        if what == "fill":
            for number in range(40):
                await store.put("n", f"k{number}", os.urandom(50_000).hex())
        elif what == "killed":
            backup._finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            await store.backup(target)
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            try:
                await store.backup(target)
            except StorageError as error:
                print(error.code, error)

asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
"""


def program(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], check=False, capture_output=True, text=True
    )


def test_a_killed_backup_is_no_backup_and_the_next_one_tidies_up(tmp_path, backups):
    assert program("fill", tmp_path / "db", backups / "b").returncode == 0
    assert program("killed", tmp_path / "db", backups / "b").returncode == -signal.SIGKILL
    (left,) = names(backups)
    assert left.startswith(".b.")

    async def again():
        async with SqliteStore.open(tmp_path / "db") as store:
            await store.backup(backups / "c")

    asyncio.run(again())
    assert names(backups) == ["c"]


def test_what_was_left_beside_the_database_goes_when_it_is_opened(tmp_path):
    assert program("fill", tmp_path / "db", tmp_path / "b").returncode == 0
    assert program("killed", tmp_path / "db", tmp_path / "b").returncode == -signal.SIGKILL
    assert any(name.startswith(".b.") for name in names(tmp_path))

    async def again():
        async with SqliteStore.open(tmp_path / "db"):
            return names(tmp_path)

    assert not any(name.startswith(".") for name in asyncio.run(again()))


def test_a_disk_that_takes_no_more_leaves_nothing_half_made(tmp_path, backups):
    """A limit on the length of files: EFBIG instead of ENOSPC, and an I/O error to SQLite."""
    assert program("fill", tmp_path / "db", backups / "b").returncode == 0
    done = program("limited", tmp_path / "db", backups / "b")
    assert (done.returncode, done.stdout, names(backups)) == (0, "io-error the backup: disk I/O error\n", []), (
        done.stderr
    )


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EROFS, ReadOnlyError)])
async def test_a_disk_that_fails_when_the_copy_is_synced_leaves_nothing(store, backups, monkeypatch, number, kind):
    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomicfile.os, "fsync", fail)
    with pytest.raises(kind, match=os.strerror(number)):
        await store.backup(backups / "b")
    assert names(backups) == []
