"""Backups in a folder: what counts is whole, and what is damaged or half done does not count."""

import asyncio
import contextlib
import errno
import hashlib
import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from swarm_operator.memory.core.errors import DeletingError, InvalidInputError, NewerSchemaError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.copies import Progress
from swarm_operator.memory.transfer.backups.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    DestinationConfigError,
    DestinationDeniedError,
    DestinationError,
    DestinationFullError,
    DestinationMissingError,
    ForeignBackupError,
)
from swarm_operator.memory.transfer.backups.location import folder_of, open_destination, split_location


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
async def store(tmp_path):
    async with SqliteStore.open(tmp_path / "store.db", StoreConfig(swarm_id="team/ä", full_text=False)) as opened:
        for number in range(50):
            await opened.put("n", f"k{number}", {"number": number, "text": os.urandom(500).hex()}, tags=["t"])
        await opened.delete("n", "k0")
        yield opened


@pytest.fixture
def catalog(store, root, tmp_path):
    return Catalog(open_destination(f"file://{root}").below(folder_of(store.swarm_id)), source=store, scratch=tmp_path)


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_backup_is_made_verified_listed_fetched_and_deleted(catalog, store, root, tmp_path):
    progress = Progress()
    made = await catalog.make("monday.1", "Requested", progress=progress)
    assert files(root) == ["team=2F=C3=A4/monday.1/manifest.json", "team=2F=C3=A4/monday.1/memory.db"]
    copy = root / "team=2F=C3=A4/monday.1/memory.db"
    assert (made.entries, made.version, made.feed_position, made.schema_version) == (49, 1, 51, 8)
    assert (made.size, made.swarm_id, made.reason) == (copy.stat().st_size, "team/ä", "Requested")
    assert made.started_at <= made.completed_at <= made.verified_at
    assert (progress.verifying, progress.bytes, progress.of) == (True, made.size, made.size)
    assert [path.stat().st_mode & 0o077 for path in (copy, copy.parent)] == [0, 0]
    (listed,) = await catalog.list()
    assert (listed.name, listed.manifest, listed.complete) == ("monday.1", made, True)
    assert listed.location == f"file://{root}/team=2F=C3=A4/monday.1"
    await store.put("n", "later", 1)
    # By name it is made once.
    assert await catalog.make("monday.1", "Scheduled") == made
    assert (await catalog.verify("monday.1")).verified_at >= made.verified_at
    assert (await catalog.fetch("monday.1", tmp_path / "fetched.db")).sha256 == made.sha256
    assert (tmp_path / "fetched.db").read_bytes() == copy.read_bytes()
    assert check(tmp_path / "fetched.db").findings == ()
    with pytest.raises(InvalidInputError, match="does not exist"):
        await catalog.fetch("monday.1", tmp_path / "fetched.db")
    with pytest.raises(ForeignBackupError, match="of the swarm 'team/ä', not of 'other'"):
        await catalog.fetch("monday.1", tmp_path / "other.db", swarm_id="other")
    await catalog.delete("monday.1")
    await catalog.delete("monday.1")
    assert list(root.iterdir()) == []
    with pytest.raises(BackupNotFoundError):
        await catalog.get("monday.1")


def flip(copy, manifest):
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def truncate(copy, manifest):
    os.truncate(copy, copy.stat().st_size - 4096)


def lose(copy, manifest):
    copy.unlink()


def lie_about_the_entries(copy, manifest):
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"entries": 7}))


def lie_about_the_name(copy, manifest):
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "other"}))


def write_no_manifest(copy, manifest):
    manifest.write_text('{"format": 1, "name": ')


def write_a_newer_manifest(copy, manifest):
    manifest.write_text('{"format": 2}')


@pytest.mark.parametrize("damage", [
    flip, truncate, lose, lie_about_the_entries, lie_about_the_name, write_no_manifest, write_a_newer_manifest,
])  # fmt: skip
async def test_a_damaged_backup_is_found_and_does_not_count_any_more(catalog, root, tmp_path, damage):
    made = await catalog.make("a", "Requested")
    folder = root / "team=2F=C3=A4/a"
    damage(folder / "memory.db", folder / "manifest.json")
    with pytest.raises(BackupDamagedError):
        await catalog.fetch("a", tmp_path / "fetched.db")
    with pytest.raises(BackupDamagedError):
        await catalog.verify("a")
    (listed,) = await catalog.list()
    assert (listed.complete, type(listed.problem)) == (False, BackupDamagedError)
    assert [path.name for path in tmp_path.iterdir() if "fetched" in path.name] == []
    # The name is free for a new one.
    again = await catalog.make("a", "Requested")
    assert (again.sha256, again.damage) == (made.sha256, None)


async def test_a_copy_that_is_wrong_at_the_destination_never_counts(catalog, root, monkeypatch):
    """What is read back is what decides, not what was written."""
    written = catalog.destination.read

    def read(path, size):
        async def parts():
            async for part in written(path, size):
                yield part[:-1] + b"?"

        return parts()

    calls = []

    def later(path, size):
        calls.append(path)
        return written(path, size) if len(calls) == 1 else read(path, size)

    monkeypatch.setattr(catalog.destination, "read", later)
    with pytest.raises(BackupDamagedError, match="SHA-256"):
        await catalog.make("a", "Requested")
    assert files(root) == []


async def test_a_database_that_is_damaged_behind_its_digest_never_counts(catalog, root, store, monkeypatch):
    """A copy whose bytes are as they were written, and whose pages are not sound."""
    backup = store.backup

    async def damaged(path):
        done = await backup(path)
        flip(path, None)
        for _ in range(200):
            flip_at = os.urandom(1)[0] * 64 % done.size
            with path.open("r+b") as file:
                file.seek(4096 + flip_at)
                file.write(b"\xff" * 8)
        return done

    monkeypatch.setattr(store, "backup", damaged)
    with pytest.raises(BackupDamagedError):
        await catalog.make("a", "Requested")
    assert files(root) == []


async def test_what_a_kill_left_is_incomplete_and_removed_a_day_later(catalog, root, store, tmp_path):
    folder = root / "team=2F=C3=A4"
    for name in ("old", "new", "hidden"):
        (folder / name).mkdir(parents=True)
    for path in (folder / "old/memory.db", folder / "new/memory.db", folder / "hidden/.memory.db.0.swarm-partial"):
        path.write_bytes(b"half")
    for path in (folder / "old/memory.db", folder / "hidden/.memory.db.0.swarm-partial"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert [(each.name, each.complete, each.problem) for each in await catalog.list()] == [
        ("hidden", False, None), ("new", False, None), ("old", False, None),
    ]  # fmt: skip
    for use in (lambda: catalog.fetch("old", tmp_path / "x"), lambda: catalog.verify("old")):
        with pytest.raises(BackupNotFoundError, match="incomplete"):
            await use()
    assert await catalog.remove_abandoned(running=["old"]) == ["hidden"]
    assert await catalog.remove_abandoned() == ["old"]
    assert (await catalog.make("new", "Requested")).entries == 49
    assert [each.name for each in await catalog.list()] == ["new"]


async def test_a_newer_schema_is_refused(catalog, tmp_path, monkeypatch):
    made = await catalog.make("a", "Requested")
    copy = await catalog.destination.place("a/memory.db")
    with sqlite3.connect(copy) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    text = made.encode().replace(made.sha256.encode(), digest.encode())
    (copy.parent / "manifest.json").write_bytes(text)
    with pytest.raises(NewerSchemaError):
        await catalog.fetch("a", tmp_path / "fetched.db")
    assert not (tmp_path / "fetched.db").exists()


async def test_a_folder_that_is_not_there_is_not_made(store, root, tmp_path):
    root.rmdir()
    catalog = Catalog(open_destination(f"file://{root}").below("s"), source=store, scratch=tmp_path)
    for use in (lambda: catalog.make("a", "Requested"), catalog.list, lambda: catalog.get("a")):
        with pytest.raises(DestinationMissingError, match="mount its volume"):
            await use()
    assert not root.exists()


@pytest.mark.parametrize(("number", "kind"), [
    (errno.EACCES, DestinationDeniedError), (errno.EROFS, DestinationDeniedError), (errno.ENOSPC, DestinationFullError),
    (errno.EDQUOT, DestinationFullError), (errno.EIO, DestinationError),
])  # fmt: skip
async def test_an_error_of_the_file_system_is_one_of_the_destination(catalog, root, monkeypatch, number, kind):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(kind, match=os.strerror(number)) as caught:
            await catalog.make("a", "Requested")
    assert type(caught.value) is kind
    assert files(root) == []


@pytest.fixture
def small_volume(root):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", root], check=True)
    yield root
    subprocess.run(["umount", "--lazy", root], check=True)


async def test_a_full_destination_is_named_and_nothing_is_left(small_volume, catalog):
    with pytest.raises(DestinationFullError, match="no room left"):
        await catalog.make("a", "Requested")
    assert files(small_volume) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "A", "-a", "a-", "a..b", "ä", "a\n", "x" * 254, 7, None]
)
async def test_a_name_is_a_dns_subdomain(catalog, name):
    for use in (lambda: catalog.make(name, "Requested"), lambda: catalog.get(name), lambda: catalog.delete(name)):
        with pytest.raises(InvalidInputError) as caught:
            await use()
        assert caught.value.field == "name"
    await catalog.make("x" * 253, "Requested")


@pytest.mark.parametrize(("swarm_id", "folder"), [
    ("default", "default"), ("a/b", "a=2Fb"), ("..", "=2E=2E"), (".", "=2E"), ("a=b", "a=3Db"), ("ä", "=C3=A4"),
])  # fmt: skip
def test_a_swarm_has_a_folder_of_its_own(swarm_id, folder):
    assert folder_of(swarm_id) == folder


def test_a_long_swarm_id_has_a_folder_of_its_own():
    assert len({folder_of("ä" * 100), folder_of("ä" * 99 + "b")}) == 2
    assert len(folder_of("ä" * 127)) <= 255


@pytest.mark.parametrize("url", [
    "", "ftp://x/y", "s3://", "s3:///x", "s3://user:secret@bucket/x", "s3://bucket/x?key=secret", "s3://bucket/../x",
    "file://host/x", "s3://bucket/a b", "s3://bucket/x#f",
])  # fmt: skip
def test_a_url_that_is_no_destination_is_refused_without_its_secrets(url):
    with pytest.raises(DestinationConfigError) as caught:
        open_destination(url)
    assert "secret" not in str(caught.value)


def test_a_location_names_a_backup():
    assert split_location("file:///backups/s/monday/") == ("file:///backups/s", "monday")
    assert split_location("backups/s/monday") == ("backups/s", "monday")
    with pytest.raises(DestinationConfigError, match="DNS-1123"):
        split_location("s3://bucket/Monday")


async def test_from_a_final_backup_on_writes_are_refused_and_reads_go_on(catalog, store, tmp_path):
    made = await catalog.make("last", "Final")
    for write in (store.put("n", "k", 2), store.delete("n", "k1"), store.collect_garbage(), store.delete_range("n")):
        with pytest.raises(DeletingError):
            await write
    assert (await store.get("n", "k1")).value["number"] == 1
    async with store.watch() as watch:
        assert watch.position == made.feed_position, "it has all that was acknowledged"
    assert (await catalog.make("another", "Final")).entries == made.entries, "it can be made again"
    with pytest.raises(DeletingError):  # a restore does not lift the refusal
        await store.replace(await _copy(store, tmp_path / "copy"), former=tmp_path / "former.db", before=None)
    with pytest.raises(DeletingError):
        await store.put("n", "k", 2)


async def _copy(store, folder):
    folder.mkdir()
    return (await store.backup(folder / "copy.db")).path


async def test_writes_that_were_accepted_are_in_a_final_backup(catalog, store, tmp_path):
    """Writers go on until they are refused: the backup has each write that was acknowledged."""
    acknowledged, many = [], asyncio.Event()

    async def write(writer):
        with contextlib.suppress(DeletingError):
            for number in itertools.count():
                await store.put("w", f"{writer}-{number}", number)
                acknowledged.append(f"{writer}-{number}")
                if len(acknowledged) == 100:
                    many.set()

    writers = [asyncio.create_task(write(writer)) for writer in range(8)]
    await many.wait()
    await catalog.make("last", "Final")
    await asyncio.gather(*writers)
    await catalog.fetch("last", tmp_path / "fetched.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "fetched.db")) as database:
        found = {key for (key,) in database.execute("SELECT key FROM entries WHERE namespace = 'w'")}
    assert found == set(acknowledged)


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_final_backup_that_is_not_made_refuses_nothing(catalog, store, root, monkeypatch, end):
    reached = asyncio.Event()

    async def held(*_):
        reached.set()
        await asyncio.Event().wait()

    if end == "failed":
        root.rmdir()
        with pytest.raises(DestinationMissingError):
            await catalog.make("last", "Final")
    else:
        monkeypatch.setattr(store, "backup", held)
        making = asyncio.create_task(catalog.make("last", "Final"))
        await reached.wait()
        with pytest.raises(DeletingError):
            await store.put("n", "k", 2)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
    await store.put("n", "k", 2)


@pytest.mark.parametrize(
    ("end", "gone", "taken"),
    [("failed", True, True), ("failed", False, False), ("cancelled", False, False)],
)
async def test_writes_stay_refused_while_a_final_backup_may_be_complete(catalog, store, monkeypatch, end, gone, taken):
    """The manifest is written, and the destination says that it was not, or does not say so in time."""
    real = catalog.destination.put

    async def put(path, parts, size):
        await real(path, parts, size)
        if path.endswith("manifest.json"):
            if not gone:
                monkeypatch.setattr(catalog.destination, "delete", fails)
            raise asyncio.CancelledError if end == "cancelled" else DestinationError("cut off")

    async def fails(_):
        raise DestinationError("cut off")

    monkeypatch.setattr(catalog.destination, "put", put)
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else DestinationError):
        await catalog.make("last", "Final")
    if taken:
        await store.put("n", "k", 2)
        with pytest.raises(BackupNotFoundError):
            await catalog.get("last")
        return
    with pytest.raises(DeletingError):
        await store.put("n", "k", 2)
    monkeypatch.undo()
    assert (await catalog.get("last")).complete


async def test_a_final_backup_that_is_deleted_is_called_off(catalog, store):
    await catalog.make("other", "Requested")
    await catalog.make("last", "Final")
    await catalog.delete("other")
    with pytest.raises(DeletingError):
        await store.put("n", "k", 2)
    await catalog.delete("last")
    await store.put("n", "k", 2)


async def test_nothing_is_written_while_what_is_left_of_a_final_backup_is_replaced(catalog, store, root, monkeypatch):
    await store.stop_writes("last")
    left = root / folder_of(store.swarm_id) / "last" / "memory.db"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    monkeypatch.setattr(store, "resume_writes", None)  # not called
    assert (await catalog.make("last", "Final")).entries > 0


async def test_a_folder_that_a_killed_deletion_left_empty_is_deleted_by_the_next(catalog, store, root):
    (root / folder_of(store.swarm_id) / "b").mkdir(parents=True)
    await catalog.delete("b")
    assert list(root.iterdir()) == []
    await catalog.delete("b")
