"""A store that is deleted after a final backup takes no writes from its beginning on, also after a restart."""

import contextlib
import errno
import os
from dataclasses import replace

import pytest

from swarm_operator.memory.core.errors import DeletingError, DiskFullError, StorageIOError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import deletion

OWNER = StoreConfig(final_backup="bees-final-1", gc_interval=1e9)
LATER = replace(OWNER, final_backup="bees-final-2")
"""A later owner of the same volume."""
NOBODY = replace(OWNER, final_backup=None)


@pytest.fixture
def opened(tmp_path):
    @contextlib.asynccontextmanager
    async def open_store(config=OWNER):
        async with SqliteStore.open(tmp_path / "m.db", config) as store:
            yield store

    return open_store


@pytest.fixture
def takes_writes(opened):
    """Whether a store takes writes that is opened anew."""

    async def ask(config=OWNER):
        async with opened(config) as store:
            try:
                await store.put("n", "after", 1)
            except DeletingError:
                return False
            return True

    return ask


async def test_the_refusal_outlives_the_process_and_reads_go_on(opened, takes_writes):
    async with opened() as store:
        await store.put("n", "k", 1)
        await store.stop_writes("bees-final-1")
    assert not await takes_writes()
    assert not await takes_writes()
    async with opened() as store:
        assert (await store.get("n", "k")).value == 1
        for write in (store.put("n", "k", 2), store.delete("n", "k"), store.delete_range("n"), store.collect_garbage()):
            with pytest.raises(DeletingError):
                await write
        await store.stop_writes("bees-final-1")  # asked for again


async def test_called_off_it_is_over_for_good(opened, takes_writes):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
    async with opened() as store:
        await store.resume_writes("another")
        with pytest.raises(DeletingError):
            await store.put("n", "k", 2)
        await store.resume_writes("bees-final-1")
        await store.put("n", "k", 2)
        await store.resume_writes("bees-final-1")
    assert await takes_writes()


async def test_a_later_owner_of_the_volume_takes_writes(opened, takes_writes):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
    assert await takes_writes(LATER)
    assert await takes_writes(), "the note is gone"


async def test_one_without_a_final_backup_leaves_the_note_alone(opened, takes_writes):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
    assert await takes_writes(NOBODY)
    assert not await takes_writes()


@pytest.mark.parametrize("config", [OWNER, NOBODY])
async def test_another_backup_refuses_writes_until_the_end_of_the_process(opened, takes_writes, config):
    async with opened(config) as store:
        await store.stop_writes("by-hand")
        with pytest.raises(DeletingError):
            await store.put("n", "k", 1)
    assert await takes_writes(config)


async def test_the_first_of_two_final_backups_counts(opened, takes_writes):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
        await store.stop_writes("another")
        await store.resume_writes("another")
        with pytest.raises(DeletingError):
            await store.put("n", "k", 2)
    assert not await takes_writes()


async def test_a_copy_of_the_database_takes_writes(opened, tmp_path):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
        await store.backup(tmp_path / "copy.db")
    async with SqliteStore.open(tmp_path / "copy.db", OWNER) as copy:
        await copy.put("n", "k", 1)


async def test_a_full_disk_gives_up_its_reserve_for_the_note(opened, takes_writes, tmp_path, monkeypatch):
    real, reserve = deletion.AtomicFile.create, tmp_path / "m.db-reserve"

    def create(target, **options):
        if reserve.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(target, **options)

    monkeypatch.setattr(deletion.AtomicFile, "create", create)
    async with opened(replace(OWNER, reserve_bytes=4096)) as store:
        await store.put("n", "k", 1)
        with pytest.raises(DiskFullError):
            await store.stop_writes("bees-final-1")
        assert await store.delete("n", "k"), "nothing is refused, for there is no note"
        await store.stop_writes("bees-final-1")
    assert not await takes_writes()


async def test_a_note_that_cannot_be_removed_goes_on_to_refuse(opened, takes_writes, monkeypatch):
    async with opened() as store:
        await store.stop_writes("bees-final-1")
        with monkeypatch.context() as patch:
            patch.setattr(deletion, "sync_directory", _fail)
            with pytest.raises(StorageIOError):
                await store.resume_writes("bees-final-1")
        with pytest.raises(DeletingError):
            await store.put("n", "k", 1)


def _fail(_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
