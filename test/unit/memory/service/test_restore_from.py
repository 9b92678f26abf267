"""`serve --restore-from`: a new store comes up with a backup's data, and an existing database is never overwritten."""

import asyncio
import contextlib
import random
import signal

import pytest

from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.location import open_destination

ENTRIES = 20


@pytest.fixture
async def location(tmp_path):
    """Where a backup of the swarm `default` lies, of 20 MB."""
    (tmp_path / "vault").mkdir()
    async with SqliteStore.open(tmp_path / "old.db", StoreConfig(compression_threshold=0)) as store:
        for number in range(ENTRIES):
            await store.put("n", f"k{number}", random.randbytes(500_000).hex())
        destination = open_destination(f"file://{tmp_path}/vault").below("default")
        await Catalog(destination, source=store, scratch=tmp_path).make("monday", "Final")
    return f"file://{tmp_path}/vault/default/monday"


async def test_a_new_store_comes_up_with_the_data_once(fork_process, location):
    first = await fork_process("--restore-from", location)
    async with MemoryClient(first.url, token=first.token) as memory:
        assert (await memory.stats()).entries == ENTRIES
        await memory.put("n", "k0", "new")
    (line,) = [line for line in first.log if line["event"] == "backup restored"]
    assert (line["backup"], line["entries"]) == ("monday", ENTRIES)
    await first.stop(signal.SIGKILL)
    second = await fork_process("--restore-from", location)
    async with MemoryClient(second.url, token=second.token) as memory:
        assert (await memory.get("n", "k0")).value == "new"
    assert [line["event"] for line in second.log if "restored" in line["event"]] == ["backup not restored"]


@pytest.mark.parametrize(("damage", "said"), [
    ("copy", "SHA-256"), ("manifest", "incomplete"), ("missing", "no such backup"), ("swarm", "not of 'other'"),
    ("log", "swarm-memory.db-wal already"),
])  # fmt: skip
async def test_what_is_refused_leaves_no_database(fork_process, location, tmp_path, damage, said):
    folder = tmp_path / "vault/default/monday"
    flags = ["--swarm-id", "other"] if damage == "swarm" else []
    match damage:
        case "copy":
            with (folder / "memory.db").open("r+b") as file:
                file.seek(10_000_000)
                file.write(b"?")
        case "manifest":
            (folder / "manifest.json").unlink()
        case "missing":
            location = location.replace("monday", "tuesday")
        case "log":
            (tmp_path / "data").mkdir()
            (tmp_path / "data/swarm-memory.db-wal").write_bytes(b"of another database")
    process = await fork_process("--restore-from", location, *flags)
    await process.stop(signal.SIGTERM)
    assert process.log[-1]["event"] == "cannot serve"
    assert said in process.log[-1]["reason"]
    left = [path.name for path in (tmp_path / "data").iterdir()]
    assert [name for name in left if name.endswith((".db", ".swarm-partial"))] == []


async def test_a_kill_in_between_leaves_no_half_database(fork_process, zygote, location, tmp_path):
    directory = tmp_path / "data"
    database = directory / "swarm-memory.db"
    size = (tmp_path / "vault/default/monday/memory.db").stat().st_size
    there = []
    for attempt in range(10):
        ports = ("--http-port", "0", "--grpc-port", "off", "--metrics-port", "0")
        process = await zygote.fork("serve", "--data-dir", str(directory), *ports, "--restore-from", location)
        wanted = size * attempt // 8
        async with asyncio.timeout(60):
            # From its first byte on, while it is checked, and when it has just been put in place.
            while max(map(length, directory.glob(".swarm-memory.db*")), default=-1) < wanted and not database.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.sleep(random.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        await process.stderr.read()
        await process.wait()
        there.append(database.exists())
        if database.exists():
            assert check(database).entries == ENTRIES
            for file in directory.glob("swarm-memory.db*"):
                file.unlink()
    assert False in there
    process = await fork_process("--restore-from", location)
    async with MemoryClient(process.url, token=process.token) as memory:
        assert (await memory.stats()).entries == ENTRIES
    assert [path.name for path in directory.iterdir() if ".swarm-partial" in path.name] == []


def length(path):
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return -1
