"""Restores over HTTP, into a service in use: whole, in part, planned only; and what all protocols see meanwhile."""

import asyncio
import contextlib
import hashlib
import json
import random
import shutil
import signal

import grpc
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from unit.memory.conftest import running_service

from swarm_operator.memory.client import (
    MemoryBusyError,
    MemoryClient,
    MemoryConflictError,
    MemoryGoneError,
    MemoryRequestError,
    MemoryStateError,
)
from swarm_operator.memory.service.grpc.memory_pb2 import Problem, PutRequest, WatchRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.replace import MARGIN
from swarm_operator.memory.sqlite.backup.verify import check
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.errors import DestinationFullError
from swarm_operator.memory.transfer.backups.folder import FolderDestination
from swarm_operator.memory.transfer.restores import jobs
from swarm_operator.memory.transfer.restores.states import Phase

ADMIN = "admin-0123456789abcdef"
TOKEN = "client-0123456789abcdef"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    return folder


@pytest.fixture
async def service(start_service, root):
    async with start_service(backups=f"file://{root}", mcp=True) as running:
        yield running


@pytest.fixture
async def admin(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as client:
        yield client


@pytest.fixture
def held(monkeypatch):
    """Holds each restore before its exchange: writes wait until the gate is opened. `reached` says that they do."""
    gate, save = Gate(), jobs.save

    async def wait(file, states):
        await save(file, states)
        if any(state.phase is Phase.SWAPPING for state in states):
            gate.reached.set()
            await gate.opened.wait()

    monkeypatch.setattr(jobs, "save", wait)
    return gate


class Gate:
    """What waits at `opened` says so by `reached`."""

    def __init__(self):
        self.reached, self.opened = asyncio.Event(), asyncio.Event()


async def backed_up(admin, name):
    await admin.backups.make(name)
    state = await admin.backups.wait(name)
    assert state.phase == "Completed", state
    return state


async def ended(admin, name):
    async with asyncio.timeout(90):
        return await admin.restores.wait(name)


FORMER = {"former", "former/back", "former/back/memory.db"}


def left(service):
    """What restores leave in the data directory."""
    folder = service.store.path.parent
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*") if path.relative_to(folder).parts[0] in {"restoring", "former"}
    }  # fmt: skip


async def values(store, namespace="n"):
    return {entry.key: entry.value for entry in (await store.list(namespace, limit=1000)).entries}


async def test_everything_is_as_it_was_and_what_was_there_is_in_the_safety_backup(service, admin, root):
    head = await admin.put("n", "k", "old", tags=["t"])
    await backed_up(admin, "monday")
    await admin.put("n", "k", "new")
    await admin.put("other", "k", 1)
    asked = await admin.restores.ask("back", backup="monday")
    assert (asked.phase, asked.plan, asked.ended) == ("Fetching", None, False)
    done = await ended(admin, "back")
    assert (done.phase, done.problem, done.progress) == ("Completed", None, None)
    assert done.plan == {
        "backup": "monday", "entries": 1, "bytes": (await admin.backups.get("monday")).size, "entries_new": None,
        "entries_changed": None, "entries_removed": None,
    }  # fmt: skip
    assert await values(service.store) == {"k": "old"}
    assert [namespace.name async for namespace in admin.namespaces()] == ["n"]
    for version in range(head.version, head.version + 3):
        with pytest.raises(MemoryConflictError):
            await admin.put("n", "k", "never", if_version=version)
    entry = await admin.get("n", "k")
    await admin.put("n", "k", "written", if_version=entry.version)
    safety = await admin.backups.get(done.safety_backup)
    assert (safety.phase, safety.raw["reason"], safety.entries) == ("Completed", "PreRestore", 2)
    answer = await service.call("GET", "/admin/restores", token=ADMIN)
    assert answer.json == {"restores": [done.raw]}
    assert [each.raw for each in await admin.restores.list()] == [done.raw]
    # Asking again changes nothing, and the safety backup leads back.
    answer = await service.call("PUT", "/admin/restores/back", {"backup": "monday"}, token=ADMIN)
    assert (answer.status, answer.json) == (200, done.raw)
    assert await values(service.store) == {"k": "written"}
    await admin.restores.ask("forth", location=f"file://{root}/default/{done.safety_backup}", safety_backup=False)
    assert (await ended(admin, "forth")).safety_backup is None
    assert await values(service.store) == {"k": "new"}
    assert await values(service.store, "other") == {"k": 1}
    assert left(service) == set()
    metrics = await service.metrics()
    assert "swarm_memory_entries_total 2.0" in metrics
    assert 'swarm_memory_quota_held{resource="restores"} 0.0' in metrics


async def test_a_part_and_a_plan_of_it(service, admin):
    await admin.put("a", "p:same", 1)
    await admin.put("a", "p:changed", 1)
    await admin.put("a", "p:gone", 1)
    await admin.put("b", "p:changed", 1)
    await backed_up(admin, "monday")
    await admin.put("a", "p:changed", 2)
    await admin.put("a", "p:created", 2)
    await admin.put("a", "q", 2)
    await admin.put("b", "p:changed", 2)
    await admin.delete("a", "p:gone")
    part = {"backup": "monday", "namespaces": ["a"], "key_prefix": "p:"}
    before = await values(service.store, "a")
    await admin.restores.ask("plan", **part, dry_run=True)
    planned = await ended(admin, "plan")
    assert planned.plan == {
        "backup": "monday", "entries": 4, "bytes": 2, "entries_new": 1, "entries_changed": 1, "entries_removed": 1
    }  # fmt: skip
    assert (planned.phase, planned.safety_backup) == ("Completed", None)
    assert await values(service.store, "a") == before
    await admin.restores.ask("part", **part, safety_backup=True)
    done = await ended(admin, "part")
    assert (done.phase, done.plan) == ("Completed", planned.plan)
    assert (await admin.backups.get(done.safety_backup)).phase == "Completed"
    assert await values(service.store, "a") == {"p:same": 1, "p:changed": 1, "p:gone": 1, "q": 2}
    assert await values(service.store, "b") == {"p:changed": 2}
    await admin.restores.ask("whole-plan", backup="monday", dry_run=True)
    whole = (await ended(admin, "whole-plan")).plan
    assert (whole["entries_new"], whole["entries_changed"], whole["entries_removed"]) == (0, 1, 1)


async def test_what_protocols_say_while_writes_wait(service, admin, held):
    """HTTP 503 with Retry-After, UNAVAILABLE, an error to retry; and reads go on from the old data."""
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    await admin.put("n", "k", "new")
    url = f"http://127.0.0.1:{service.port}"
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as mcp,
    ):
        await admin.restores.ask("back", backup="monday")
        await held.reached.wait()
        assert (await admin.restores.get("back")).phase == "Swapping"
        for method, path, body in (
            ("PUT", "/v1/entries/n/k", {"value": 1}),
            ("DELETE", "/v1/entries/n/k", None),
            ("POST", "/v1/batch", {"operations": [{"op": "delete", "namespace": "n", "key": "k"}]}),
            ("PUT", "/v1/agents/a", {"type": "x"}),
        ):
            answer = await service.call(method, path, body)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
            assert answer.json["type"] == "urn:swarm-memory:problem:restoring"
        assert (await service.call("POST", "/admin/gc", token=ADMIN)).status == 503
        assert (await service.call("GET", "/readyz", token=None)).status == 200
        assert (await service.call("GET", "/healthz", token=None)).status == 200
        with pytest.raises(MemoryBusyError) as caught:
            await admin.put("n", "k", 1)
        assert (caught.value.code, caught.value.retry_after) == ("restoring", 1.0)
        refused = await mcp.call_tool("memory_store", {"namespace": "n", "key": "k", "value": 1})
        error = json.loads(refused.content[0].text)["error"]
        assert (error["code"], error["retry"]) == ("restoring", True)
        read = await mcp.call_tool("memory_retrieve", {"namespace": "n", "key": "k"})
        assert json.loads(read.content[0].text)["value"] == "new"
        assert (await admin.get("n", "k")).value == "new"
        assert [hit.key for hit in (await admin.search(text="new")).hits] == ["k"]
        assert (await admin.stats()).entries == 1
        held.opened.set()
        assert (await ended(admin, "back")).phase == "Completed"
        read = await mcp.call_tool("memory_retrieve", {"namespace": "n", "key": "k"})
        assert json.loads(read.content[0].text)["value"] == "old"
        stored = await mcp.call_tool("memory_store", {"namespace": "n", "key": "k", "value": 1})
        assert not stored.is_error


async def test_grpc_says_unavailable_and_its_watches_miss_changes(fork_process, root):
    """In a process of its own: writes by gRPC meet the pause, and a watch from before is told."""
    process = await fork_process("--backups", f"file://{root}")
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    metadata = (("authorization", f"Bearer {process.token}"),)
    async with (
        MemoryClient(process.url, token=token, retries=0) as admin,
        grpc.aio.insecure_channel(f"127.0.0.1:{process.log[-1]['grpc_port']}") as channel,
    ):
        stub = MemoryStub(channel)
        await admin.put("n", "k", "old")
        await backed_up(admin, "monday")
        watch = stub.Watch(WatchRequest(since=0), metadata=metadata)
        assert (await watch.read()).WhichOneof("event") == "ready"
        await admin.restores.ask("back", backup="monday")
        codes = set()
        while not (await admin.restores.get("back")).ended:
            try:
                await stub.Put(PutRequest(namespace="n", key="x", value=b"1"), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                problem = Problem.FromString(dict(error.trailing_metadata())["swarm-problem-bin"])
                codes.add((error.code(), problem.code))
        assert codes <= {(grpc.StatusCode.UNAVAILABLE, "restoring")}
        kinds = []
        while "missed" not in kinds:
            kinds.append((await watch.read()).WhichOneof("event"))
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(WatchRequest(since=1), metadata=metadata).read()
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_watches_and_subscribers_are_told_to_list_anew(service, admin):
    await admin.put("n", "k", 1)
    await backed_up(admin, "monday")
    url, ready = f"http://127.0.0.1:{service.port}", asyncio.Event()

    async def follow(since):
        async for _ in admin.watch(since=since, on_ready=lambda _: ready.set()):
            pass

    watching = asyncio.ensure_future(follow(None))
    await ready.wait()
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="2026-07-28") as mcp,
        mcp.listen(resource_subscriptions=["memory://n/nowhere"]) as events,
    ):
        # The entry is neither in the backup nor in the store: any address may have changed.
        await admin.restores.ask("back", backup="monday")
        assert (await ended(admin, "back")).phase == "Completed"
        async with asyncio.timeout(60):
            assert (await anext(aiter(events))).uri == "memory://n/nowhere"
    with pytest.raises(MemoryGoneError):
        await watching
    for since in (0, 1, 2):
        answer = await service.call("GET", f"/v1/watch?since={since}")
        assert (answer.status, answer.json["type"]) == (410, "urn:swarm-memory:problem:gone")


async def test_pages_that_were_begun_go_on_right(service, admin):
    """Their cursors are places in the order of keys, and none of a row that is another one now."""
    for number in range(6):
        await admin.put("n", f"k{number}", "word " * (number + 1), tags=["t"])
    await backed_up(admin, "monday")
    await admin.delete("n", "k0")
    await admin.put("n", "k0", "word")
    first = await admin.list("n", limit=3)
    found = await admin.search(text="word", limit=3)
    tagged = await admin.search(tags=["t"], limit=2)
    await admin.restores.ask("back", backup="monday")
    assert (await ended(admin, "back")).phase == "Completed"
    rest = await admin.list("n", limit=100, cursor=first.next_cursor)
    assert [entry.key for entry in rest.entries] == ["k3", "k4", "k5"]
    rest = await admin.search(tags=["t"], limit=100, cursor=tagged.next_cursor)
    assert [entry.key for entry in rest.hits] == [f"k{number}" for number in range(6)][-len(rest.hits) :]
    again = await admin.search(text="word", limit=100, cursor=found.next_cursor)
    assert {hit.key for hit in found.hits} | {hit.key for hit in again.hits} == {f"k{number}" for number in range(6)}


async def test_one_restore_at_a_time_and_none_beside_a_backup(service, admin, held, monkeypatch):
    await admin.put("n", "k", 1)
    await backed_up(admin, "monday")
    await admin.restores.ask("first", backup="monday")
    await held.reached.wait()
    assert (await admin.restores.ask("first", backup="monday")).phase == "Swapping"
    with pytest.raises(MemoryStateError) as caught:
        await admin.restores.ask("second", backup="monday")
    assert (caught.value.status, caught.value.reason) == (409, "running")
    with pytest.raises(MemoryStateError) as caught:
        await admin.restores.ask("first", backup="monday", namespaces=["n"])
    assert caught.value.reason == "exists"
    with pytest.raises(MemoryBusyError):
        await admin.backups.make("beside")
    held.opened.set()
    assert (await ended(admin, "first")).phase == "Completed"

    gate, backup = asyncio.Event(), SqliteStore.backup

    async def wait(self, path):
        await gate.wait()
        return await backup(self, path)

    monkeypatch.setattr(SqliteStore, "backup", wait)
    await admin.backups.make("tuesday")
    with pytest.raises(MemoryStateError) as caught:
        await admin.restores.ask("second", backup="monday")
    assert (caught.value.status, caught.value.reason) == (409, "running")
    gate.set()
    await admin.backups.wait("tuesday")
    await admin.restores.ask("second", backup="tuesday")
    assert (await ended(admin, "second")).phase == "Completed"


async def test_a_backup_that_cannot_be_used_is_refused_and_nothing_is_changed(service, admin, root, tmp_path):
    await admin.put("n", "k", "here")
    await backed_up(admin, "monday")
    async with SqliteStore.open(tmp_path / "other.db", StoreConfig(swarm_id="other")) as other:
        await other.put("n", "k", "foreign")
        await Catalog(FolderDestination(root).below("other"), source=other, scratch=tmp_path).make("theirs", "Final")

    def changed(name, **members):
        folder = root / "default" / name
        shutil.copytree(root / "default" / "monday", folder)
        manifest = json.loads((folder / "manifest.json").read_text()) | {"name": name} | members
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder / "memory.db"

    damaged = changed("damaged")
    damaged.write_bytes(damaged.read_bytes()[:-100] + bytes(100))
    with contextlib.closing(sqlite3.connect(root / "default" / "monday" / "memory.db")) as db:
        newer = db.execute("PRAGMA user_version").fetchone()[0] + 1
    later = changed("later")
    with contextlib.closing(sqlite3.connect(later)) as db:
        db.execute(f"PRAGMA user_version = {newer}")
    document = json.loads(later.with_name("manifest.json").read_text())
    document |= {"sha256": hashlib.sha256(later.read_bytes()).hexdigest(), "schema_version": newer}
    later.with_name("manifest.json").write_text(json.dumps(document))
    foreign = f"file://{root}/other/theirs"
    for number, (given, code) in enumerate((
        ({"backup": "none"}, "backup-not-found"),
        ({"backup": "damaged"}, "backup-damaged"),
        ({"backup": "later"}, "newer-schema"),
        ({"location": foreign}, "backup-of-another-swarm"),
        ({"location": foreign, "namespaces": ["n"]}, "backup-of-another-swarm"),
        ({"location": foreign, "dry_run": True}, "backup-of-another-swarm"),
        ({"location": "ftp://nowhere/b"}, "destination-invalid"),
    )):  # fmt: skip
        await admin.restores.ask(f"r{number}", **given)
        failed = await ended(admin, f"r{number}")
        assert (failed.phase, failed.problem["code"]) == ("Failed", code), failed
        assert failed.safety_backup is None
    assert await values(service.store) == {"k": "here"}
    await admin.put("n", "k", "written")
    await admin.restores.ask("theirs", location=foreign, allow_other_swarm=True)
    assert (await ended(admin, "theirs")).phase == "Completed"
    assert await values(service.store) == {"k": "foreign"}


@pytest.fixture
def full(monkeypatch):
    """Makes safety backups fail until it is told otherwise."""
    make, full = Catalog.make, asyncio.Event()
    full.set()

    async def fail(self, name, reason, **options):
        if reason == jobs.REASON and full.is_set():
            raise DestinationFullError("no room left")
        return await make(self, name, reason, **options)

    monkeypatch.setattr(Catalog, "make", fail)
    return full


async def test_the_former_data_are_kept_until_they_are_the_safety_backup(service, admin, root, full):
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    await admin.put("n", "k", "new")
    await admin.restores.ask("back", backup="monday")
    failed = await ended(admin, "back")
    assert (failed.phase, failed.problem["code"], failed.safety_backup) == ("Failed", "safety-backup-failed", None)
    assert "no room left" in failed.problem["detail"]
    assert await values(service.store) == {"k": "old"}
    assert left(service) == FORMER
    await admin.put("n", "k", "written")
    with pytest.raises(MemoryStateError) as caught:
        await admin.restores.ask("back", backup="monday", allow_other_swarm=True)
    assert caught.value.reason == "exists"
    # Another restore leaves them alone.
    await admin.restores.ask("other", backup="monday", namespaces=["none"])
    assert (await ended(admin, "other")).phase == "Completed"
    full.clear()
    assert (await admin.restores.ask("back", backup="monday")).phase == "BackingUp"
    done = await ended(admin, "back")
    assert (done.phase, done.problem) == ("Completed", None)
    assert await values(service.store) == {"k": "written"}
    assert left(service) == set()
    assert (await admin.restores.ask("back", backup="monday")).raw == done.raw
    async with SqliteStore.open(root / "default" / done.safety_backup / "memory.db") as safety:
        assert await values(safety) == {"k": "new"}


async def test_former_data_are_given_up_when_no_safety_backup_is_wanted_any_more(service, admin, full, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_REMEMBERED", 2)
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    await admin.restores.ask("back", backup="monday")
    assert (await ended(admin, "back")).phase == "Failed"
    for number in range(4):  # a restore whose former data are kept is not forgotten
        await admin.restores.ask(f"r{number}", backup="none")
        await ended(admin, f"r{number}")
    assert [state.name for state in await admin.restores.list()] == ["back", "r2", "r3"]
    await admin.put("n", "k", "written")
    await admin.restores.ask("back", backup="monday", safety_backup=False)
    done = await ended(admin, "back")
    assert (done.phase, done.safety_backup) == ("Completed", None)
    assert left(service) == set()
    assert await values(service.store) == {"k": "written"}


async def test_a_destination_that_is_gone_is_found_before_anything_is_changed(service, admin, root):
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    await admin.put("n", "k", "new")
    root.rename(root.with_name("elsewhere"))
    await admin.restores.ask("back", location=f"file://{root.with_name('elsewhere')}/default/monday")
    failed = await ended(admin, "back")
    assert (failed.phase, failed.problem["code"]) == ("Failed", "destination-missing")
    assert await values(service.store) == {"k": "new"}
    assert left(service) == set()


@pytest.mark.parametrize("destination", [True, False])
async def test_the_next_start_makes_the_safety_backup(start_service, root, monkeypatch, destination):
    """The service stops when the files are exchanged and the safety backup is being made."""
    gate, make = Gate(), Catalog.make

    async def wait(self, name, reason, **options):
        if reason == jobs.REASON:
            gate.reached.set()
            await gate.opened.wait()
        return await make(self, name, reason, **options)

    monkeypatch.setattr(Catalog, "make", wait)
    async with (
        start_service(backups=f"file://{root}") as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        await admin.put("n", "k", "old")
        await backed_up(admin, "monday")
        await admin.put("n", "k", "new")
        await admin.restores.ask("back", backup="monday")
        await gate.reached.wait()
        assert (await admin.restores.get("back")).phase == "BackingUp"
        await admin.put("n", "k", "written")
    gate.opened.set()
    async with (
        start_service(backups=f"file://{root}" if destination else None) as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        done = await ended(admin, "back")
        assert await values(service.store) == {"k": "written"}
        if not destination:
            assert (done.phase, done.problem["code"]) == ("Failed", "safety-backup-failed")
            assert left(service) == FORMER
            return
        assert done.phase == "Completed"
        assert left(service) == set()
    async with SqliteStore.open(root / "default" / done.safety_backup / "memory.db") as safety:
        assert await values(safety) == {"k": "new"}


async def test_a_volume_without_room_is_said_before_it_is_full(service, admin, monkeypatch):
    await admin.put("n", "k", 1)
    state = await backed_up(admin, "monday")
    usage = shutil.disk_usage("/")._replace(free=state.size)
    monkeypatch.setattr(jobs.shutil, "disk_usage", lambda _: usage)
    await admin.restores.ask("back", backup="monday")
    failed = await ended(admin, "back")
    assert failed.problem["code"] == "disk-full"
    monkeypatch.undo()
    # A restore that has failed is started again by its name.
    await admin.restores.ask("back", backup="monday")
    assert (await ended(admin, "back")).phase == "Completed"


async def test_requests_that_are_not_allowed(service, admin, start_service, tmp_path):
    for name, given in (("r", {}), ("R", {"backup": "b"}), ("r", {"backup": "b", "namespaces": []})):
        with pytest.raises(MemoryRequestError):
            await admin.restores.ask(name, **given)
    assert (await service.call("PUT", "/admin/restores/r", {"backup": "b", "x": 1}, token=ADMIN)).status == 400
    assert (await service.call("PUT", "/admin/restores/r", {"backup": "b"})).status == 403
    assert (await service.call("GET", "/admin/restores")).status == 403
    assert await admin.restores.get("none") is None
    assert (await admin.restores.list()) == []


async def test_a_service_without_a_destination_restores_from_a_location(start_service, service, admin, root, tmp_path):
    await admin.put("n", "k", "old")
    await backed_up(admin, "monday")
    (tmp_path / "second").mkdir()
    async with (
        running_service(tmp_path / "second") as other,
        MemoryClient(f"http://127.0.0.1:{other.port}", token=ADMIN, retries=0) as client,
    ):
        for given in ({"backup": "monday"}, {"location": f"file://{root}/default/monday"}):
            with pytest.raises(MemoryStateError) as caught:
                await client.restores.ask("r", **given)
            assert caught.value.reason == "no-destination"
        await client.restores.ask("r", location=f"file://{root}/default/monday", safety_backup=False)
        assert (await ended(client, "r")).phase == "Completed"
        assert (await client.get("n", "k")).value == "old"


@pytest.mark.parametrize("exchanged", [False, True])
async def test_the_next_start_knows_whether_the_files_were_exchanged(start_service, root, exchanged, monkeypatch):
    """The process ends between the position's being on disk and the outcome's: before the exchange or after it."""
    async with start_service(backups=f"file://{root}") as service:
        async with MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin:
            await admin.put("n", "k", "old")
            await backed_up(admin, "monday")
            await admin.put("n", "k", "new")
            await admin.restores.ask("back", backup="monday")
            await ended(admin, "back")
            await admin.put("n", "k", "after")
        file = root.parent / "restore-jobs.json"
        document = json.loads(file.read_text())
        (state,) = document["restores"]
        position = state["position"] if exchanged else state["position"] + 10**9
        state |= {"phase": "Swapping", "completed_at": None, "position": position}
    file.write_text(json.dumps(document))
    (root.parent / "restoring").mkdir()
    (root.parent / "restoring" / "copy.db").write_bytes(b"x")
    async with (
        start_service(backups=f"file://{root}") as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        state = await ended(admin, "back")
        assert state.phase == ("Completed" if exchanged else "Failed")
        assert (state.problem or {}).get("code") == (None if exchanged else "interrupted")
        assert not (root.parent / "restoring").exists()
        again = await admin.restores.ask("back", backup="monday")
        assert again.ended is exchanged
        assert (await ended(admin, "back")).phase == "Completed"
        assert (await admin.get("n", "k")).value == ("after" if exchanged else "old")


async def test_outcomes_are_bounded(service, admin, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_REMEMBERED", 3)
    for number in range(5):
        await admin.restores.ask(f"r{number}", backup="none")
        await ended(admin, f"r{number}")
    assert [state.name for state in await admin.restores.list()] == ["r2", "r3", "r4"]


async def test_under_load_no_read_fails_and_writers_wait_by_themselves(service, admin, root):
    """Clients with the client's own retries see nothing; a plain writer sees 503 with Retry-After and nothing else.

    What was acknowledged is in the safety backup or in the new data.
    """
    for number in range(50):
        await admin.put("n", f"k{number}", "old")
    await backed_up(admin, "monday")
    for number in range(50):
        await admin.put("n", f"k{number}", "new")
    done, refusals, stale, acknowledged, before = asyncio.Event(), [], [], {}, {}
    url = f"http://127.0.0.1:{service.port}"

    async def read(client):
        while not done.is_set():
            entry = await client.get("n", f"k{random.randrange(50)}")
            assert entry.value in {"old", "new"}
            page = await client.list("n", limit=50)
            assert {each.value for each in page.entries} in ({"old"}, {"new"})
            await client.search(namespace="n", text="old")

    async def write(client, name):
        """Waits as long as it takes. What is acknowledged after the restore is there afterwards."""
        number = 0
        while not done.is_set():
            number += 1
            head = await client.put("w", name, number)
            acknowledged[name] = (head.version, number)
            if head.version < MARGIN:
                before[name] = (head.version, number)

    async def write_plainly():
        number = 0
        while not done.is_set():
            number += 1
            answer = await service.call("PUT", "/v1/entries/w/plain", {"value": number})
            if answer.status not in {200, 201}:
                refusals.append((answer.status, answer.headers.get("retry-after"), answer.json["type"]))

    async def compare_and_set(client):
        """With a version from before the restore: never."""
        version = (await client.get("n", "k0")).version
        while not done.is_set():
            try:
                await client.put("n", "k0", "stale", if_version=version + 1000)
            except MemoryConflictError:
                continue
            stale.append(version)

    async with (
        MemoryClient(url, token=TOKEN, retries=0) as plain,
        MemoryClient(url, token=TOKEN) as patient,
    ):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(read(plain))
            tasks.create_task(write(patient, "one"))
            tasks.create_task(write(patient, "two"))
            tasks.create_task(write_plainly())
            tasks.create_task(compare_and_set(patient))
            await admin.restores.ask("back", backup="monday")
            restored = await ended(admin, "back")
            assert restored.phase == "Completed"
            former = dict(acknowledged)
            async with asyncio.timeout(60):
                while any(acknowledged[name] == former[name] for name in former):  # noqa: ASYNC110 - a poll of counters
                    await asyncio.sleep(0.01)
            done.set()
        assert set(refusals) <= {(503, "1", "urn:swarm-memory:problem:restoring")}
        assert stale == []
        assert {each.value for each in (await plain.list("n", limit=50)).entries} == {"old"}
        for name, (version, number) in acknowledged.items():
            entry = await plain.get("w", name)
            assert (entry.version, entry.value) == (version, number)
    async with SqliteStore.open(root / "default" / restored.safety_backup / "memory.db") as safety:
        for name, (version, number) in before.items():
            entry = await safety.get("w", name)
            # A write may be in it whose answer never came.
            assert (entry.version, entry.value) >= (version, number)
        assert set((await values(safety)).values()) == {"new"}


AFTER_VERIFYING = {"Swapping", "BackingUp", "Completed"}


async def test_a_kill_at_any_moment_of_a_restore(fork_process, root):
    """Old or new, whole; asking again by the same name completes it, and undoes nothing that was written after it."""
    flags = ("--backups", f"file://{root}")
    wanted = {f"k{number}": "old" for number in range(100)}
    outcomes = set()
    process = await fork_process(*flags)
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=token) as admin:
        await admin.batch([{"op": "put", "namespace": "n", "key": key, "value": "old"} for key in wanted])
        await backed_up(admin, "monday")
    for cycle in range(12):
        async with MemoryClient(process.url, token=token, retry_for=30) as admin:
            await admin.batch([{"op": "put", "namespace": "n", "key": key, "value": "new"} for key in wanted])
            await admin.restores.ask(f"r{cycle}", backup="monday")
            while cycle % 2 and (await admin.restores.get(f"r{cycle}")).phase not in AFTER_VERIFYING:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.sleep(random.uniform(0, 0.15))
        await process.stop(signal.SIGKILL)
        process = await fork_process(*flags)
        async with MemoryClient(process.url, token=token) as admin:
            found = {entry.value async for entry in admin.iterate("n")}
            state = await ended(admin, f"r{cycle}")
            outcomes.add((*found, None if state is None else state.phase))
            assert found in ({"old"}, {"new"})
            if state is not None:
                assert (state.phase == "Completed") == (found == {"old"})
            if state is not None and state.phase == "Completed":
                async with SqliteStore.open(root / "default" / state.safety_backup / "memory.db") as safety:
                    assert set((await values(safety)).values()) == {"new"}
            await admin.put("m", "after", cycle)
            await admin.restores.ask(f"r{cycle}", backup="monday")
            assert (await ended(admin, f"r{cycle}")).phase == "Completed"
            assert {entry.value async for entry in admin.iterate("n")} == {"old"}
            kept = await admin.get("m", "after")
            assert (kept is not None and kept.value == cycle) == (state is not None and state.phase == "Completed")
    assert await process.stop(signal.SIGTERM) == 0
    assert check(process.data_dir / "swarm-memory.db").ok
    assert {found for found, _ in outcomes} == {"old", "new"}


async def test_a_part_that_a_kill_cut_off_has_whole_batches_and_is_completed_when_it_is_asked_for_again(
    fork_process, root
):
    flags = ("--backups", f"file://{root}")
    keys = [f"k{number:03}" for number in range(1000)]

    async def write(admin, namespace, value):
        await admin.batch([{"op": "put", "namespace": namespace, "key": key, "value": value} for key in keys])

    process = await fork_process(*flags)
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=token) as admin:
        await write(admin, "n", "old")
        await write(admin, "other", "old")
        await backed_up(admin, "monday")
        await write(admin, "other", "new")
    for cycle in range(4):
        async with MemoryClient(process.url, token=token) as admin:
            await write(admin, "n", "new")
            await admin.restores.ask(f"r{cycle}", backup="monday", namespaces=["n"])
            # Each time after one more batch, or later on a machine that is slow.
            while (await admin.get("n", keys[100 * cycle])).value == "new":
                pass
        await process.stop(signal.SIGKILL)
        process = await fork_process(*flags)
        async with MemoryClient(process.url, token=token) as admin:
            found = [entry.value async for entry in admin.iterate("n")]
            assert len(found) == 1000
            restored = found.count("old")
            assert found == ["old"] * restored + ["new"] * (1000 - restored)
            assert restored % 100 == 0
            state = await admin.restores.get(f"r{cycle}")
            assert (state.phase == "Completed") <= (restored == 1000)
            await admin.restores.ask(f"r{cycle}", backup="monday", namespaces=["n"])
            assert (await ended(admin, f"r{cycle}")).phase == "Completed"
            assert {entry.value async for entry in admin.iterate("n")} == {"old"}
            assert {entry.value async for entry in admin.iterate("other")} == {"new"}
