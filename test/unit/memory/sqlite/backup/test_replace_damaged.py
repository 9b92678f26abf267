"""A database that is damaged while the store is in use is replaced by a good one."""

import os

import pytest

from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    MissedChangesError,
    StorageIOError,
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import replace
from swarm_operator.memory.sqlite.backup.verify import check

ENTRIES = 60
PAGE = 4096


@pytest.fixture(params=["wal", "journal"])
def config(request):
    return StoreConfig(enable_wal=request.param == "wal", gc_interval=1e9, compression_threshold=0)


async def do_nothing(_):
    """See Store.replace."""


@pytest.mark.parametrize("part", [(0.0, 1.0), (0.01, 1.0), (0.3, 0.7)], ids=["all", "but the first page", "the middle"])
async def test_a_damaged_database_is_replaced_and_nothing_known_of_it_matches(tmp_path, config, part, monkeypatch):
    monkeypatch.setattr(replace, "MARGIN", 1)  # it hides nothing
    file = tmp_path / "m.db"
    async with SqliteStore.open(file, config) as store:
        for number in range(ENTRIES):
            await store.put("n", f"k{number}", os.urandom(5000).hex())
        await store.backup(tmp_path / "copy.db")
        for number in range(9):
            newest, _ = await store.put("n", "k0", number)
        async with store.watch() as watch:
            position = watch.position
    async with SqliteStore.open(file, config) as store:  # with nothing of it in memory
        pages = file.stat().st_size // PAGE
        first, last = (round(pages * share) for share in part)
        with file.open("r+b") as opened:
            opened.seek(first * PAGE)
            opened.write(os.urandom((last - first) * PAGE))
        with pytest.raises(CorruptDatabaseError):
            await store.list("n", limit=1000)
        (tmp_path / "former").mkdir()
        await store.replace(tmp_path / "copy.db", former=tmp_path / "former" / "m.db", before=do_nothing)
        entries = (await store.list("n", limit=1000)).entries
        assert len(entries) == ENTRIES
        assert min(entry.version for entry in entries) > newest.version
        assert max(entry.version for entry in entries) < 2**53, "JSON's numbers"
        with pytest.raises(VersionConflictError):
            await store.put("n", "k0", 1, if_version=newest.version)
        with pytest.raises(MissedChangesError):
            async with store.watch(since=position) as watch:
                await watch.next()
        await store.put("n", "k0", 1)
        assert store.fault is None
    assert check(file).ok


async def test_another_failure_of_the_disk_replaces_nothing(tmp_path, config, monkeypatch):
    async def fail(*_):
        error = replace.sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = replace.sqlite3.SQLITE_IOERR
        raise error

    async with SqliteStore.open(tmp_path / "m.db", config) as store:
        await store.put("n", "k", 1)
        await store.backup(tmp_path / "copy.db")
        await store.put("n", "k", 2)
        monkeypatch.setattr(store._backups, "read", fail)
        with pytest.raises(StorageIOError):
            await store.replace(tmp_path / "copy.db", former=tmp_path / "former.db", before=do_nothing)
        assert (await store.get("n", "k")).value == 2
        await store.put("n", "k", 3)
