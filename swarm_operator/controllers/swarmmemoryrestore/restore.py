"""The restore: asks the memory service for it, once, and reports how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore, SwarmMemoryStore
from swarm_operator.controllers.common import finalizers, kinds
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorybackup.service import Calls, find_service
from swarm_operator.controllers.swarmmemoryrestore import metrics, safety
from swarm_operator.controllers.swarmmemoryrestore.service import Observed, Request, RestoreService, service_name
from swarm_operator.controllers.swarmmemoryrestore.source import SourceError, locate, source_of
from swarm_operator.controllers.swarmmemorystore.backups.destination import destination_in_use
from swarm_operator.memory.client import RestoreState
from swarm_operator.runtime.resource import Key, key_of

FINALIZER = "swarm.claudeflow.io/restore"
"""Finalizer that keeps the object while the memory service may work on the restore."""

FINAL = frozenset({"Completed", "Failed"})
_WORK = {
    "Fetching": "the backup is copied beside the database and compared with its manifest",
    "Planning": "the backup and the store are compared",
    "Verifying": "the copy is brought to this release's schema and checked again",
    "BackingUp": "the former data becomes the safety backup",
    "Swapping": "the databases are exchanged; writes wait",
    "Writing": "entries are compared and written",
}
"""Phases of a restore that runs, and what is done in them."""
_REFUSALS = frozenset({"AnotherRestoreRuns", "RequestRefused", "OutcomeUnknown"})
"""Reasons of a service for which waiting does not help."""
_POLL_INTERVAL = 1.0
"""Seconds between two questions about a restore that runs."""
_WAIT_INTERVAL = 5.0
"""Seconds between two checks of a waiting restore."""
_PROGRESS_STEP = 10
"""Percent of a phase between two writes of the status."""
_AT_ONCE = 0.001
_PLAN = {
    "backup": "backup",
    "entries": "entries",
    "bytes": "bytes",
    "entriesNew": "entries_new",
    "entriesChanged": "entries_changed",
    "entriesRemoved": "entries_removed",
}
"""Fields of the plan, and the members of the service's document that they are taken from."""


@dataclass(slots=True)
class Restore(Step[SwarmMemoryRestore]):
    """Have the restore carried out. Finalizer, store and location are stored before the service is asked."""

    condition: ClassVar = "Ready"

    service: RestoreService
    calls: Calls[Observed]
    deadline: float
    """Seconds for which a restore waits at most for what it needs, and is asked for again when it was interrupted."""
    _waiting: dict[Key, float] = field(default_factory=dict, init=False)
    """Since when a restore waits, by the clock's monotonic time."""

    async def run(self, r: Reconciliation[SwarmMemoryRestore]) -> Outcome:
        """See Step.run."""
        r.status |= stored_status(r)
        r.status.setdefault("phase", "Pending")
        r.status["from"] = source_of(r.parsed)
        if r.status["phase"] in FINAL:
            self.forget(key_of(r.obj))
            if FINALIZER in (r.obj["metadata"].get("finalizers") or ()):
                await finalizers.remove(r, FINALIZER)
            result = done if r.status["phase"] == "Completed" else failed
            ready = _stored_ready(r)
            return result(ready["reason"], ready["message"])
        if r.status["phase"] == "Error":  # an error that is over
            r.status["phase"] = "Pending"
        return await self._advance(r)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._waiting.pop(key, None)
        self.calls.forget(key)

    async def _advance(self, r: Reconciliation[SwarmMemoryRestore]) -> Outcome:
        status, name = r.parsed.status, r.parsed.spec.store_ref.name
        key = key_of(r.obj)
        obj = r.client.get(kinds.SWARM_MEMORY_STORE, Key(key.namespace, name))
        if obj is None and status.store_uid is None:
            return self._wait(r, "StoreNotFound", f"SwarmMemoryStore {name} does not exist")
        if obj is None or status.store_uid not in {None, obj["metadata"]["uid"]}:
            return self._fail(r, "StoreNotFound", f"SwarmMemoryStore {name} was deleted before the restore had ended")
        if obj["metadata"].get("deletionTimestamp"):
            return self._fail(r, "StoreDeleting", f"SwarmMemoryStore {name} is being deleted")
        store = SwarmMemoryStore.model_validate(obj)
        if status.location is None:
            return await self._prepare(r, store)
        service = await find_service(r, store, obj)
        if isinstance(service, str):
            return self._wait(r, "StoreNotReady", service)
        request, known = request_of(r.parsed, status.location), status.started_at is not None
        answer = self.calls.answer(
            key,
            lambda: self.service.advance(
                service, service_name(r.parsed), request, known=known, again=self._starts_again(r)
            ),
        )
        if answer is None:
            ready = _stored_ready(r)
            return waiting(ready["reason"], ready["message"])
        if answer.state is None:
            give_up = self._fail if answer.reason in _REFUSALS else self._wait
            return give_up(r, answer.reason, answer.message)
        self._waiting.pop(key, None)
        await safety.ensure_objects(r, store, answer.state.safety_backups)
        return self._report(r, answer.state.state)

    async def _prepare(self, r: Reconciliation[SwarmMemoryRestore], store: SwarmMemoryStore) -> Outcome:
        """Store the request and its receiver, so that an operator that continues later sends the same request."""
        try:
            location = locate(r, store)
        except SourceError as error:
            give_up = self._fail if error.final else self._wait
            return give_up(r, error.reason, str(error))
        if request_of(r.parsed, location).needs_safety_backup and destination_in_use(store, r.client.cache) is None:
            message = f"SwarmMemoryStore {store.metadata.name} has no place for the safety backup: set its spec.backup"
            return self._wait(r, "NoDestination", message)
        await finalizers.add(r, FINALIZER)
        r.status |= {"location": location, "storeUID": store.metadata.uid}
        return waiting("Asking", "the memory service is asked next", requeue_after=_AT_ONCE)

    def _starts_again(self, r: Reconciliation[SwarmMemoryRestore]) -> bool:
        """Return whether a restore that was interrupted is asked for again."""
        started = r.parsed.status.started_at
        return started is None or (r.clock.now() - datetime.fromisoformat(started)).total_seconds() < self.deadline

    def _wait(self, r: Reconciliation[SwarmMemoryRestore], reason: str, message: str) -> Outcome:
        """Return the outcome of a restore that cannot go on now: it has failed when it has waited too long."""
        now = r.clock.monotonic()
        if now - self._waiting.setdefault(key_of(r.obj), now) >= self.deadline:
            return self._fail(r, reason, f"not carried out within {self.deadline:g} s: {message}")
        return waiting(reason, message, requeue_after=_WAIT_INTERVAL)

    def _fail(self, r: Reconciliation[SwarmMemoryRestore], reason: str, message: str) -> Outcome:
        r.status |= {"phase": "Failed", "progress": None}
        metrics.FAILURES.labels(reason).inc()
        self.forget(key_of(r.obj))
        return failed(reason, message, requeue_after=_AT_ONCE)

    def _report(self, r: Reconciliation[SwarmMemoryRestore], state: RestoreState) -> Outcome:
        r.status.setdefault("startedAt", state.raw["started_at"])
        r.status |= {
            "completedAt": state.raw["completed_at"],
            "plan": _plan(state),
            "progress": _progress(state),
            "safetyBackup": state.safety_backup,
        }
        if state.phase == "Completed":
            r.status["phase"] = "Completed"
            self.forget(key_of(r.obj))
            metrics.observe(r.status["startedAt"], r.status["completedAt"])
            changes = _changes(r.status["plan"])
            if r.parsed.spec.dry_run:
                return done("Planned", f"nothing was written; it would be {changes}", requeue_after=_AT_ONCE)
            return done("Restored", changes, requeue_after=_AT_ONCE)
        if state.phase in _WORK:
            r.status["phase"] = state.phase
            return waiting(state.phase, _WORK[state.phase], requeue_after=_POLL_INTERVAL)
        problem = state.problem
        if problem is None:
            return self._fail(r, "RestoreFailed", f"the memory service reports {state.phase} without a reason")
        return self._fail(r, reason_of(str(problem["code"])), str(problem["detail"]))


def stored_status(r: Reconciliation[SwarmMemoryRestore]) -> dict[str, Any]:
    """Return the fields of the stored status besides conditions and observedGeneration."""
    status = r.obj.get("status") or {}
    return {name: status[name] for name in status if name not in {"conditions", "observedGeneration"}}


def _stored_ready(r: Reconciliation[SwarmMemoryRestore]) -> dict[str, Any]:
    conditions = {c["type"]: c for c in (r.obj.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") or {"reason": "Asking", "message": "the memory service is asked next"}


def request_of(restore: SwarmMemoryRestore, location: str) -> Request:
    """Return what the memory service is asked for."""
    spec = restore.spec
    namespaces = None if spec.namespaces is None else tuple(spec.namespaces)
    return Request(location, namespaces, spec.key_prefix or "", spec.dry_run)


def _plan(state: RestoreState) -> dict[str, Any] | None:
    if state.plan is None:
        return None
    found = {name: state.plan[member] for name, member in _PLAN.items()}
    return {name: value for name, value in found.items() if value is not None}


def _progress(state: RestoreState) -> int | None:
    """Return the percent of the phase that are done, in coarse steps; None if they are not known."""
    if state.progress is None or not state.progress["of"]:
        return None
    percent = 100 * state.progress["done"] // state.progress["of"]
    return min(100, percent - percent % _PROGRESS_STEP)


def _changes(plan: dict[str, Any]) -> str:
    """Return what a restore changes, for people."""
    if "entriesNew" not in plan:
        return f"everything was replaced by {plan['backup']}, with {plan['entries']} entries"
    new, changed, removed = plan["entriesNew"], plan["entriesChanged"], plan["entriesRemoved"]
    return f"{new} new, {changed} changed and {removed} removed entries, as in {plan['backup']}"
