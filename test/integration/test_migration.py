"""Legacy memory comes into a store: the operator as a process, a real API server, and the Job's command run here."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from support import legacy

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient
from swarm_operator.runtime.resource import owner_reference

JOB, STORE = kinds.JOB, kinds.SWARM_MEMORY_STORE
NOW = "2026-11-26T03:00:00Z"


@pytest.fixture
def the_job(objects):
    """The only Job, or None."""

    async def find():
        jobs, _ = await objects.client.list(JOB, namespace=objects.namespace)
        assert len(jobs) <= 1
        return jobs[0] if jobs else None

    return find


@pytest.fixture
def finish(objects):
    """The kubelet's and the Job controller's writes about a command that succeeded, with its summary."""

    async def write(job, summary):
        template, name = job["spec"]["template"], job["metadata"]["name"]
        metadata = template["metadata"] | {"name": f"{name}-x", "namespace": objects.namespace}
        metadata["ownerReferences"] = [owner_reference(job)]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await objects.client.create(kinds.POD, pod, field_manager="test")
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": summary}}
        container = {"name": "migrate", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        await objects.status(kinds.POD, f"{name}-x", {"phase": "Succeeded", "containerStatuses": [container]})
        conditions = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
        for condition in conditions:
            condition |= {"lastTransitionTime": NOW, "reason": "CompletionsReached"}
        times = {"startTime": NOW, "completionTime": NOW}
        await objects.status(JOB, name, {"conditions": conditions, "succeeded": 1, **times})

    return write


async def test_a_claim_is_migrated_once_and_the_numbers_are_in_the_status(
    objects, start_operator, eventually, memory_service, memory_port, the_job, finish, tmp_path
):
    for folder in ("legacy", "backups", "scratch"):
        (tmp_path / folder).mkdir()
    counted = legacy.hive(tmp_path / "legacy" / "hive.db", swarms=("test",))
    (tmp_path / "legacy" / "bad.json").write_text('[{"key": 1')
    operator = start_operator("--memory-url", f"http://127.0.0.1:{memory_port}")
    await objects.store("s", swarmId="test", migrateFromLegacy=True, legacyDataPVC="old")
    secret = await eventually(lambda: objects.get(kinds.SECRET, "s-auth"), seconds=90)
    memory_service(secret["data"], memory_port)
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))
    await objects.pretend_ready("s")

    async def says(reason):
        found = await objects.condition(STORE, "s", "Migrated")
        assert found["reason"] == reason, found
        return found

    await eventually(lambda: says("LegacyClaimMissing"), seconds=60)
    assert (await objects.condition(STORE, "s", "Ready"))["status"] == "True"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await objects.apply(kinds.PERSISTENT_VOLUME_CLAIM, "old", spec)
    job = await eventually(the_job, seconds=60)
    await eventually(lambda: says("Migrating"))
    assert (await objects.get(STORE, "s"))["status"]["phase"] == "Migrating"

    await objects.store("s", swarmId="test", migrateFromLegacy=True, legacyDataPVC="old", hibernated=True)

    async def gone():
        return await the_job() is None

    await eventually(gone, seconds=60)
    await objects.store("s", swarmId="test", migrateFromLegacy=True, legacyDataPVC="old")
    operator.kill()
    operator.start()

    async def awake():
        return (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["replicas"] == 1

    await eventually(awake, seconds=90)
    await objects.pretend_ready("s")
    job = await eventually(the_job, seconds=60)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    moved = {
        "--source=/legacy": f"--source={tmp_path}/legacy",
        f"--target=http://s.{objects.namespace}.svc:8080": f"--target=http://127.0.0.1:{memory_port}",
        "--token-file=/etc/swarm-memory/tokens/admin-token": f"--token-file={tmp_path}/tokens/admin-token",
        "--scratch=/tmp": f"--scratch={tmp_path}/scratch",
        "--report=/tmp/report.json": f"--report={tmp_path}/report.json",
        "--archive=file:///backups": f"--archive=file://{tmp_path}/backups",
        "--summary=/dev/termination-log": f"--summary={tmp_path}/summary.json",
    }
    assert moved.keys() <= set(container["args"])
    arguments = [moved.get(argument, argument) for argument in container["args"]]
    program = [sys.executable, "-m", "swarm_operator.cmd.memory"]
    ran = await asyncio.to_thread(subprocess.run, [*program, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    await finish(job, (tmp_path / "summary.json").read_text())
    await eventually(lambda: says("Completed"), seconds=60)
    status = (await objects.get(STORE, "s"))["status"]
    assert (status["migrationCompleted"], status["migrationTime"]) == (True, NOW)
    assert status["migration"] == {
        "job": job["metadata"]["name"],
        "location": "file:///backups/test/~migration",
        "entries": counted["entry"] + counted["swarm"] + counted["row"],
        "agents": counted["agent"],
        "tasks": counted["task"],
        "patterns": 0,
        "consensus": counted["consensus"],
        "kept": 0,
        "quarantined": 1,
    }
    assert (tmp_path / "backups" / "test" / "~migration" / "quarantine.ndjson").exists()
    async with MemoryClient(
        f"http://127.0.0.1:{memory_port}", token_file=tmp_path / "tokens" / "client-token", retry_for=60
    ) as memory:
        assert (await memory.stats()).agents == counted["agent"]
    await objects.client.delete(JOB, objects.namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
    await objects.store("s", swarmId="test", migrateFromLegacy=True, legacyDataPVC="other", cacheSize=7)

    async def judged():
        found = await objects.get(STORE, "s")
        return found["status"]["observedGeneration"] == found["metadata"]["generation"]

    await eventually(judged)
    assert (await the_job(), (await says("Completed"))["status"]) == (None, "True"), "it is migrated once"
