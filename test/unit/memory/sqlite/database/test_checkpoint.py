"""The log stays bounded, and is gone after a clean end."""

import asyncio

import pytest

from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.write import writer

KIB = 1024
PAGE = 4096


async def test_the_log_is_moved_while_the_store_runs(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path, StoreConfig(checkpoint_bytes=256 * KIB, wal_limit_bytes=1024 * KIB)) as store:
        largest = 0
        for round_ in range(40):
            await asyncio.gather(*(store.put("n", f"{round_}-{number}", "x" * 4000) for number in range(20)))
            largest = max(largest, checkpoint.wal_size(path))
        assert path.stat().st_size > 2048 * KIB
        assert 0 < largest < 2048 * KIB


@pytest.mark.parametrize("in_one_commit", [True, False])
async def test_commits_run_no_automatic_checkpoint(tmp_path, in_one_commit):
    """SQLite's automatic checkpoint, after 1,000 pages, would run inside a commit and ignore running backups."""
    path = tmp_path / "db"
    config = StoreConfig(checkpoint_bytes=1024 * 1024 * KIB, compression_threshold=0)
    async with SqliteStore.open(path, config) as store:
        before = path.read_bytes()
        values = ["x" * 500_000] * 16
        if in_one_commit:
            await asyncio.gather(*(store.put("n", str(number), value) for number, value in enumerate(values)))
        else:
            for number, value in enumerate(values):
                await store.put("n", str(number), value)
        assert checkpoint.wal_size(path) > 1500 * PAGE
        assert path.read_bytes() == before


async def test_a_reader_with_an_old_snapshot_delays_the_log_and_never_a_write(tmp_path):
    path = tmp_path / "db"
    config = StoreConfig(
        checkpoint_bytes=64 * KIB, wal_limit_bytes=256 * KIB, busy_timeout_ms=1, compression_threshold=0,
        full_text=False,
    )  # fmt: skip
    async with SqliteStore.open(path, config) as store:
        await store.put("n", "k", 1)
        reader = store._readers._workers["pages"]
        await reader.run(lambda db: (db.execute("BEGIN"), db.execute("SELECT count(*) FROM entries").fetchall()))
        for number in range(60):
            await store.put("n", f"{number}", "x" * 16_000)
        assert checkpoint.wal_size(path) > config.wal_limit_bytes
        assert (await reader.run(lambda db: db.execute("SELECT count(*) FROM entries").fetchone())) == (1,)
        await reader.run(lambda db: db.execute("COMMIT"))
        assert (await store.stats()).checkpoints_busy > 0
        for number in range(10):
            await store.put("n", f"{number}", "x" * 16_000)
        assert checkpoint.wal_size(path) <= config.wal_limit_bytes


async def test_a_clean_end_leaves_the_database_alone_without_a_log(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        await store.put("n", "k", 1)
        assert checkpoint.wal_size(tmp_path / "db") > 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["db", "db.lock"]


async def test_a_checkpoint_that_fails_is_told_and_loses_nothing(tmp_path, recorder, monkeypatch):
    def fail(_self, _db):
        raise sqlite3.OperationalError("disk I/O error")

    async with SqliteStore.open(tmp_path / "db", StoreConfig(checkpoint_bytes=4096), observer=recorder) as store:
        monkeypatch.setattr(writer.CheckpointPolicy, "run", fail)
        await store.put("n", "k", 1)
        await store.put("n", "k", 2)
        assert (await store.get("n", "k")).value == 2
        assert store.fault is None
    assert recorder.failures[0][1].startswith("checkpoint: ")
