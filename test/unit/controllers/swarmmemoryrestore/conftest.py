"""A memory service that says of restores what a test tells it to, and a backup that was verified."""

import asyncio

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.controllers.swarmmemoryrestore import SwarmMemoryRestoreReconciler
from swarm_operator.controllers.swarmmemoryrestore.service import Observed
from swarm_operator.memory.client import RestoreState
from swarm_operator.runtime.resource import Key

KIND = kinds.SWARM_MEMORY_RESTORE
KEY = Key("ns", "r1")
NAME = "r1-uid-r1"
"""What the service calls it."""
DEADLINE = 600.0
LOCATION = "file:///backups/bees/b1"
SAFETY = f"{NAME}.before-1795680000000"
WHOLE = {"backup": "b1", "entries": 3, "bytes": 4096}
PART = {"entries_new": 1, "entries_changed": 2, "entries_removed": 3}


def observed(phase="Completed", *, safety=(), **fields):
    """A restore as the memory service tells of it."""
    known = {
        "name": NAME,
        "phase": phase,
        "started_at": "2026-11-23T12:00:00.000Z",
        "completed_at": "2026-11-23T12:00:05.000Z" if phase in {"Completed", "Failed"} else None,
        "safety_backup": next(iter(safety), None),
        "plan": None,
        "progress": None,
        "problem": None,
    }
    if plan := fields.pop("plan", WHOLE if phase == "Completed" else None):
        known["plan"] = {**dict.fromkeys(PART), **plan}
    if problem := fields.pop("problem", None):
        known["problem"] = {"code": problem[0], "detail": problem[1]}
    return Observed(RestoreState.read(known | fields), tuple(safety))


class FakeService:
    """Answers what it is told to, and notes what it is asked."""

    def __init__(self):
        self.answers = []
        self.asked = []

    async def advance(self, service, name, request, *, known, again):
        self.asked.append((service.store.name, service.token, name, request, known, again))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Answer) else Answer(answer)


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def listed(reads, recorder, service):
    return reads(lambda client: SwarmMemoryRestoreReconciler(client, recorder, service))


@pytest.fixture
def reconciler(caching, recorder, clock, service):
    return SwarmMemoryRestoreReconciler(caching, recorder, service, deadline=DEADLINE, clock=clock)


@pytest.fixture
def restore_object():
    def make(name="r1", *, source=None, store="bees", **fields):
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
        metadata |= {name: fields.pop(name) for name in ("deletionTimestamp", "finalizers") if name in fields}
        spec = {"storeRef": {"name": store}, "from": source or {"backupRef": {"name": "b1"}}, **fields}
        return {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": metadata, "spec": spec}

    return make


@pytest.fixture
def backup(seen):
    """Makes a backup that was verified."""

    def make(**status):
        kind = kinds.SWARM_MEMORY_BACKUP
        known = {
            "phase": "Completed",
            "location": LOCATION,
            "destination": {"claimName": "bees-backups"},
            "swarmId": "bees",
            "verifiedAt": "2026-11-23T11:00:00.000Z",
        }
        metadata = {"name": "b1", "namespace": "ns", "uid": "uid-b1"}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        found = {name: value for name, value in (known | status).items() if value is not None}
        return seen(kind, {**body, "spec": {"storeRef": {"name": "bees"}}, "status": found})

    return make


@pytest.fixture
def passes(reconciler):
    """Reconciles until a pass asks for no other at once, and lets calls end meanwhile; returns the last result."""
    enqueued = []
    reconciler.calls.enqueue = reconciler.endings.enqueue = enqueued.append

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
def stored(client):
    """The object as the API server has it."""
    return lambda: client.objects[KIND, KEY]


@pytest.fixture
def ready(stored):
    def get():
        (condition,) = (found for found in stored()["status"]["conditions"] if found["type"] == "Ready")
        return condition["status"], condition["reason"], condition["message"]

    return get


@pytest.fixture
def safety_backups(client):
    """Names of the SwarmMemoryBackups that say why they were made."""

    def get():
        found = {key.name: obj for (kind, key), obj in client.objects.items() if kind == kinds.SWARM_MEMORY_BACKUP}
        return {name: obj for name, obj in found.items() if obj["metadata"].get("labels")}

    return get
