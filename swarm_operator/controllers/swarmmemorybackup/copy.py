"""The copy: asks the memory service for it, and reports how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import finalizers, kinds, labels
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorybackup import metrics
from swarm_operator.controllers.swarmmemorybackup.service import BackupService, Calls, find_service
from swarm_operator.controllers.swarmmemorystore.backups.destination import access, destination_in_use
from swarm_operator.memory.client import BackupState
from swarm_operator.runtime.resource import Key, key_of

FINALIZER = "swarm.claudeflow.io/backup-data"
"""Keeps the object until its data is deleted."""

REQUESTED = "Requested"
"""Reason of a backup that names none."""

_RUNNING = frozenset({"Running", "Verifying"})
_FINAL = frozenset({"Completed", "Failed"})
_POLL_INTERVAL = 1.0
"""Seconds between two questions about a backup that is being made."""
_WAIT_INTERVAL = 5.0
"""Seconds between two looks at what a backup waits for."""
_AT_ONCE = 0.001
_MEMBERS = {
    "startedAt": "started_at",
    "completedAt": "completed_at",
    "verifiedAt": "verified_at",
    "location": "location",
    "sizeBytes": "size",
    "entries": "entries",
    "sha256": "sha256",
    "schemaVersion": "schema_version",
    "feedPosition": "feed_position",
    "swarmId": "swarm_id",
}
"""Fields of the status, and the members of the service's document that they are taken from."""


@dataclass(slots=True)
class Copy(Step[SwarmMemoryBackup]):
    """Have the copy made and verified. The finalizer and the place are stored before the service is asked."""

    condition: ClassVar = "Ready"

    service: BackupService
    calls: Calls[BackupState]
    most: int
    """Number of backups that are made at one time."""
    deadline: float
    """Seconds for which a backup waits at most for what it needs."""
    _working: set[Key] = field(default_factory=set, init=False)
    """Backups that count towards `most`, also before the cache says so."""
    _waiting: dict[Key, float] = field(default_factory=dict, init=False)
    """Since when a backup waits, by the clock's monotonic time."""

    async def run(self, r: Reconciliation[SwarmMemoryBackup]) -> Outcome:
        """See Step.run."""
        key = key_of(r.obj)
        r.status |= {
            name: value
            for name, value in (r.obj.get("status") or {}).items()
            if name not in {"conditions", "observedGeneration"}
        }
        r.status.setdefault("phase", "Pending")
        if r.status["phase"] in _FINAL:
            self.forget(key)
            result = done if r.status["phase"] == "Completed" else failed
            ready = _stored_ready(r)
            return result(ready["reason"], ready["message"])
        if r.status["phase"] == "Error":  # an error that is over
            r.status["phase"] = "Pending"
        await finalizers.add(r, FINALIZER)
        return await self._advance(r, key)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._working.discard(key)
        self._waiting.pop(key, None)
        self.calls.forget(key)

    async def _advance(self, r: Reconciliation[SwarmMemoryBackup], key: Key) -> Outcome:
        spec, name = r.parsed.spec, r.parsed.spec.store_ref.name
        obj = r.cache.get(kinds.SWARM_MEMORY_STORE, Key(key.namespace, name))
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return self._wait(r, "StoreNotFound", f"SwarmMemoryStore {name} does not exist")
        store = SwarmMemoryStore.model_validate(obj)
        destination = destination_in_use(store, r.cache)
        if destination is None:
            message = f"SwarmMemoryStore {name} has no place for backups: set its spec.backup"
            return self._wait(r, "NoDestination", message)
        if spec.destination is not None and spec.destination != destination:
            message = "spec.destination: is not where the store keeps its backups; see its spec.backup"
            return self._fail(r, "DestinationMismatch", message)
        if not self._take_turn(r, key):
            return self._wait(r, "Queued", f"{self.most} other backups are being made", counts=False)
        if r.parsed.status.destination != destination:
            # Where data may lie is known before it can lie there.
            r.status |= {
                "destination": destination.model_dump(by_alias=True, exclude_none=True),
                "location": f"{access(destination).url.rstrip('/')}/{store.swarm_id}/{key.name}",
                "swarmId": store.swarm_id,
                "reason": r.parsed.metadata.labels.get(labels.BACKUP_REASON, REQUESTED),
            }
            return waiting("Asking", "the memory service is asked next", requeue_after=_AT_ONCE)
        service = await find_service(r, store, obj)
        if isinstance(service, str):
            return self._wait(r, "StoreNotReady", service)
        reason, asked = r.status["reason"], r.parsed.status.started_at is not None
        answer = self.calls.answer(key, lambda: self.service.advance(service, key.name, reason, asked=asked))
        if answer is None:
            ready = _stored_ready(r)
            return waiting(ready["reason"], ready["message"])
        if answer.state is None:
            return self._wait(r, answer.reason, answer.message)
        self._waiting.pop(key, None)
        return self._report(r, answer.state)

    def _take_turn(self, r: Reconciliation[SwarmMemoryBackup], key: Key) -> bool:
        """Return whether this backup may be made now."""
        if key not in self._working:
            known = {
                key_of(obj)
                for obj in r.cache.list(kinds.SWARM_MEMORY_BACKUP)
                if (obj.get("status") or {}).get("phase") in _RUNNING
            }
            if key not in known and len(known | self._working) >= self.most:
                return False
            self._working.add(key)
        return True

    def _wait(self, r: Reconciliation[SwarmMemoryBackup], reason: str, message: str, *, counts: bool = True) -> Outcome:
        """Return the outcome of a backup that cannot go on now: it has failed when it has waited too long."""
        key, now = key_of(r.obj), r.clock.monotonic()
        if counts and now - self._waiting.setdefault(key, now) >= self.deadline:
            return self._fail(r, reason, f"not made within {self.deadline:g} s: {message}")
        if r.status["phase"] not in _RUNNING:
            self._working.discard(key)
        return waiting(reason, message, requeue_after=_WAIT_INTERVAL)

    def _fail(self, r: Reconciliation[SwarmMemoryBackup], reason: str, message: str) -> Outcome:
        r.status["phase"] = "Failed"
        metrics.FAILURES.labels(reason).inc()
        self.forget(key_of(r.obj))
        return failed(reason, message)

    def _report(self, r: Reconciliation[SwarmMemoryBackup], state: BackupState) -> Outcome:
        r.status |= _fields(state)
        if state.phase == "Completed" and state.verified_at is not None:
            r.status["phase"] = "Completed"
            self.forget(key_of(r.obj))
            metrics.observe(state)
            return done("Verified", f"{state.entries} entries were compared with the manifest at {state.location}")
        if state.phase in _RUNNING:
            r.status["phase"] = state.phase
            message = "the copy is being made" if state.phase == "Running" else "the copy is read again and compared"
            return waiting(state.phase, message, requeue_after=_POLL_INTERVAL)
        problem = state.problem
        if problem is None:
            return self._fail(r, "BackupFailed", f"the memory service says {state.phase} and no reason")
        return self._fail(r, reason_of(str(problem["code"])), str(problem["detail"]))


def _stored_ready(r: Reconciliation[SwarmMemoryBackup]) -> dict[str, Any]:
    conditions = {c["type"]: c for c in (r.obj.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") or {"reason": "Asking", "message": "the memory service is asked next"}


def _fields(state: BackupState) -> dict[str, Any]:
    found = {name: state.raw.get(member) for name, member in _MEMBERS.items()}
    return {name: value for name, value in found.items() if value is not None}
