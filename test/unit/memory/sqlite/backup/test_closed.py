"""Backups of a database file that no process has open."""

import asyncio
import contextlib
import hashlib
import os
import subprocess
import threading
from types import SimpleNamespace

import pytest

from swarm_operator.memory.core.errors import CorruptDatabaseError, DiskFullError, ForeignDatabaseError, StorageIOError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.backup import closed
from swarm_operator.memory.sqlite.backup.closed import ClosedDatabase
from swarm_operator.memory.sqlite.backup.verify import check


@pytest.fixture
async def file(tmp_path):
    """A database as it is after it was closed: its header still says that it had a log."""
    async with SqliteStore.open(tmp_path / "store.db") as store:
        for number in range(100):
            await store.put("n", f"k{number}", os.urandom(20_000).hex())
    return tmp_path / "store.db"


@pytest.fixture
def mounted(tmp_path):
    """mounted(size) mounts another file system and returns its directory."""
    directory = tmp_path / "elsewhere"

    def mount(size):
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=True)
        return directory

    yield mount
    subprocess.run(["umount", "--lazy", directory], check=True)


async def entries(path):
    async with SqliteStore.open(path) as store:
        return (await store.stats()).entries


def journal(path):
    """The journal mode in the header: 1 is a rollback journal, 2 a write-ahead log."""
    return set(path.read_bytes()[18:20])


async def test_the_file_itself_becomes_the_backup(file, tmp_path):
    assert journal(file) == {2}
    target = tmp_path / "backup.db"
    backup = await ClosedDatabase(file, "s").backup(target)
    assert (backup.path, backup.size) == (target, target.stat().st_size)
    assert target.samefile(file)
    assert target.stat().st_mode & 0o777 == 0o600
    assert journal(target) == {1}
    assert check(target).ok
    assert await entries(target) == 100


async def test_on_another_file_system_it_is_copied(file, mounted):
    target = mounted("64m") / "backup.db"
    backup = await ClosedDatabase(file, "s").backup(target)
    assert backup.size == file.stat().st_size
    assert target.read_bytes() == file.read_bytes()
    assert not target.samefile(file)
    assert target.stat().st_mode & 0o777 == 0o600


async def test_a_snapshot_is_the_file_and_takes_no_space(file, tmp_path):
    before = set(tmp_path.iterdir())
    async with ClosedDatabase(file, "s").snapshot(tmp_path) as snapshot:
        assert set(tmp_path.iterdir()) == before
        content = snapshot.file.read()
    assert (len(content), hashlib.sha256(content).digest()) == (snapshot.size, snapshot.sha256)
    assert content == file.read_bytes()
    assert journal(file) == {1}


async def test_an_error_leaves_no_file(file, mounted, tmp_path):
    directory = mounted("1m")
    with pytest.raises(DiskFullError):
        await ClosedDatabase(file, "s").backup(directory / "backup.db")
    assert list(directory.iterdir()) == []
    target = tmp_path / "backup.db"
    target.write_bytes(b"somebody else's")
    with pytest.raises(StorageIOError):
        await ClosedDatabase(file, "s").backup(target)
    assert target.read_bytes() == b"somebody else's"


async def test_a_cancelled_copy_ends_and_leaves_no_file(file, mounted, monkeypatch):
    inside, loop = asyncio.Event(), asyncio.get_running_loop()

    class Watched(threading.Event):
        """Says that it was looked at, and waits until it is set."""

        def is_set(self):
            loop.call_soon_threadsafe(inside.set)
            return self.wait()

    monkeypatch.setattr(closed, "threading", SimpleNamespace(Event=Watched))
    directory = mounted("64m")
    copying = asyncio.ensure_future(ClosedDatabase(file, "s").backup(directory / "backup.db"))
    await inside.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert list(directory.iterdir()) == []


async def test_what_is_no_database_is_no_backup(file, tmp_path):
    file.write_bytes(b"x" * 10_000)
    source = ClosedDatabase(file, "s")
    with pytest.raises((CorruptDatabaseError, ForeignDatabaseError)):
        await source.backup(tmp_path / "backup.db")
    with pytest.raises((CorruptDatabaseError, ForeignDatabaseError)):
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(source.snapshot())
