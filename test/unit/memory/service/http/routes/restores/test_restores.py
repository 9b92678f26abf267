"""Restores over HTTP into a service in use: a whole backup, a part of one, a plan; refused requests."""

import asyncio
import contextlib
import hashlib
import json
import shutil

import pytest
from support.restores import ADMIN, backed_up, ended, left, values
from unit.memory.conftest import running_service

from swarm_operator.memory.client import (
    MemoryBusyError,
    MemoryClient,
    MemoryConflictError,
    MemoryRequestError,
    MemoryStateError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.folder import FolderDestination
from swarm_operator.memory.transfer.restores import jobs


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


async def test_outcomes_are_bounded(service, admin, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_REMEMBERED", 3)
    for number in range(5):
        await admin.restores.ask(f"r{number}", backup="none")
        await ended(admin, f"r{number}")
    assert [state.name for state in await admin.restores.list()] == ["r2", "r3", "r4"]
