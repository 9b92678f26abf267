"""The copy: asks the memory service for it, and reports how far it is.

The final backup of a store that is being deleted is retried after any failure until its deadline. If the store's pod no
longer exists, a Job makes the backup in place of the service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import finalizers, kinds, labels
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorybackup import metrics
from swarm_operator.controllers.swarmmemorybackup.final import FinalJob
from swarm_operator.controllers.swarmmemorybackup.service import (
    Answer,
    BackupService,
    Calls,
    Service,
    find_service,
)
from swarm_operator.controllers.swarmmemorystore.backups.destination import access, destination_in_use
from swarm_operator.controllers.swarmmemorystore.backups.objects import FINAL, final_name
from swarm_operator.controllers.swarmmemorystore.deletion import NO_DATA
from swarm_operator.controllers.swarmmemorystore.workload.serving import is_stopped
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
"""Seconds between two checks of a waiting backup."""
_FINAL_INTERVAL = 30.0
"""Seconds until a final backup that has failed is tried again."""
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
    final_deadline: float
    """Seconds after the deletion of a store until which its final backup is tried."""
    job: FinalJob
    """Makes final backups of stores that have no pod."""
    _working: set[Key] = field(default_factory=set, init=False)
    """Backups that count towards `most`, also before the cache shows them."""
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
        obj = r.client.get(kinds.SWARM_MEMORY_STORE, Key(key.namespace, name))
        store = SwarmMemoryStore.model_validate(obj) if obj else None
        left = self._seconds_left(r, store)
        if left is None and FINAL in {r.parsed.status.reason, _reason(r)}:
            # A later store of that name is another one.
            message = f"SwarmMemoryStore {name} was deleted without it: {_stored_ready(r)['message']}"
            return self._fail(r, "StoreNotFound", message)
        if store is None or obj is None:
            return self._wait(r, "StoreNotFound", f"SwarmMemoryStore {name} does not exist")
        if store.metadata.deletion_timestamp and left is None and r.parsed.status.started_at is None:
            return self._wait(r, "StoreNotFound", f"SwarmMemoryStore {name} is being deleted")
        if left is not None and left <= 0:
            ready = _stored_ready(r)
            return self._fail(r, ready["reason"], f"not made within {self.final_deadline:g} s: {ready['message']}")
        destination = destination_in_use(store, r.client.cache)
        if destination is None:
            message = f"SwarmMemoryStore {name} has no place for backups: set its spec.backup"
            return self._wait(r, "NoDestination", message)
        if spec.destination is not None and spec.destination != destination:
            message = "spec.destination: is not where the store keeps its backups; see its spec.backup"
            return self._fail(r, "DestinationMismatch", message)
        if not self._take_turn(r, key):
            return self._wait(r, "Queued", f"{self.most} other backups are being made", counts=False)
        if r.parsed.status.destination != destination:
            # The location is stored before data can exist there.
            r.status |= {
                "destination": destination.model_dump(by_alias=True, exclude_none=True),
                "location": f"{access(destination).url.rstrip('/')}/{store.swarm_id}/{key.name}",
                "swarmId": store.swarm_id,
                "reason": FINAL if left is not None else _reason(r),
            }
            return waiting("Asking", "the memory service is asked next", requeue_after=_AT_ONCE)
        answer: Answer[BackupState] | None
        if left is not None and is_stopped(store, r.client.cache):
            self.calls.forget(key)
            answer = await self.job.answer(r, store, destination, seconds=left)
        else:
            service = await find_service(r, store, obj)
            if isinstance(service, str):
                return self._wait(r, "StoreNotReady", service)
            answer = self._ask(r, service)
        if answer is None:
            ready = _stored_ready(r)
            return waiting(ready["reason"], ready["message"])
        if answer.state is None:
            return self._wait(r, answer.reason, answer.message, pauses=left is not None)
        self._waiting.pop(key, None)
        return self._report(r, answer.state, final=left is not None)

    def _seconds_left(self, r: Reconciliation[SwarmMemoryBackup], store: SwarmMemoryStore | None) -> float | None:
        """Return for how long the final backup of a deleted store is tried yet; None for any other backup."""
        if store is None or store.metadata.deletion_timestamp is None or r.parsed.metadata.name != final_name(store):
            return None
        deleted = datetime.fromisoformat(store.metadata.deletion_timestamp)
        return self.final_deadline - (r.clock.now() - deleted).total_seconds()

    def _ask(self, r: Reconciliation[SwarmMemoryBackup], service: Service) -> Answer[BackupState] | None:
        """Return what the service has answered, or None while it is being asked."""
        key, reason, status = key_of(r.obj), r.status["reason"], r.parsed.status
        # A failed backup is not asked for again, except a final backup, which becomes Pending again.
        asked = status.started_at is not None and (reason != FINAL or status.phase in _RUNNING)
        return self.calls.answer(key, lambda: self.service.advance(service, key.name, reason, asked=asked))

    def _take_turn(self, r: Reconciliation[SwarmMemoryBackup], key: Key) -> bool:
        """Return whether this backup may be made now."""
        if key not in self._working:
            known = {
                key_of(obj)
                for obj in r.client.list(kinds.SWARM_MEMORY_BACKUP)
                if (obj.get("status") or {}).get("phase") in _RUNNING
            }
            if key not in known and len(known | self._working) >= self.most:
                return False
            self._working.add(key)
        return True

    def _wait(
        self,
        r: Reconciliation[SwarmMemoryBackup],
        reason: str,
        message: str,
        *,
        counts: bool = True,
        pauses: bool = False,
    ) -> Outcome:
        """Return the outcome of a backup that cannot go on now: it has failed when it has waited too long.

        Args:
            r: the pass.
            reason: what it waits for, in one word.
            message: the same, for people.
            counts: whether the time of waiting is limited.
            pauses: whether other backups may be made although this one has begun.
        """
        key, now = key_of(r.obj), r.clock.monotonic()
        if pauses:
            r.status["phase"] = "Pending"
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

    def _report(self, r: Reconciliation[SwarmMemoryBackup], state: BackupState, *, final: bool) -> Outcome:
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
        problem = state.problem or {"code": "", "detail": f"the memory service reports {state.phase} without a reason"}
        reason, detail = reason_of(str(problem["code"])), str(problem["detail"])
        if final and reason != NO_DATA:
            outcome = self._wait(r, reason, detail, counts=False, pauses=True)
            return waiting(outcome.reason, outcome.message, requeue_after=_FINAL_INTERVAL)
        return self._fail(r, reason, detail)


def _stored_ready(r: Reconciliation[SwarmMemoryBackup]) -> dict[str, Any]:
    conditions = {c["type"]: c for c in (r.obj.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") or {"reason": "Asking", "message": "the memory service is asked next"}


def _reason(r: Reconciliation[SwarmMemoryBackup]) -> str:
    """Return why a backup is made, by its label."""
    return r.parsed.metadata.labels.get(labels.BACKUP_REASON, REQUESTED)


def _fields(state: BackupState) -> dict[str, Any]:
    found = {name: state.raw.get(member) for name, member in _MEMBERS.items()}
    return {name: value for name, value in found.items() if value is not None}
