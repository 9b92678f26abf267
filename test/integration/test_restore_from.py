"""New stores from backups: the operator as a process, a real API server, and the Job's command run on this machine."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.location import open_destination
from swarm_operator.runtime.resource import owner_reference

BACKUP, JOB, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.JOB, kinds.SWARM_MEMORY_STORE
DATABASE = "swarm-memory.db"


@pytest.fixture
async def backups(tmp_path, objects):
    """Two backups of a store that is gone: b1 with one entry, b2 with two."""
    (tmp_path / "backups").mkdir()
    catalog = open_destination(f"file://{tmp_path}/backups").below("old")
    async with SqliteStore.open(tmp_path / "old.db", StoreConfig(swarm_id="old")) as store:
        for number in (1, 2):
            await store.put("n", f"k{number}", number)
            made = await Catalog(catalog, source=store, scratch=tmp_path).make(f"b{number}", "Requested")
            await objects.apply(BACKUP, made.name, {"storeRef": {"name": "old"}})
            status = {
                "phase": "Completed",
                "startedAt": f"2026-11-26T0{number}:00:00Z",
                "completedAt": made.completed_at,
                "verifiedAt": made.verified_at,
                "location": f"{catalog.url}/{made.name}",
                "destination": {"claimName": "old-backups"},
                "swarmId": "old",
            }
            condition = {"type": "Ready", "status": "True", "reason": "Verified", "message": ""}
            condition["lastTransitionTime"] = "2026-11-26T03:00:00Z"
            await objects.status(BACKUP, made.name, status | {"conditions": [condition]})
    return tmp_path / "backups" / "old"


@pytest.fixture
def run_job(objects, eventually, tmp_path):
    """Runs the command of a store's Job in a folder of the store; returns the Job and what came of it."""

    async def run(name):
        job = await eventually(lambda: objects.get(JOB, f"{name}-restore"), seconds=90)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        program = shutil.which("swarm-memory", path=str(Path(sys.executable).parent))
        arguments = [part.replace("--data-dir=/data", f"--data-dir={tmp_path}/{name}") for part in container["args"]]
        return job, await asyncio.to_thread(
            subprocess.run, [program, *arguments], capture_output=True, text=True, check=False
        )

    return run


def without_names(workload, name):
    # The name of the final backup has a part of the store's uid.
    return re.sub(r"-final-[0-9a-f]+", "-final-UID", str(workload["spec"]).replace(name, "NAME"))


async def test_a_new_store_is_made_from_the_newest_backup_of_a_store_that_is_gone(
    objects, backups, start_operator, run_job, eventually, tmp_path
):
    operator = start_operator()
    await objects.store("fresh", restoreFrom={"storeRef": {"name": "old"}})
    await objects.store("plain")
    job, ran = await run_job("fresh")
    assert ran.returncode == 0, ran.stderr
    assert await objects.missing(kinds.STATEFUL_SET, "fresh")
    assert (await objects.condition(STORE, "fresh", "Restored"))["reason"] == "Restoring"
    assert (await objects.get(STORE, "fresh"))["status"]["phase"] == "Restoring"
    operator.kill()
    conditions = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
    for condition in conditions:
        condition |= {"lastTransitionTime": "2026-11-26T03:00:00Z", "reason": "CompletionsReached"}
    times = {"startTime": "2026-11-26T03:00:00Z", "completionTime": "2026-11-26T03:05:00Z"}
    await objects.status(JOB, "fresh-restore", {"conditions": conditions, "succeeded": 1, **times})
    operator.start()
    workload = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "fresh"), seconds=90)
    plain = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "plain"))
    assert without_names(workload, "fresh") == without_names(plain, "plain"), "nothing of the restore is left in it"
    async with SqliteStore.open(tmp_path / "fresh" / DATABASE, StoreConfig(swarm_id="fresh")) as store:
        assert [(await store.get("n", key)).value for key in ("k1", "k2")] == [1, 2]

    async def told():
        status = (await objects.get(STORE, "fresh"))["status"]
        assert status["restoredFrom"]["backup"] == "b2"
        assert (status["swarmId"], status["restoredFrom"]["restoredAt"]) == ("fresh", "2026-11-26T03:05:00Z")
        return (await objects.condition(STORE, "fresh", "Restored"))["status"] == "True"

    await eventually(told)
    await objects.client.delete(
        JOB, objects.namespace, "fresh-restore", uid=job["metadata"]["uid"]
    )  # as ttlSecondsAfterFinished does
    await objects.pretend_ready("fresh")

    async def ready():
        return (await objects.condition(STORE, "fresh", "Ready"))["status"] == "True"

    await eventually(ready)
    assert await objects.missing(JOB, "fresh-restore"), "it is restored once"


async def test_a_corrupt_newest_backup_is_refused_by_name_and_the_one_before_is_taken_when_asked_for(
    objects, backups, start_operator, run_job, eventually, tmp_path
):
    with (backups / "b2" / "memory.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    start_operator()
    await objects.store("newest", restoreFrom={"storeRef": {"name": "old"}})
    job, ran = await run_job("newest")
    assert ran.returncode == 1
    template = job["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "newest-restore-x", "namespace": objects.namespace},
        "spec": template["spec"],
    }
    pod["metadata"]["ownerReferences"] = [owner_reference(job)]
    await objects.client.create(kinds.POD, pod, field_manager="test")
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": ran.stderr[-2000:]}}
    status = {"name": "restore", "image": "i", "imageID": "", "ready": False, "restartCount": 1, "lastState": ended}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    await objects.status(kinds.POD, "newest-restore-x", {"containerStatuses": [status | {"state": waiting}]})

    async def refused():
        condition = await objects.condition(STORE, "newest", "Restored")
        assert condition["reason"] == "BackupDamaged", condition
        return condition["message"]

    assert await eventually(refused) == (
        "SwarmMemoryBackup b2: the copy has another SHA-256 digest than the one that was written"
    )
    assert await objects.missing(kinds.STATEFUL_SET, "newest")
    assert not (tmp_path / "newest" / DATABASE).exists()
    await objects.store("asked", restoreFrom={"backupRef": {"name": "b1"}})
    _, ran = await run_job("asked")
    assert ran.returncode == 0, ran.stderr
    async with SqliteStore.open(tmp_path / "asked" / DATABASE, StoreConfig(swarm_id="asked")) as store:
        assert (await store.get("n", "k1")).value == 1
        assert (await store.stats()).entries == 1
