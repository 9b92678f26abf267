"""kill -9 at random points of the memory service, the operator and Jobs: each backup is made once, and is whole.

The operator is a process, the API server and the memory service are real; what a Job would run is run here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.budget import budget
from support.memory_process import Process
from support.zygote import Zygote

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig

BACKUP = kinds.SWARM_MEMORY_BACKUP
SWARM = "test"
PAIRS = budget(3, long=7)
"""Rounds in which the service is killed, and then the operator."""
JOBS = budget(3, long=6)
"""Rounds in which a Job's process is killed."""


def value(number: int) -> str:
    """Return what a writer writes at a number: from nothing to some kilobytes."""
    return hashlib.sha256(str(number).encode()).hexdigest() * (number % 60)


@dataclass
class Service:
    """The memory service of a store. After a kill it starts again with its files and its port, as a pod does."""

    zygote: Zygote
    folder: Path
    port: int
    process: Process = field(init=False)

    async def start(self) -> None:
        ports = ("--http-port", str(self.port), "--grpc-port", "off", "--metrics-port", "0")
        places = ("--data-dir", self.folder / "data", "--token-dir", self.folder / "tokens")
        backups = ("--swarm-id", SWARM, "--backups", self.backups.as_uri())
        forked = await self.zygote.fork("serve", *map(str, places), *ports, *backups)
        self.process = await Process.announced(forked, self.folder / "data")

    async def kill(self) -> None:
        await self.process.stop(signal.SIGKILL)

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    def complete(self) -> list[str]:
        """Names of the complete backups."""
        return sorted(path.parent.name for path in self.backups.glob(f"{SWARM}/*/manifest.json"))


@pytest.fixture
async def service(zygote, tmp_path, memory_port):
    """A service that is started by the test, and killed at its end."""
    made = Service(zygote, tmp_path, memory_port)
    made.backups.mkdir()
    (tmp_path / "tokens").mkdir()
    yield made
    await made.kill()


@pytest.fixture
async def operator(objects, start_operator, eventually, service):
    """An operator, and a ready store whose memory is the service."""
    operator = start_operator("--memory-url", f"http://127.0.0.1:{service.port}")
    await objects.store("s", swarmId=SWARM, backup={})
    secret = await eventually(lambda: objects.get(kinds.SECRET, "s-auth"), seconds=90)
    for name, text in secret["data"].items():
        (service.folder / "tokens" / name).write_bytes(base64.b64decode(text))
    await service.start()
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))
    await objects.pretend_ready("s")
    return operator


@pytest.fixture
def acknowledged(operator, service, background):
    """Numbers that a writer, which goes on all the time, was told are written."""
    numbers: list[int] = []

    async def write() -> None:
        token = service.folder / "tokens" / "client-token"
        async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=token, retry_for=120) as memory:
            for number in itertools.count():
                await memory.put("n", f"{number:06}", value(number))
                numbers.append(number)
                await asyncio.sleep(0.01)

    background(write())
    return numbers


@pytest.fixture
def random_moment():
    """Waits: when a process is killed is left to chance."""

    async def wait(most: float) -> None:
        await asyncio.sleep(random.uniform(0, most))

    return wait


async def make(objects, name: str) -> None:
    body = {
        "apiVersion": BACKUP.api_version,
        "kind": BACKUP.kind,
        "metadata": {"name": name, "namespace": objects.namespace},
        "spec": {"storeRef": {"name": "s"}},
    }
    await objects.client.create(BACKUP, body, field_manager="user")


async def delete(objects, resource, name: str) -> None:
    found = await objects.get(resource, name)
    await objects.client.delete(resource, objects.namespace, name, uid=found["metadata"]["uid"])


async def test_whatever_is_killed_a_backup_has_all_that_was_acknowledged_before_it(
    objects, operator, service, acknowledged, zygote, eventually, random_moment, tmp_path
):
    before: dict[str, int] = {}
    for number in range(PAIRS):
        for victim in ("service", "operator"):
            name = f"b{number}-{victim}"
            wanted = len(acknowledged) + 5
            await eventually(lambda wanted=wanted: at_least(acknowledged, wanted), seconds=60)
            before[name] = len(acknowledged)
            await make(objects, name)
            await random_moment(0.5)
            if victim == "service":
                await service.kill()
                await service.start()
            else:
                operator.kill()
                operator.start()
        await eventually(lambda: all_completed(objects), seconds=120)
    assert service.complete() == sorted(before)
    for name, least in before.items():
        found = await restored(zygote, service.backups / SWARM / name, tmp_path / name, random_moment)
        assert sorted(found) == list(range(len(found))), "what was written in turn is there without a gap"
        assert len(found) >= least
        assert found == {number: json.dumps(value(number)).encode() for number in range(len(found))}


async def at_least(numbers: list[int], count: int) -> bool:
    return len(numbers) >= count


async def all_completed(objects) -> bool:
    found = (await objects.client.list(BACKUP, namespace=objects.namespace))[0]
    assert not [obj for obj in found if (obj.get("status") or {}).get("phase") == "Failed"], found
    return {(obj.get("status") or {}).get("phase") for obj in found} == {"Completed"}


async def restored(zygote, location: Path, data: Path, random_moment) -> dict[int, bytes]:
    """Make a backup the database of a new memory, in a process that is killed once, and return its values."""
    command = ("backups", "restore", str(location), "--data-dir", str(data))
    process = await zygote.fork(*command)
    await random_moment(0.1)
    process.kill()
    await process.wait()
    again = await zygote.fork(*command)
    await again.wait()
    entries: dict[int, bytes] = {}
    async with SqliteStore.open(data / "swarm-memory.db", StoreConfig()) as store:
        after = None
        while True:
            page = await store.list("n", after=after, limit=1000)
            entries |= {int(entry.key): entry.value_json for entry in page.entries}
            if (after := page.next_key) is None:
                return entries


async def test_a_job_that_is_killed_deletes_the_data_when_it_runs_again(
    objects, operator, service, zygote, eventually, random_moment
):
    names = [f"b{number}" for number in range(JOBS)]
    for name in names:
        await make(objects, name)
    await eventually(lambda: all_completed(objects), seconds=120)
    await delete(objects, kinds.SWARM_MEMORY_STORE, "s")
    await eventually(lambda: objects.missing(kinds.SWARM_MEMORY_STORE, "s"))
    for name in names:
        await delete(objects, BACKUP, name)

    async def jobs():
        found = (await objects.client.list(kinds.JOB, namespace=objects.namespace))[0]
        return found if len(found) == JOBS else None

    for job in await eventually(jobs, seconds=60):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        # The Job's volume is mounted at /backups.
        command = [text.replace("file:///backups/", f"{service.backups.as_uri()}/") for text in container["args"]]
        killed = await zygote.fork(*command)
        await random_moment(0.1)
        killed.kill()
        await killed.wait()
        again = await zygote.fork(*command)
        assert await again.wait() == 0, (await again.stderr.read()).decode()
        await complete(objects, job["metadata"]["name"])
    for name in names:
        await eventually(lambda name=name: objects.missing(BACKUP, name))
    assert not [name for name in names if (service.backups / SWARM / name).exists()]


async def complete(objects, job: str) -> None:
    """Be the controller of Jobs: this one has succeeded."""
    now = "2026-11-26T03:00:00Z"
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"conditions": conditions, "startTime": now, "completionTime": now, "succeeded": 1}
    await objects.status(kinds.JOB, job, status)
