"""The data from before a restore: kept until the safety backup has them, over failures and restarts."""

import asyncio
import json

import pytest
from support.restores import ADMIN, FORMER, Gate, backed_up, ended, left, values

from swarm_operator.memory.client import (
    MemoryClient,
    MemoryStateError,
)
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.errors import DestinationFullError
from swarm_operator.memory.transfer.restores import jobs


@pytest.fixture
def full(monkeypatch):
    """Fail each safety backup until the event is cleared."""
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
