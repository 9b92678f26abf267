"""Restores by the operator as a process, a real API server, and a real memory service with backups in a folder."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient

BACKUP, RESTORE, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_RESTORE, kinds.SWARM_MEMORY_STORE


@pytest.fixture
async def memory(memory_port, tmp_path):
    """A client of the service that the fixture serving starts."""
    token_file = tmp_path / "tokens" / "client-token"
    async with MemoryClient(f"http://127.0.0.1:{memory_port}", token_file=token_file, retry_for=60) as client:
        yield client


@pytest.fixture
def restore(objects):
    async def make(name, source, **fields):
        return await objects.apply(RESTORE, name, {"storeRef": {"name": "s"}, "from": source, **fields})

    return make


@pytest.fixture
def reason(objects, eventually):
    """Waits until a restore has a reason, and returns the condition."""

    async def wait(name, reason):
        async def told():
            found = await objects.condition(RESTORE, name, "Ready")
            assert found["reason"] == reason, found
            return found

        return await eventually(told, seconds=60)

    return wait


async def values(memory, namespace="n"):
    return {entry.key: entry.value async for entry in memory.iterate(namespace)}


async def test_everything_comes_back_once_and_what_was_there_is_a_backup(
    objects, serving, backup, finished, restore, memory, copies, control_plane
):
    await serving()
    await backup("b1")
    await finished("b1")
    before = await values(memory)
    await memory.put("n", "k1", "changed")
    await memory.put("other", "k", "new")
    await restore("back", {"backupRef": {"name": "b1"}})
    status = (await finished("back", kind=RESTORE))["status"]
    assert await values(memory) == before
    assert await values(memory, "other") == {}
    assert (status["plan"]["backup"], status["plan"]["entries"]) == ("b1", 100)
    # What was there is a backup like any other, of 101 entries, and leads back.
    safety = await finished(status["safetyBackup"])
    assert (safety["status"]["reason"], safety["status"]["entries"]) == ("PreRestore", 101)
    assert "ownerReferences" not in safety["metadata"]
    assert copies() == sorted(["b1", status["safetyBackup"]])
    shown = control_plane.kubectl_run("get", "smr", "-n", objects.namespace)
    assert shown.stdout.split()[:8] == ["NAME", "STORE", "FROM", "DRY-RUN", "PHASE", "NEW", "CHANGED", "REMOVED"]
    assert shown.stdout.splitlines()[1].split()[:5] == ["back", "s", "b1", "false", "Completed"]
    await memory.put("n", "later", 1)
    await restore("forth", {"location": safety["status"]["location"]}, keyPrefix="k", namespaces=["n"])
    await finished("forth", kind=RESTORE)
    assert await values(memory) == {**before, "k1": "changed", "later": 1}
    assert (await objects.get(RESTORE, "back"))["status"] == status
    assert "finalizers" not in (await objects.get(RESTORE, "back"))["metadata"]


async def test_a_plan_changes_nothing_and_each_refusal_says_why(
    objects, serving, backup, finished, restore, reason, memory, folder, eventually
):
    await serving(deletionPolicy="Retain")
    await backup("b1")
    backed_up = await finished("b1")
    await memory.put("n", "k1", "changed")
    await memory.put("n", "k-new", "new")
    await memory.delete("n", "k2")
    before = await values(memory)
    await restore("plan", {"backupRef": {"name": "b1"}}, dryRun=True)
    status = (await finished("plan", kind=RESTORE))["status"]
    counts = {"backup": "b1", "entries": 100, "entriesNew": 1, "entriesChanged": 1, "entriesRemoved": 1}
    assert {name: status["plan"][name] for name in counts} == counts
    assert status["plan"]["bytes"] > 0
    assert "safetyBackup" not in status
    assert (await objects.condition(RESTORE, "plan", "Ready"))["reason"] == "Planned"

    location = backed_up["status"]["location"]
    await restore("nowhere", {"location": location.replace("/b1", "/b2")})
    assert "there is no such backup" in (await reason("nowhere", "BackupNotFound"))["message"]
    for name, changes, code in (
        ("foreign", {"swarm_id": "wasps"}, "BackupOfAnotherSwarm"),
        ("damaged", {"sha256": "0" * 64}, "BackupDamaged"),
    ):
        copy = folder.parent / "elsewhere" / name
        shutil.copytree(folder / "b1", copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(manifest | {"name": name} | changes))
        await restore(name, {"location": copy.as_uri()})
        await reason(name, code)
    await restore("none", {"backupRef": {"name": "missing"}})
    assert "SwarmMemoryBackup missing does not exist" in (await reason("none", "BackupNotFound"))["message"]
    for name in ("nowhere", "damaged", "foreign"):
        assert (await objects.get(RESTORE, name))["status"]["phase"] == "Failed"
    assert await values(memory) == before
    # One that waits ends with its store.
    await objects.delete(STORE, "s")
    await restore("late", {"location": location})
    await reason("late", "StoreNotFound")
    for name in ("none", "late", "plan"):
        await objects.delete(RESTORE, name)
        await eventually(lambda name=name: objects.missing(RESTORE, name))


async def test_killed_at_any_time_the_operator_has_each_restore_carried_out_once(
    objects, serving, backup, finished, restore, memory, copies, eventually
):
    operator = await serving()
    await backup("b1")
    await finished("b1")
    safety = set()
    for number in range(2):
        await memory.put("n", "k1", f"round {number}")
        await restore(f"r{number}", {"backupRef": {"name": "b1"}})
        await asyncio.sleep(0.4 * number)  # where it is killed is left to chance
        operator.kill()
        operator.start()
        status = (await finished(f"r{number}", kind=RESTORE))["status"]
        assert (await values(memory))["k1"] == 1
        assert status["safetyBackup"] not in safety
        safety.add(status["safetyBackup"])
    await memory.put("n", "later", 1)
    for name in safety:
        await finished(name)
    assert copies() == sorted({"b1", *safety}), "each was carried out once"
    assert (await values(memory))["later"] == 1
    # Deleted while it runs: it ends, and what was copied before has an object.
    await restore("deleted", {"backupRef": {"name": "b1"}})

    async def is_asked_for():
        return "location" in (await objects.get(RESTORE, "deleted"))["status"]

    await eventually(is_asked_for, seconds=60)
    await objects.delete(RESTORE, "deleted")
    await eventually(lambda: objects.missing(RESTORE, "deleted"), seconds=60)

    async def all_have_objects():
        listed = (await objects.client.list(BACKUP, namespace=objects.namespace))[0]
        return sorted(obj["metadata"]["name"] for obj in listed) == copies()

    await eventually(all_have_objects, seconds=60)
