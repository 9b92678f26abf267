"""Backups in object stores, against real servers: versitygw for S3 and the interface of GCS, azurite for Azure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from pathlib import Path

import pytest
from integration.backups.gcs import gcs
from integration.backups.objectstores import SECRET, ObjectStore, Proxy, azurite, versitygw
from support.memory_process import Process

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import MemoryClient, MemoryClientError, MemoryServerError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    DestinationConfigError,
    DestinationDeniedError,
    DestinationFullError,
    DestinationMissingError,
    DestinationUnreachableError,
)
from swarm_operator.memory.transfer.backups.location import open_destination

ENTRIES = 20
ROUNDS = 20


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    with versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        yield server


@pytest.fixture(scope="session")
def az(tmp_path_factory):
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def gs(s3):
    with gcs(s3) as server:
        yield server


@pytest.fixture
async def store(tmp_path):
    """A store of 20 MB: a copy has three parts."""
    async with SqliteStore.open(tmp_path / "store.db", StoreConfig(compression_threshold=0)) as opened:
        for number in range(ENTRIES):
            await opened.put("n", f"k{number}", random.randbytes(500_000).hex())
        yield opened


@pytest.fixture
async def proxy(s3):
    async with Proxy(s3.port) as before:
        yield before


@pytest.fixture
def catalog_of(store, tmp_path):
    """catalog_of(server, port=..., timeout=...): the catalog of the store, in a folder of its own."""
    made = []

    def make(server: ObjectStore, *, bucket: str = "bucket", port: int | None = None, **options: object) -> Catalog:
        folder = tmp_path / f"destination{len(made)}"
        made.append(folder)
        flags = server.write(folder, port=port, **options)
        url = server.url.replace("bucket", bucket) + f"/{tmp_path.name}"
        destination = open_destination(url, options=Path(flags[1]), credentials=Path(flags[3]))
        return Catalog(destination.below("default"), source=store, scratch=tmp_path)

    return make


@pytest.mark.parametrize("kind", ["s3", "gs", "az"])
async def test_a_backup_is_made_verified_listed_fetched_and_deleted(request, kind, catalog_of, tmp_path):
    catalog = catalog_of(request.getfixturevalue(kind))
    assert await catalog.list() == []
    before = sorted(tmp_path.iterdir())
    made = await catalog.make("monday", "Requested")
    assert (made.entries, made.size > 20_000_000, made.verified_at is not None) == (ENTRIES, True, True)
    assert sorted(tmp_path.iterdir()) == before
    (listed,) = await catalog.list()
    assert (listed.manifest, listed.complete, listed.size) == (made, True, made.size)
    assert (await catalog.verify("monday")).sha256 == made.sha256
    await catalog.fetch("monday", tmp_path / "fetched.db")
    assert check(tmp_path / "fetched.db").ok
    # What lies there is changed behind the catalog's back.
    await catalog.destination.put("monday/memory.db", parts(os.urandom(1000)), 1000)
    with pytest.raises(BackupDamagedError, match="1000 bytes"):
        await catalog.verify("monday")
    (listed,) = await catalog.list()
    assert (listed.complete, listed.manifest.verified_at) == (False, None)
    await catalog.delete("monday")
    await catalog.delete("monday")
    assert await catalog.list() == []
    with pytest.raises(BackupNotFoundError):
        await catalog.fetch("monday", tmp_path / "again.db")


async def parts(text: bytes):
    yield text


@pytest.mark.parametrize("kind", ["s3", "gs", "az"])
async def test_a_bucket_that_is_not_there_is_named(request, kind, catalog_of):
    catalog = catalog_of(request.getfixturevalue(kind), bucket="nowhere")
    for use in (catalog.list, lambda: catalog.make("a", "Requested"), lambda: catalog.get("a")):
        with pytest.raises(DestinationMissingError, match="no bucket or container nowhere"):
            await use()


@pytest.mark.parametrize("kind", ["s3", "az"])
async def test_wrong_keys_are_refused_and_right_ones_work_without_a_restart(request, kind, catalog_of, tmp_path):
    server = request.getfixturevalue(kind)
    catalog = catalog_of(server)
    keys = tmp_path / "destination0" / "credentials"
    right = {file.name: file.read_text() for file in keys.iterdir()}
    for name in right:
        if name != "access_key_id":
            (keys / name).write_text("d3JvbmctYW5kLXNlY3JldA==")
    for use in (catalog.list, lambda: catalog.make("a", "Requested")):
        with pytest.raises(DestinationDeniedError) as caught:
            await use()
        assert "d3JvbmctYW5kLXNlY3JldA" not in str(caught.value)
    for name, text in right.items():
        (keys / name).write_text(text)
    assert (await catalog.make("a", "Requested")).entries == ENTRIES
    for file in keys.iterdir():
        file.unlink()
    with pytest.raises(DestinationConfigError, match="a file for each of"):
        await catalog.list()


async def test_cut_connections_are_retried(s3, proxy, catalog_of):
    catalog = catalog_of(s3, port=proxy.port)
    proxy.cuts, proxy.cut_after = 3, 1_000_000
    assert (await catalog.make("a", "Requested")).entries == ENTRIES
    assert proxy.cuts == 0


async def test_a_connection_that_is_always_cut_fails_and_nothing_counts(s3, proxy, catalog_of):
    catalog = catalog_of(s3, port=proxy.port, retry_for=0.5)
    proxy.cuts, proxy.cut_after = 1_000_000, 100_000
    with pytest.raises(DestinationUnreachableError):
        await catalog.make("a", "Requested")
    proxy.cuts = 0
    assert await catalog.list() == []
    assert (await catalog.make("a", "Requested")).entries == ENTRIES


async def test_a_server_that_stops_answering_fails_and_a_slow_one_does_not(s3, proxy, catalog_of):
    proxy.stalled = True
    with pytest.raises(DestinationUnreachableError):
        await catalog_of(s3, port=proxy.port, timeout=0.5, retry_for=0.5).list()
    proxy.stalled = False
    proxy.rate = 4_000_000
    assert (await catalog_of(s3, port=proxy.port).make("a", "Requested")).entries == ENTRIES


async def test_a_full_server_is_named_and_nothing_counts(s3, proxy, catalog_of):
    catalog = catalog_of(s3, port=proxy.port, retry_for=0.2)
    proxy.full = True
    with pytest.raises(DestinationFullError, match="no room left"):
        await catalog.make("a", "Requested")
    proxy.full = False
    assert await catalog_of(s3).list() == []


async def test_cancelling_an_upload_leaves_nothing_that_counts(s3, proxy, catalog_of, tmp_path):
    proxy.rate = 1_000_000
    catalog = catalog_of(s3, port=proxy.port)
    task = asyncio.create_task(catalog.make("a", "Requested"))
    async with asyncio.timeout(60):
        while proxy.passed < 2_000_000:  # noqa: ASYNC110 - the proxy tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.rate = None
    assert [stored for stored in await catalog.list() if stored.complete] == []
    assert [path.name for path in tmp_path.iterdir() if ".swarm-partial" in path.name] == []


@pytest.fixture
async def start(zygote):
    """start(directory, *flags) starts a service; all are killed at the end."""
    started = []

    async def begin(directory: Path, *flags: str) -> Process:
        ports = ("--http-port", "0", "--grpc-port", "off", "--metrics-port", "0")
        forked = await zygote.fork("serve", "--data-dir", str(directory), *ports, *flags)
        started.append(await Process.announced(forked, directory))
        return started[-1]

    yield begin
    for process in started:
        await process.stop(signal.SIGKILL)


def admin_of(process: Process) -> MemoryClient:
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    return MemoryClient(process.url, token=token, retries=0)


async def fill(process: Process) -> None:
    async with MemoryClient(process.url, token=process.token) as memory:
        for number in range(ENTRIES):
            await memory.put("n", f"k{number}", random.randbytes(500_000).hex())


async def test_a_service_backs_up_another_one_is_made_of_it_and_no_secret_is_told(s3, start, tmp_path, capsys):
    url = f"{s3.url}/{tmp_path.name}"
    flags = s3.write(tmp_path / "destination")
    first = await start(tmp_path / "first", "--backups", url, *flags, "--log-level", "debug")
    await fill(first)
    told = []
    async with admin_of(first) as admin:
        await admin.backups.make("monday")
        async with asyncio.timeout(60):
            state = await admin.backups.wait("monday")
        assert (state.phase, state.entries, state.location) == ("Completed", ENTRIES, f"{url}/default/monday")
        told += [json.dumps(each.raw) for each in await admin.backups.list()]
        (tmp_path / "destination/credentials/AWS_SECRET_ACCESS_KEY").write_text(SECRET[::-1])
        with pytest.raises(MemoryServerError) as caught:
            await admin.backups.make("tuesday")
        told.append(str(caught.value))
        assert caught.value.code == "destination-denied"
        (tmp_path / "destination/credentials/AWS_SECRET_ACCESS_KEY").write_text(SECRET)
    second = await start(tmp_path / "second", "--restore-from", state.location, *flags)
    async with admin_of(second) as admin:
        assert (await admin.stats()).entries == ENTRIES
    for arguments in (["list", url], ["verify", state.location]):
        assert await asyncio.to_thread(command.main, ["backups", *arguments, *flags, "-o", "json"]) == 0
    told.append(str(capsys.readouterr()))
    for process in (first, second):
        await process.stop(signal.SIGTERM)
        told.append(json.dumps(process.log))
    assert [text for text in told if SECRET in text or SECRET[::-1] in text] == []


async def test_a_service_that_is_killed_while_it_backs_up_never_has_half_a_backup(
    s3, proxy, start, catalog_of, tmp_path
):
    """Kill -9 at a random point of the upload, of reading it back, and between."""
    catalog = catalog_of(s3)
    flags = s3.write(tmp_path / "throttled", port=proxy.port)
    proxy.rate = 40_000_000
    data, completed, interrupted = tmp_path / "data", 0, 0
    await fill(first := await start(data, "--enable-vacuum", "false"))
    await first.stop(signal.SIGTERM)
    url = catalog.destination.url.removesuffix("/default")
    for number in range(ROUNDS):
        process = await start(data, "--backups", url, *flags)
        proxy.passed = 0
        async with admin_of(process) as admin:
            with contextlib.suppress(MemoryClientError):
                await admin.backups.make(f"b{number}")
            wanted = random.uniform(0, 1.2) * 20_000_000
            async with asyncio.timeout(60):
                while proxy.passed < wanted and not (await admin.backups.get(f"b{number}")).ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            await asyncio.sleep(random.uniform(0, 0.1))
        await process.stop(signal.SIGKILL)
    for stored in await catalog.list():
        if stored.complete:
            completed += 1
            await catalog.fetch(stored.name, tmp_path / stored.name)
            assert check(tmp_path / stored.name).findings == ()
        else:
            interrupted += 1
            assert (stored.manifest, stored.problem) == (None, None)
    assert completed < ROUNDS
    # Those whose upload was cut off left no object at all.
    proxy.rate = None
    last = await start(data, "--backups", url, *flags)
    async with admin_of(last) as admin:
        states = {state.name: state for state in await admin.backups.list()}
        assert len(states) == ROUNDS
        assert {state.phase for state in states.values()} <= {"Completed", "Failed"}
        name = next(name for name, state in states.items() if state.phase == "Failed")
        assert states[name].problem["code"] == "interrupted"
        await admin.backups.make(name)
        async with asyncio.timeout(60):
            assert (await admin.backups.wait(name)).phase == "Completed"
