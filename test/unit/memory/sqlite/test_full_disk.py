"""A full disk, not a mock: what was written can be read and deleted, and writes come back when there is room."""

import contextlib
import itertools
import os
import subprocess

import pytest

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.core.errors import DiskFullError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig

MIB = 1024 * 1024
PREFIXES = ("k1", "k3", "k4", "k5", "k6")
RESERVE = 6 * MIB
"""Space for the words of the last writes, which a busy machine may index after the disk is full."""


@pytest.fixture
def disk(tmp_path):
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


async def fill(store):
    """Write until the disk is full. Returns the keys of what was acknowledged."""
    written = []
    with contextlib.suppress(DiskFullError):
        for number in itertools.count():
            await store.put("n", f"k{number}", os.urandom(50_000).hex())
            written.append(f"k{number}")
    return written


def config(**settings):
    return StoreConfig(probe_interval=0.02, checkpoint_bytes=MIB, compression_threshold=0, **settings)


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_a_full_disk_takes_deletes_and_then_writes_again(disk, recorder, enable_wal):
    reserve = disk / "db-reserve"
    async with SqliteStore.open(
        disk / "db", config(reserve_bytes=RESERVE, enable_wal=enable_wal), observer=recorder
    ) as store:
        written = await fill(store)
        assert reserve.exists() is False
        draft = Draft.create("n", "new", 1)
        for refused in (store.put("n", "new", 1), store.batch([Put(draft), Delete(("n", "k0"))])):
            with pytest.raises(DiskFullError, match="entries can be read and deleted"):
                await refused
        assert isinstance(store.fault, DiskFullError)
        assert len((await store.get("n", written[-1])).value) == 100_000
        assert await store.delete("n", "k0")
        assert await store.batch([Delete(("n", "k1")), Delete(("n", "k2"))]) == [True, True]
        for prefix in PREFIXES:
            assert await store.delete_range("n", prefix=prefix) > 5
        assert not recorder.recoveries.is_set(), "what was deleted is in the file still"
        await store.collect_garbage()
        await recorder.recoveries.wait()
        assert reserve.stat().st_blocks * 512 >= RESERVE
        await store.put("n", "new", 1)
    async with SqliteStore.open(disk / "db", config(reserve_bytes=RESERVE)) as store:
        deleted = {"k0", "k1", "k2"} | {key for key in written if key.startswith(PREFIXES)}
        found = (await store.list("n", limit=1000)).entries
        assert {entry.key for entry in found} == {*written, "new"} - deleted


async def test_a_database_that_is_replaced_on_a_full_disk_takes_writes_when_there_is_room(disk, recorder):
    (disk / "ballast").write_bytes(b"\0" * 12 * MIB)
    async with SqliteStore.open(disk / "db", config(reserve_bytes=4 * MIB), observer=recorder) as store:
        await fill(store)
        store._forget(0)  # as a replacement ends
        assert isinstance(store.fault, DiskFullError)
        (disk / "ballast").unlink()
        await recorder.recoveries.wait()
        await store.put("n", "new", 1)


async def test_without_a_reserve_nothing_can_be_deleted(disk):
    async with SqliteStore.open(disk / "db", config()) as store:
        await fill(store)
        with pytest.raises(DiskFullError):
            await store.delete_range("n")
