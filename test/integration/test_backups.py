"""Backups by the operator as a process, a real API server and a real memory service, which keeps them in a folder."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.runtime.errors import NotFoundError

BACKUP, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_STORE
SWARM = "test"
"""The swarm of the memory service that conftest starts."""


async def succeed(objects, job):
    """Be the controller of Jobs."""
    now = "2026-11-26T03:00:00Z"
    why = {"status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
    complete = [{"type": kind, **why} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"conditions": complete, "startTime": now, "completionTime": now, "succeeded": 1}
    await objects.status(kinds.JOB, job["metadata"]["name"], status)


async def all_backups(objects):
    return (await objects.client.list(BACKUP, namespace=objects.namespace))[0]


async def test_a_backup_is_verified_and_its_data_goes_with_it(
    objects, serving, backup, finished, copies, eventually, folder, control_plane
):
    await serving()
    await backup("b1")
    status = (await finished("b1"))["status"]
    assert copies() == ["b1"]
    manifest = json.loads((folder / "b1" / "manifest.json").read_text())
    assert status["entries"] == manifest["entries"] == 100
    assert status["sha256"] == manifest["sha256"]
    assert status["sizeBytes"] == (folder / "b1" / "memory.db").stat().st_size
    assert (status["swarmId"], status["reason"], status["destination"]) == (
        SWARM,
        "Requested",
        {"claimName": "s-backups"},
    )
    assert status["verifiedAt"] >= status["completedAt"] >= status["startedAt"]
    assert manifest["reason"] == "Requested"
    shown = control_plane.kubectl_run("get", "smb", "-n", objects.namespace)
    assert shown.stdout.split()[:6] == ["NAME", "STORE", "REASON", "PHASE", "SIZE", "ENTRIES"]
    assert shown.stdout.splitlines()[1].split()[:4] == ["b1", "s", "Requested", "Completed"]

    async def told():
        found = (await objects.get(STORE, "s"))["status"]
        assert (found["phase"], found["lastVerifiedBackup"]) == ("Ready", "b1")
        assert found["lastBackup"] == status["completedAt"]
        assert (await objects.condition(STORE, "s", "BackupSucceeded"))["status"] == "True"
        return True

    await eventually(told)
    await objects.delete(BACKUP, "b1")
    await eventually(lambda: objects.missing(BACKUP, "b1"))
    assert not (folder / "b1").exists()


async def test_the_annotation_makes_one(objects, serving, finished, copies, eventually):
    await serving()
    annotations = {"annotations": {labels.BACKUP_REQUESTED: "true"}}
    await objects.client.merge(STORE, objects.namespace, "s", {"metadata": annotations}, field_manager="user")

    async def removed():
        found = (await objects.get(STORE, "s"))["metadata"].get("annotations") or {}
        return labels.BACKUP_REQUESTED not in found and copies()

    (name,) = await eventually(removed, seconds=60)
    assert name.startswith("s-requested-")
    assert [found["metadata"]["name"] for found in await all_backups(objects)] == [name]


async def test_a_schedule_makes_them_and_keeps_the_newest(objects, serving, copies, eventually):
    await serving(backupInterval="2s", backupRetention=2)
    seen = set()

    async def made_five():
        seen.update(copies())
        return len(seen) >= 5

    await eventually(made_five, seconds=90)
    await objects.store("s", swarmId=SWARM, backup={}, backupRetention=2)  # no schedule any more

    async def stopped():
        status = (await objects.get(STORE, "s"))["status"]
        found = await all_backups(objects)
        phases = {obj["status"]["phase"] for obj in found}
        return "nextBackup" not in status and phases == {"Completed"} and len(found) == len(copies()) == 2

    await eventually(stopped)
    names = sorted(obj["metadata"]["name"] for obj in await all_backups(objects))
    assert names == copies() == sorted(seen | set(names))[-2:], "the newest are kept"
    assert all(obj["metadata"]["labels"][labels.BACKUP_REASON] == "Scheduled" for obj in await all_backups(objects))
    assert "ownerReferences" not in (await all_backups(objects))[0]["metadata"]


async def test_killed_at_any_time_the_operator_makes_each_backup_once(
    objects, serving, backup, finished, copies, eventually
):
    operator = await serving()
    names = [f"b{number}" for number in range(6)]
    for number, name in enumerate(names):
        await backup(name)
        await asyncio.sleep(0.03 * number)  # where it is killed is left to chance
        operator.kill()
        operator.start()
    for name in names:
        found = await finished(name)
        assert found["status"]["entries"] == 100
    assert copies() == names
    for name in names:
        await objects.delete(BACKUP, name)
    operator.kill()
    operator.start()

    async def gone():
        return not await all_backups(objects)

    await eventually(gone, seconds=60)
    assert copies() == []


async def test_when_the_store_is_gone_a_job_deletes_the_data(
    objects, serving, backup, finished, copies, eventually, folder, tmp_path
):
    await serving(deletionPolicy="Retain")
    await backup("b1")
    await finished("b1")
    await objects.delete(STORE, "s")
    await eventually(lambda: objects.missing(STORE, "s"))
    await objects.delete(BACKUP, "b1")

    async def the_job():
        found = (await objects.client.list(kinds.JOB, namespace=objects.namespace))[0]
        assert len(found) == 1
        assert (await objects.condition(BACKUP, "b1", "Ready"))["reason"] == "JobRunning"
        return found[0]

    job = await eventually(the_job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program = shutil.which("swarm-memory", path=str(Path(sys.executable).parent))
    ran = await asyncio.to_thread(subprocess.run, [program, *container["args"]], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert copies() == []
    await succeed(objects, job)
    await eventually(lambda: objects.missing(BACKUP, "b1"))


async def test_the_annotation_lets_an_object_go_whose_data_nobody_can_delete(
    objects, serving, backup, finished, eventually
):
    await serving(deletionPolicy="Retain")
    await backup("b1")
    await finished("b1")
    await objects.delete(STORE, "s")
    await objects.delete(BACKUP, "b1")
    annotations = {"annotations": {labels.SKIP_DATA_DELETION: "true"}}
    await objects.client.merge(BACKUP, objects.namespace, "b1", {"metadata": annotations}, field_manager="user")
    await eventually(lambda: objects.missing(BACKUP, "b1"))


async def test_a_destination_that_fails_is_told_by_its_reason(objects, serving, backup, eventually, folder):
    await serving("--backup-deadline", "2")
    folder.write_text("no folder")
    await backup("b1")

    async def failed():
        assert (await objects.get(BACKUP, "b1"))["status"]["phase"] == "Failed"
        return await objects.condition(BACKUP, "b1", "Ready")

    reason = (await eventually(failed, seconds=60))["reason"]
    assert reason.startswith("Destination")

    async def told():
        return (await objects.condition(STORE, "s", "BackupSucceeded"))["reason"] == reason

    await eventually(told)


async def test_between_backups_nothing_is_written(objects, serving, backup, finished, eventually):
    operator = await serving("--status-interval", "0.1", backupInterval="24h")
    await backup("b1")
    await finished("b1")
    reconciles = 'controller_runtime_reconcile_total{controller="swarmmemorystore",result="requeue_after"}'
    seen = {"writes": -1.0, "reconciles": 0.0}

    async def quiet_for_50_reconciles():
        writes, count = operator.writes(), operator.metric(reconciles)
        if writes != seen["writes"]:
            seen.update(writes=writes, reconciles=count)
        return count - seen["reconciles"] >= 50

    await eventually(quiet_for_50_reconciles, seconds=60)


async def test_what_an_object_store_needs_is_mounted_and_not_written_again_and_again(
    objects, start_operator, eventually
):
    operator = start_operator()
    bucket = {
        "url": "s3://bucket/prefix",
        "endpoint": "https://minio:9000",
        "credentialsSecretRef": {"name": "keys"},
        "caSecretRef": {"name": "authority"},
    }
    await objects.store("s", backup={"objectStore": bucket})
    workload = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"), seconds=90)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert "--backups=s3://bucket/prefix" in container["args"]
    assert await objects.missing(kinds.PERSISTENT_VOLUME_CLAIM, "s-backups")

    async def has_storage():
        storage = await objects.condition(STORE, "s", "BackupStorageReady")
        return (storage["status"], storage["reason"]) == ("True", "ObjectStore")

    await eventually(has_storage)
    await objects.pretend_ready("s")
    reconciles = 'controller_runtime_reconcile_total{controller="swarmmemorystore"'
    seen = {"writes": -1.0, "reconciles": 0.0}

    async def quiet_for_4_reconciles():
        writes, count = operator.writes(), operator.metric(reconciles)
        if writes != seen["writes"]:
            seen.update(writes=writes, reconciles=count)
        return count - seen["reconciles"] >= 4

    await eventually(quiet_for_4_reconciles, seconds=90)


async def test_a_store_without_backups_has_the_pod_that_it_had(objects, start_operator, eventually):
    start_operator()
    await objects.store("s")
    workload = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"), seconds=90)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert not [argument for argument in container["args"] if "backups" in argument]
    with pytest.raises(NotFoundError):
        await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-backups")
