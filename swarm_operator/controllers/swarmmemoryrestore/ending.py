"""Deletion of a restore that may be running: the object stays until the memory service has ended it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore, SwarmMemoryStore
from swarm_operator.controllers.common import finalizers, kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, waiting
from swarm_operator.controllers.swarmmemorybackup.service import Calls, find_service
from swarm_operator.controllers.swarmmemoryrestore import safety
from swarm_operator.controllers.swarmmemoryrestore.restore import FINAL, FINALIZER, request_of, stored_status
from swarm_operator.controllers.swarmmemoryrestore.service import Observed, RestoreService, service_name
from swarm_operator.runtime.errors import ForbiddenError, InvalidError
from swarm_operator.runtime.resource import Key, Object, key_of

GRACE = 120.0
"""Seconds after the deletion for which a service that does not answer is waited for."""

_RETRY_INTERVAL = 5.0
_POLL_INTERVAL = 1.0


@dataclass(slots=True)
class Ending(Step[SwarmMemoryRestore]):
    """Wait for the end of the restore, which the service does not cancel, then let the object go.

    So the safety backup gets its object. If the store is deleted too, the restore does not wait.
    """

    condition: ClassVar = "Ready"

    service: RestoreService
    calls: Calls[Observed]

    async def run(self, r: Reconciliation[SwarmMemoryRestore]) -> Outcome:
        """See Step.run."""
        r.status |= stored_status(r)
        status = r.parsed.status
        obj = r.client.get(kinds.SWARM_MEMORY_STORE, Key(r.obj["metadata"]["namespace"], r.parsed.spec.store_ref.name))
        if status.location is None or status.phase in FINAL or _is_gone(obj, status.store_uid):
            return await self._release(r)
        assert obj is not None  # noqa: S101 - for mypy
        r.status["phase"] = "Deleting"
        pending = await self._look(r, obj, status.location)
        if pending is None:
            return await self._release(r)
        if pending.reason != "Deleting" and r.clock.now().timestamp() - _deleted_at(r) >= GRACE:
            note = f"how the restore ends is not known: {pending.message}"
            r.recorder.event(r.obj, "Warning", "RestoreAbandoned", note, action="Delete")
            return await self._release(r)
        return pending

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.calls.forget(key)

    async def _look(self, r: Reconciliation[SwarmMemoryRestore], obj: Object, location: str) -> Outcome | None:
        """Return the outcome to wait for; None if the service has ended the restore, or does not know it."""
        store = SwarmMemoryStore.model_validate(obj)
        service = await find_service(r, store, obj)
        if isinstance(service, str):
            return waiting("StoreNotReady", service, requeue_after=_RETRY_INTERVAL)
        name, request = service_name(r.parsed), request_of(r.parsed, location)
        answer = self.calls.answer(
            key_of(r.obj), lambda: self.service.advance(service, name, request, known=True, again=False)
        )
        if answer is None:
            return waiting("Deleting", "the memory service is asked how far the restore is")
        if answer.state is None:
            if answer.reason == "OutcomeUnknown":
                return None
            return waiting(answer.reason, answer.message, requeue_after=_RETRY_INTERVAL)
        if not answer.state.state.ended:
            message = "the memory service carries the restore out first: it cannot be stopped"
            return waiting("Deleting", message, requeue_after=_POLL_INTERVAL)
        try:
            await safety.ensure_objects(r, store, answer.state.safety_backups)
        except (ForbiddenError, InvalidError) as error:
            r.recorder.event(r.obj, "Warning", "BackupNotCreated", error.message, action="Create")
        return None

    async def _release(self, r: Reconciliation[SwarmMemoryRestore]) -> Outcome:
        self.forget(key_of(r.obj))
        await finalizers.remove(r, FINALIZER)
        return done("Deleted")


def _is_gone(store: Object | None, uid: str | None) -> bool:
    return store is None or store["metadata"]["uid"] != uid or bool(store["metadata"].get("deletionTimestamp"))


def _deleted_at(r: Reconciliation[SwarmMemoryRestore]) -> float:
    return datetime.fromisoformat(r.obj["metadata"]["deletionTimestamp"]).timestamp()
