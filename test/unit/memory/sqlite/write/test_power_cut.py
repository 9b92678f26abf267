"""Durability: what is on disk when power fails at any moment, and after a sync that failed."""

import asyncio
import contextlib
import random

import pytest
from support.disk import Disk, fail

from swarm_operator.memory.core.errors import StorageIOError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3

KIB = 1024
CONFIG = StoreConfig(
    checkpoint_bytes=96 * KIB, wal_limit_bytes=192 * KIB, probe_interval=3600, compression_threshold=0, full_text=False
)
LOG = "db-wal"


@pytest.fixture
def disk(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    with Disk(folder).below_sqlite(monkeypatch) as disk:
        yield disk


def found_in(image, folder):
    """Return the values by key that SQLite finds on the disk after a power cut."""
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    with contextlib.closing(sqlite3.connect(folder / "db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(database.execute("SELECT key, value FROM entries WHERE namespace = 'n'").fetchall())


async def test_every_acknowledged_write_is_on_disk_when_power_fails(disk, tmp_path):
    """Images are taken at random moments of a load with checkpoints, with none or some of what no sync has covered."""
    chosen, states, known, cuts, synced = random.Random(19), {}, {}, [], []

    def cut(generator=None):
        acknowledged = dict(known)  # before the image: what is acknowledged later may be in it, too
        cuts.append((acknowledged, disk.image(generator)))

    def at_sync(name):
        synced.append(name)
        if chosen.random() < 0.05:
            cut(chosen)

    async def write(store, key):
        for number in range(30):
            value = None if number % 7 == 5 else f"{number} " * chosen.randrange(1, 400)
            states[key].append(None if value is None else b'"%s"' % value.encode())
            await (store.delete("n", key) if value is None else store.put("n", key, value))
            known[key] = number + 1
            if chosen.random() < 0.1:
                cut(chosen if chosen.random() < 0.5 else None)

    keys = [f"k{number}" for number in range(8)]
    states.update((key, [None]) for key in keys)
    known.update((key, 0) for key in keys)
    async with SqliteStore.open(disk.folder / "db", CONFIG) as store:
        disk.at_sync = at_sync
        await asyncio.gather(*(write(store, key) for key in keys))
        cut()
    assert len(cuts) > 20
    assert synced.count("db") > 3, "checkpoints"
    for number, (acknowledged, image) in enumerate(cuts):
        found = found_in(image, tmp_path / f"cut{number}")
        for key, oldest in acknowledged.items():
            assert found.get(key) in states[key][oldest:], (number, key, oldest)


@pytest.mark.parametrize("failing", [LOG, "db"])
async def test_after_a_sync_that_failed_what_is_acknowledged_is_on_disk(disk, tmp_path, failing):
    """The kernel drops what it could not write and reports it once: the next sync succeeds and covers none of it."""
    failures = []

    def at_sync(name):
        if name == failing and not failures:
            failures.append(name)
            fail()

    async with SqliteStore.open(disk.folder / "db", CONFIG) as store:
        await asyncio.gather(*(store.put("n", f"k{number}", "x" * 3000) for number in range(20)))
        await store.put("n", "k0", "old")
        disk.at_sync = at_sync
        if failing == LOG:
            with pytest.raises(StorageIOError):
                await store.put("n", "k0", "lost")
            assert isinstance(store.fault, StorageIOError)
            assert (await store.get("n", "k0")).value == "old"
        number = 0
        while not failures:  # until a checkpoint fails
            await store.put("n", f"more{number}", "y" * 3000)
            number += 1
        await store.put("n", "k0", "new")
        assert store.fault is None
        found = found_in(disk.image(), tmp_path / "cut")
        assert found["k0"] == b'"new"'
        assert len(found) == 20 + number
