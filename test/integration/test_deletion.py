"""Deletion of stores by the operator as a process and a real API server, with and without a memory service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from integration.test_backups import BACKUP, STORE, SWARM, succeed

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient, MemoryClientError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.resource import Resource

CLAIM = kinds.PERSISTENT_VOLUME_CLAIM
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)


async def is_deleted(objects, name):
    """Whether a claim is deleted. Its finalizer stays: the controller that would remove it is not here."""
    return "deletionTimestamp" in (await objects.get(CLAIM, name))["metadata"]


async def final_backup(objects):
    """The only SwarmMemoryBackup."""
    (found,) = (await objects.client.list(BACKUP, namespace=objects.namespace))[0]
    return found


async def reasons(objects):
    return {event["reason"] for event in (await objects.client.list(EVENTS, namespace=objects.namespace))[0]}


async def test_the_pod_leaves_a_backup_with_all_that_was_acknowledged(
    objects, serving, eventually, folder, memory_port, background
):
    await serving()
    token_file = folder.parent.parent / "tokens" / "client-token"
    acknowledged = []

    async def write():
        async with MemoryClient(f"http://127.0.0.1:{memory_port}", token_file=token_file, retries=0) as memory:
            for number in itertools.count():
                await memory.put("w", f"{number}", number)
                acknowledged.append(number)

    writers = [background(write()) for _ in range(2)]
    await objects.delete(STORE, "s")
    for writer in writers:
        with pytest.raises(MemoryClientError, match="deleted"):
            await asyncio.wait_for(writer, 60)
    await eventually(lambda: objects.missing(STORE, "s"), seconds=90)
    backup = await final_backup(objects)
    assert (backup["status"]["phase"], backup["status"]["reason"]) == ("Completed", "Final")
    assert "ownerReferences" not in backup["metadata"]
    assert backup["status"]["entries"] == 100 + len(set(acknowledged))
    manifest = json.loads((folder / backup["metadata"]["name"] / "manifest.json").read_text())
    assert (manifest["sha256"], manifest["verified_at"]) == (
        backup["status"]["sha256"],
        backup["status"]["verifiedAt"],
    )
    assert await is_deleted(objects, "s-data")
    assert not await is_deleted(objects, "s-backups")


async def test_a_job_makes_it_where_no_pod_keeps_backups(objects, start_operator, eventually, tmp_path):
    operator = start_operator()
    await objects.store("s", swarmId=SWARM)
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"), seconds=90)
    await objects.pretend_ready("s")
    data, backups, report = tmp_path / "data", tmp_path / "backups", tmp_path / "report"
    data.mkdir(), backups.mkdir()
    async with SqliteStore.open(data / "swarm-memory.db", StoreConfig(swarm_id=SWARM)) as store:
        await store.put("n", "k", 1)
    await objects.delete(STORE, "s")

    async def the_job():
        (found,) = (await objects.client.list(kinds.JOB, namespace=objects.namespace))[0]
        assert (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["replicas"] == 0
        return found

    async def making():
        with contextlib.suppress(ValueError):
            return await the_job()

    job = await eventually(making, seconds=60)
    operator.kill()
    operator.start()
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    program = shutil.which("swarm-memory", path=str(Path(sys.executable).parent))
    places = {"/data": data, "file:///backups": backups.as_uri(), "/dev/termination-log": report}
    arguments = [
        next((text.replace(here, str(there)) for here, there in places.items() if here in text), text)
        for text in container["args"]
    ]
    ran = await asyncio.to_thread(subprocess.run, [program, *arguments], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "job-pod", "namespace": objects.namespace, **template["metadata"]},
        "spec": template["spec"],
    }
    await objects.client.create(kinds.POD, pod, field_manager="controller")
    ended = {"exitCode": 0, "message": report.read_text(), "reason": "Completed"}
    state = {"name": "make", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    await objects.status(
        kinds.POD,
        "job-pod",
        {"phase": "Succeeded", "containerStatuses": [{**state, "state": {"terminated": ended}}]},
    )
    await succeed(objects, job)
    await eventually(lambda: objects.missing(STORE, "s"), seconds=60)
    backup = await final_backup(objects)
    assert (backup["status"]["phase"], backup["status"]["entries"]) == ("Completed", 1)
    assert list(backups.glob(f"{SWARM}/{backup['metadata']['name']}/manifest.json"))
    assert await is_deleted(objects, "s-data")
    assert {"PodStopped", "BackupCreated", "FinalBackupVerified"} <= await reasons(objects)


async def test_a_destination_that_fails_keeps_the_volume_after_the_deadline(objects, serving, eventually, folder):
    await serving("--final-backup-deadline", "4")
    folder.write_text("no folder")
    await objects.delete(STORE, "s")

    async def failing():
        ready = await objects.condition(STORE, "s", "Ready")
        return ready["reason"] == "FinalBackupFailing"

    with contextlib.suppress(NotFoundError):  # its time may be over before this looks
        await eventually(failing)
    await eventually(lambda: objects.missing(STORE, "s"), seconds=60)
    assert not await is_deleted(objects, "s-data")

    async def told():
        assert (await final_backup(objects))["status"]["phase"] == "Failed"
        return "VolumeKept" in await reasons(objects)

    await eventually(told)


async def test_a_namespace_that_is_being_deleted_waits_for_nothing(objects, start_operator, eventually, admin):
    start_operator()
    await objects.store("s")
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"), seconds=90)
    await objects.pretend_ready("s")
    namespace = await admin.get(NAMESPACES, "", objects.namespace)
    await admin.delete(NAMESPACES, "", objects.namespace, uid=namespace["metadata"]["uid"])
    await objects.delete(STORE, "s")  # as the namespace controller would
    await eventually(lambda: objects.missing(STORE, "s"))
    assert (await objects.client.list(BACKUP, namespace=objects.namespace))[0] == []
