"""A memory service that says of backups what a test tells it to."""

import asyncio

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.memory.client import BackupState
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "b1")
DEADLINE = 600.0


def state(phase="Completed", **fields):
    """A backup as the memory service tells of it."""
    known = {
        "name": "b1",
        "phase": phase,
        "reason": "Requested",
        "started_at": "2026-11-23T12:00:00.000Z",
        "completed_at": None,
        "verified_at": None,
        "location": "file:///backups/bees/b1",
        "size": None,
        "entries": None,
        "sha256": None,
        "schema_version": None,
        "feed_position": None,
        "swarm_id": None,
        "problem": None,
    }
    if phase == "Completed":
        known |= {
            "completed_at": "2026-11-23T12:00:05.000Z",
            "verified_at": "2026-11-23T12:00:09.000Z",
            "size": 4096,
            "entries": 3,
            "sha256": "0" * 64,
            "schema_version": 6,
            "feed_position": 17,
            "swarm_id": "bees",
        }
    if problem := fields.pop("problem", None):
        known["problem"] = {"code": problem[0], "detail": problem[1]}
    return BackupState.read(known | fields)


class FakeService:
    """Answers what it is told to, and notes what it is asked."""

    def __init__(self):
        self.answers = []
        self.asked = []
        self.released = asyncio.Event()
        self.released.set()

    async def advance(self, service, name, reason, *, asked):
        self.asked.append(("advance", service.store.name, service.token, name, reason, asked))
        return await self._next()

    async def delete(self, service, name):
        self.asked.append(("delete", service.store.name, service.token, name))
        return await self._next()

    async def _next(self):
        await self.released.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Answer) else Answer(answer)


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def listed(reads, recorder, service):
    return reads(lambda client: SwarmMemoryBackupReconciler(client, recorder, service, ""))


@pytest.fixture
def reconciler(caching, recorder, clock, service):
    return SwarmMemoryBackupReconciler(
        caching, recorder, service, "registry/swarm-memory:v1",
        pull_secrets=("pull",), most=2, deadline=DEADLINE, clock=clock,
    )  # fmt: skip


@pytest.fixture
def backup_object():
    def make(name="b1", *, store="bees", destination=None, **metadata):
        spec = {"storeRef": {"name": store}} | ({"destination": destination} if destination else {})
        base = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
        kind = kinds.SWARM_MEMORY_BACKUP
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": base | metadata, "spec": spec}

    return make


@pytest.fixture
def passes(reconciler, cache):
    """Reconciles until a pass asks for no other at once, and lets calls end meanwhile; returns the last result."""
    enqueued = []
    reconciler.calls.enqueue = reconciler.deletions.enqueue = enqueued.append

    async def run(key=KEY):
        for _ in range(10):
            enqueued.clear()
            result = await reconciler.reconcile(key)
            for _ in range(6):
                await asyncio.sleep(0)
            if not enqueued and not 0 < result.requeue_after < 0.1:
                return result
        raise AssertionError("it never comes to rest")

    return run


@pytest.fixture
def status(cache):
    def get(name="b1"):
        return cache.get(kinds.SWARM_MEMORY_BACKUP, Key("ns", name))["status"]

    return get


@pytest.fixture
def ready(status):
    def get(name="b1"):
        (condition,) = (found for found in status(name)["conditions"] if found["type"] == "Ready")
        return condition["status"], condition["reason"], condition["message"]

    return get
