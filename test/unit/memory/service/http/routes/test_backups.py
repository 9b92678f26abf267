"""Named backups over HTTP: made in the background, once by name, one at a time, with outcomes that last."""

import asyncio
import contextlib
import json
import os

import pytest
import structlog

from swarm_operator.memory.client import MemoryClient, MemoryNotFoundError, MemoryServerError, MemoryStateError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.transfer.backups.errors import DestinationUnreachableError

ADMIN = "admin-0123456789abcdef"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    return folder


@pytest.fixture
async def service(start_service, root):
    async with start_service(backups=f"file://{root}") as running:
        yield running


@pytest.fixture
async def admin(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as client:
        yield client


@pytest.fixture
def held(monkeypatch):
    """A gate that holds each copy of a database before it is made."""
    gate = asyncio.Event()
    backup = SqliteStore.backup

    async def wait(self, path):
        await gate.wait()
        return await backup(self, path)

    monkeypatch.setattr(SqliteStore, "backup", wait)
    return gate


async def ended(admin, name):
    async with asyncio.timeout(60):
        while not (state := await admin.backups.get(name)).ended:  # noqa: ASYNC110 - a poll is what callers do
            await asyncio.sleep(0.01)
    return state


async def test_a_backup_is_asked_for_watched_listed_verified_and_deleted(service, admin, root):
    for number in range(5):
        await service.store.put("n", f"k{number}", number)
    started = await admin.backups.make("monday", reason="Scheduled")
    assert (started.phase, started.raw["reason"], started.verified_at) == ("Running", "Scheduled", None)
    state = await ended(admin, "monday")
    assert (state.phase, state.entries, state.problem) == ("Completed", 5, None)
    assert state.location == f"file://{root}/default/monday"
    manifest = json.loads((root / "default/monday/manifest.json").read_text())
    same = ("name", "reason", "swarm_id", "size", "sha256", "entries", "verified_at", "feed_position", "version")
    assert {name: state.raw[name] for name in same} == {name: manifest[name] for name in same}
    answer = await service.call("PUT", "/admin/backups/monday", {"reason": "Requested"}, token=ADMIN)
    assert (answer.status, answer.json) == (200, state.raw)
    assert [each.raw for each in await admin.backups.list()] == [state.raw]
    assert (await admin.backups.verify("monday")).phase in {"Verifying", "Completed"}
    assert (await ended(admin, "monday")).verified_at >= state.verified_at
    metrics = await service.metrics()
    assert "swarm_memory_backup_duration_seconds_count 1.0" in metrics
    assert f"swarm_memory_backup_size_bytes {float(state.size)}" in metrics
    (age,) = [line for line in metrics.splitlines() if line.startswith("swarm_memory_backup_age_seconds ")]
    assert 0 <= float(age.split()[1]) < 60
    assert 'swarm_memory_backup_failures_total{reason="destination-full"} 0.0' in metrics
    await admin.backups.delete("monday")
    await admin.backups.delete("monday")
    assert await admin.backups.get("monday") is None
    assert list(root.iterdir()) == []


async def test_one_at_a_time(service, admin, held):
    assert (await admin.backups.make("first")).phase == "Running"
    # The same one is only told how far it is.
    assert (await admin.backups.make("first")).phase == "Running"
    with pytest.raises(MemoryStateError, match="first is being made") as caught:
        await admin.backups.make("second")
    assert (caught.value.status, caught.value.reason, caught.value.code) == (409, "running", "backup-conflict")
    # Neither does another copy of the database begin meanwhile.
    assert (await service.call("GET", "/admin/backup", token=ADMIN)).status == 429
    held.set()
    assert (await ended(admin, "first")).phase == "Completed"
    await admin.backups.make("second")
    assert (await ended(admin, "second")).phase == "Completed"


async def test_deleting_a_backup_that_is_being_made_cancels_it(service, admin, held, root):
    await admin.backups.make("first")
    await admin.backups.delete("first")
    assert await admin.backups.get("first") is None
    assert await admin.backups.list() == []
    held.set()
    await admin.backups.make("second")
    assert (await ended(admin, "second")).phase == "Completed"
    assert [path.name for path in (root / "default").iterdir()] == ["second"]


async def test_a_failure_is_told_and_outlives_the_service_and_the_next_attempt_succeeds(start_service, root):
    for attempt in range(3):
        async with (
            start_service(backups=f"file://{root}") as service,
            MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
        ):
            if attempt == 0:
                service.store.backup = failing
                await admin.backups.make("monday", reason="Final")
                state = await ended(admin, "monday")
                metrics = await service.metrics()
                assert 'swarm_memory_backup_failures_total{reason="destination-unreachable"} 1.0' in metrics
            state = await admin.backups.get("monday")
            assert (state.phase, state.raw["reason"]) == ("Failed", "Final")
            assert state.problem == {"code": "destination-unreachable", "detail": "s3://b: no answer"}
            assert [each.raw for each in await admin.backups.list()] == [state.raw]
    async with (
        start_service(backups=f"file://{root}") as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        await admin.backups.make("monday")
        assert (await ended(admin, "monday")).problem is None


async def failing(_):
    raise DestinationUnreachableError("s3://b: no answer")


async def test_what_a_stop_interrupts_says_so(start_service, root, held):
    async with (
        start_service(backups=f"file://{root}") as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        await admin.backups.make("monday")
    async with (
        start_service(backups=f"file://{root}") as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin,
    ):
        state = await admin.backups.get("monday")
        assert (state.phase, state.problem) == ("Failed", {"code": "interrupted", "detail": "interrupted; ask again"})


async def test_what_a_kill_interrupted_says_so(start_service, root, tmp_path):
    running = {"name": "monday", "reason": "Final", "started_at": "2026-11-26T00:00:00.000Z", "failure": None}
    (tmp_path / "backup-jobs.json").write_text(json.dumps({"outcomes": [running]}))
    async with start_service(backups=f"file://{root}") as service:
        document = (await service.call("GET", "/admin/backups/monday", token=ADMIN)).json
    assert (document["phase"], document["reason"]) == ("Failed", "Final")
    assert document["problem"] == {"code": "interrupted", "detail": "interrupted; ask again"}


async def test_damage_is_found_and_the_backup_fails(service, admin, root):
    await service.store.put("n", "k", "x" * 10_000)
    await admin.backups.make("monday")
    await ended(admin, "monday")
    with (root / "default/monday/memory.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    await admin.backups.verify("monday")
    state = await ended(admin, "monday")
    assert (state.phase, state.verified_at, state.problem["code"]) == ("Failed", None, "backup-damaged")
    assert 'swarm_memory_backup_failures_total{reason="backup-damaged"} 1.0' in await service.metrics()


async def test_a_destination_that_is_gone_is_said_at_once(service, admin, root):
    root.rmdir()
    for use in (admin.backups.list, lambda: admin.backups.get("a"), lambda: admin.backups.make("a")):
        with pytest.raises(MemoryServerError, match="does not exist") as caught:
            await use()
        assert (caught.value.status, caught.value.code) == (502, "destination-missing")


async def test_without_a_destination_there_are_no_backups(start_service):
    async with start_service() as service:
        answer = await service.call("PUT", "/admin/backups/a", token=ADMIN)
    assert (answer.status, answer.json["reason"]) == (409, "no-destination")
    assert "--backups" in answer.json["detail"]


async def test_what_is_not_there_and_what_is_not_allowed(service, admin):
    with pytest.raises(MemoryNotFoundError):
        await admin.backups.verify("none")
    assert await admin.backups.get("none") is None
    for method, path in (
        ("PUT", "/admin/backups/Upper"),
        ("GET", "/admin/backups/a%2Fb"),
        ("DELETE", "/admin/backups/..x"),
    ):
        answer = await service.call(method, path, token=ADMIN)
        assert (answer.status, answer.json["field"]) == (400, "name")
    answer = await service.call("PUT", "/admin/backups/a", {"reason": "two words"}, token=ADMIN)
    assert (answer.status, answer.json["field"]) == (400, "reason")
    answer = await service.call("PUT", "/admin/backups/a", {"other": 1}, token=ADMIN)
    assert answer.status == 400


async def test_who_asked_is_logged_once(service, admin):
    with structlog.testing.capture_logs() as lines:
        await admin.backups.make("monday", reason="Requested")
        await ended(admin, "monday")
        await admin.backups.delete("monday")
    asked = [{**line, "log_level": None} for line in lines if line["event"] == "administration" and "backup" in line]
    assert [(line["action"], line["backup"], line["by"]) for line in asked] == [
        ("backup-make", "monday", "admin"), ("backup-delete", "monday", "admin"),
    ]  # fmt: skip


async def test_outcomes_are_bounded(service, root, tmp_path, monkeypatch):
    from swarm_operator.memory.transfer.backups import jobs

    monkeypatch.setattr(jobs, "MAX_REMEMBERED", 3)
    service.store.backup = failing
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=ADMIN, retries=0) as admin:
        for number in range(5):
            await admin.backups.make(f"b{number}")
            await ended(admin, f"b{number}")
        assert [each.name for each in await admin.backups.list()] == ["b2", "b3", "b4"]
    remembered = json.loads((tmp_path / "backup-jobs.json").read_text())["outcomes"]
    assert [each["name"] for each in remembered] == ["b2", "b3", "b4"]


async def test_writes_go_on_while_a_backup_is_made_and_what_was_acknowledged_before_is_in_it(service, admin, root):
    for number in range(300):
        await service.store.put("n", f"before{number}", os.urandom(1000).hex())
    stop, written = asyncio.Event(), 0

    async def write():
        nonlocal written
        while not stop.is_set():
            await service.store.put("m", f"during{written}", written)
            written += 1

    task = asyncio.create_task(write())
    with contextlib.suppress(TimeoutError):
        await admin.backups.make("monday")
        state = await ended(admin, "monday")
    stop.set()
    await task
    assert (state.phase, written > 0) == ("Completed", True)
    async with SqliteStore.open(root / "default/monday/memory.db") as copy:
        stats = await copy.stats()
        assert stats.entries == state.entries >= 300
        assert (await copy.get("n", "before299")) is not None
