"""A disk that fails: typed errors, reads that go on, and writes that come back by themselves."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import CorruptDatabaseError, DiskFullError, InternalStoreError, ReadOnlyError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.errors import from_sqlite

CONFIG = StoreConfig(probe_interval=0.01, compression_threshold=0)


async def set_pragma(store, pragma):
    await store._worker.run(lambda db: db.execute(f"PRAGMA {pragma}").fetchall())


@pytest.mark.parametrize("enable_wal", [True, False])
async def test_a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself(tmp_path, recorder, enable_wal):
    config = StoreConfig(probe_interval=0.01, enable_wal=enable_wal, compression_threshold=0)
    async with SqliteStore.open(tmp_path / "db", config, observer=recorder) as store:
        await store.put("n", "kept", "x" * 100)
        await set_pragma(store, "max_page_count = 1")  # SQLite takes the present size instead
        for _ in range(2):
            results = await asyncio.gather(
                *(store.put("n", f"new{number}", "x" * 50_000) for number in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [DiskFullError] * 3
            assert len({id(result) for result in results}) == 3
        assert isinstance(store.fault, DiskFullError)
        assert (await store.get("n", "kept")).value == "x" * 100
        assert [entry.key for entry in (await store.list("n")).entries] == ["kept"]
        assert (await store.stats()).entries == 1
        assert not recorder.recoveries.is_set()
        await set_pragma(store, "max_page_count = 1000000")
        await recorder.recoveries.wait()
        assert store.fault is None
        await store.put("n", "new", "x" * 50_000)
    assert {code for code, _ in recorder.failures} == {"disk-full"}


async def test_a_write_that_succeeds_ends_the_fault(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(probe_interval=3600), observer=recorder) as store:
        await set_pragma(store, "query_only = ON")
        with pytest.raises(ReadOnlyError):
            await store.put("n", "k", 1)
        assert store.fault.code == "read-only"
        await set_pragma(store, "query_only = OFF")
        await store.delete("n", "missing")  # wrote nothing, so proves nothing
        assert store.fault is not None
        await store.put("n", "k", 1)
        assert store.fault is None


async def test_trial_writes_leave_nothing_behind(tmp_path, recorder):
    async with SqliteStore.open(tmp_path / "db", CONFIG, observer=recorder) as store:
        await set_pragma(store, "query_only = ON")
        with pytest.raises(ReadOnlyError):
            await store.put("n", "k", 1)
        await set_pragma(store, "query_only = OFF")
        await recorder.recoveries.wait()
        rows = await store._worker.run(lambda db: db.execute("SELECT count(*) FROM write_probe").fetchone())
        assert rows == (0,)


async def test_a_damaged_page_is_an_error_that_stays(tmp_path, recorder):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        for number in range(200):
            await store.put("n", f"{number:04d}", "x" * 2000)
    damaged = bytearray(path.read_bytes())
    for page in range(41, 51):
        damaged[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(damaged)
    async with SqliteStore.open(path, CONFIG, observer=recorder) as store:
        with pytest.raises(CorruptDatabaseError):
            await store.list("n", limit=1000)

        async def write_everywhere():
            for number in range(200):
                await store.put("n", f"{number:04d}", 1)

        with pytest.raises(CorruptDatabaseError) as caught:
            await write_everywhere()
        assert not caught.value.transient
        await store.put("another", "k", 1)
        assert isinstance(store.fault, CorruptDatabaseError)


async def test_a_text_that_is_not_utf8_is_damage_too(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        await store.put("n", "k", 1)
        await store._worker.run(
            lambda db: db.execute("UPDATE entries SET updated_by = CAST(x'736563726574a5fe' AS TEXT)").fetchall()
        )
    async with SqliteStore.open(tmp_path / "db") as store:
        for read in (store.get("n", "k"), store.list("n")):
            with pytest.raises(
                CorruptDatabaseError, match="column 'updated_by' holds bytes that are not UTF-8"
            ) as caught:
                await read
            assert "secret" not in str(caught.value)


def test_what_sqlite_never_says_is_a_defect_and_not_a_disk():
    assert type(from_sqlite(RuntimeError("x"))) is InternalStoreError
