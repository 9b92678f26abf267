"""A backup's entries back into a store that is in use."""

import asyncio
import sqlite3

import pytest

from swarm_operator.memory.core.errors import DiskFullError, InvalidInputError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.transfer.importer import Existing, Outcome
from swarm_operator.memory.transfer.restore import restore


async def dump(store):
    found = {}
    for count in (await store.namespaces()).namespaces:
        for entry in (await store.list(count.namespace, limit=1000)).entries:
            found[entry.namespace, entry.key] = (entry.value, entry.tags, entry.metadata, entry.expires_at)
    return found


@pytest.fixture
async def filled(either_store):
    await asyncio.gather(*(
        either_store.put("n", f"k{number:03}", {"number": number}, tags=["t"], metadata={"m": number})
        for number in range(250)
    ))  # fmt: skip
    await either_store.put("a/b", "ümläut\n", ["x" * 50_000], ttl=3600)
    await either_store.put("soon", "gone", 1, ttl=10)
    return either_store


async def test_what_was_changed_or_deleted_comes_back_and_what_is_new_stays(filled, tmp_path, clock):
    before = await dump(filled)
    await filled.backup(tmp_path / "backup.db")
    bytes_before = (tmp_path / "backup.db").read_bytes()
    changed, _ = await filled.put("n", "k001", "changed")
    await filled.delete_range("n", prefix="k1")
    await filled.put("n", "new", 1)
    clock.advance(60)
    done = await restore(filled, tmp_path / "backup.db", tmp_path)
    assert done.counts == {Outcome.CREATED: 100, Outcome.UPDATED: 1, Outcome.UNCHANGED: 150}
    after = await dump(filled)
    assert after.pop(("n", "new")) == (1, [], {}, None)
    del before["soon", "gone"]
    assert after == before
    assert (await filled.get("n", "k001")).version > changed.version
    again = await restore(filled, tmp_path / "backup.db", tmp_path)
    assert again.counts == {Outcome.UNCHANGED: 251}
    assert (tmp_path / "backup.db").read_bytes() == bytes_before
    assert not [path for path in tmp_path.iterdir() if "swarm-partial" in path.name]


async def test_entries_that_are_there_can_be_kept(filled, tmp_path):
    await filled.backup(tmp_path / "backup.db")
    await filled.put("n", "k001", "changed")
    await filled.delete("n", "k002")
    done = await restore(filled, tmp_path / "backup.db", tmp_path, existing=Existing.KEEP)
    assert (done.counts[Outcome.KEPT], done.counts[Outcome.CREATED]) == (1, 1)
    assert (await filled.get("n", "k001")).value == "changed"


async def test_watches_are_told_of_what_is_written(filled, tmp_path):
    await filled.backup(tmp_path / "backup.db")
    await filled.delete("n", "k007")
    async with filled.watch("n") as watch:
        await restore(filled, tmp_path / "backup.db", tmp_path)
        assert [change.key for change in await watch.next(20)] == ["k007"]


def truncated(path):
    path.write_bytes(path.read_bytes()[:20_000])


def flipped(path):
    raw = bytearray(path.read_bytes())
    where = raw.index(b'{"number":77}')
    raw[where + 10 : where + 12] = b'"\xff'
    path.write_bytes(raw)


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()


def newer(path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()


@pytest.mark.parametrize("spoil", [
    truncated, flipped, foreign, newer, lambda path: path.write_bytes(b""), lambda path: path.write_text("text"),
    lambda path: path.unlink(), lambda path: (path.unlink(), path.mkdir()),
])  # fmt: skip
async def test_what_is_no_whole_backup_is_refused_and_nothing_is_written(filled, tmp_path, spoil):
    await filled.backup(tmp_path / "backup.db")
    await filled.delete("n", "k001")
    before = await dump(filled)
    spoil(tmp_path / "backup.db")
    with pytest.raises(InvalidInputError, match="backup: a backup that"):
        await restore(filled, tmp_path / "backup.db", tmp_path)
    assert await dump(filled) == before
    assert filled.fault is None


async def test_a_backup_of_an_older_schema_is_brought_forward(store, tmp_path):
    from swarm_operator.memory.sqlite.database import schema

    old = tmp_path / "old.db"
    with sqlite3.connect(old, isolation_level=None) as db:
        schema.migrate(db, 0, until=1)
        db.execute(
            "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, "
            "metadata, value) VALUES ('n', 'k', 1, 1, 1, 0, NULL, 1, '[\"t\"]', '{}', x'31')"
        )
        db.execute("INSERT INTO namespaces (name, entries, bytes) VALUES ('n', 1, 1)")
    db.close()
    done = await restore(store, old, tmp_path)
    assert done.counts == {Outcome.CREATED: 1}
    entry = await store.get("n", "k")
    assert (entry.value, entry.tags) == (1, ["t"])


async def test_a_value_that_this_store_does_not_take_is_named(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "large.db", clock=clock) as large:
        await large.put("n", "k", "x" * 5000)
        await large.backup(tmp_path / "backup.db")
    async with SqliteStore.open(tmp_path / "small.db", StoreConfig(max_value_bytes=1000), clock=clock) as small:
        with pytest.raises(InvalidInputError, match="value: at most 1000 bytes"):
            await restore(small, tmp_path / "backup.db", tmp_path)
        assert (await small.stats()).entries == 0


async def test_a_disk_without_room_for_the_copy_is_a_full_disk(filled, tmp_path, monkeypatch):
    import errno
    import shutil

    await filled.backup(tmp_path / "backup.db")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFullError, match="a copy of the backup"):
        await restore(filled, tmp_path / "backup.db", tmp_path)
    assert filled.fault is None
    assert not [path for path in tmp_path.iterdir() if "swarm-partial" in path.name]
