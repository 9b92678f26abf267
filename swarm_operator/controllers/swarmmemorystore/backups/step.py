"""Backups of a store: created when due or requested, deleted beyond the retention, and reported in the status."""

from __future__ import annotations

from datetime import datetime

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.errors import ends_pass, explain
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmmemorystore.backups import metrics
from swarm_operator.controllers.swarmmemorystore.backups.objects import (
    REQUESTED,
    SCHEDULED,
    backups_of,
    create,
    expired,
    finished_at,
    is_finished,
    is_requested_name,
    is_scheduled,
    newest_verified,
    requested_name,
    scheduled_name,
)
from swarm_operator.controllers.swarmmemorystore.backups.schedule import InvalidScheduleError, next_due
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import ApiError, ConflictError
from swarm_operator.runtime.resource import Key, key_of

_CONDITION = "BackupSucceeded"
_RETRY_INTERVAL = 60.0
"""Seconds until a backup that could not be created or removed is tried again."""
_RUNNING = frozenset({"Running", "Verifying"})


class Backups(Step[SwarmMemoryStore]):
    """Make backups, remove old ones, and report them. It never keeps the store from being ready."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        backups = backups_of(r.parsed, r.client.cache)
        problem: Outcome | None = None
        r.status["nextBackup"] = r.parsed.status.next_backup
        try:
            await _make_requested(r, backups)
            await _make_scheduled(r, backups)
            for backup in expired(backups, r.parsed.spec.backup_retention):
                await _remove(r, backup)
        except InvalidScheduleError as error:
            r.status["nextBackup"] = None
            problem = failed("InvalidSchedule", str(error))
        except ConflictError:
            raise  # the cache is behind
        except ApiError as error:
            if ends_pass(error):
                raise
            problem = failed(*explain(error), requeue_after=_RETRY_INTERVAL)
        _report(r, backups, problem)
        if problem is not None:
            return done(requeue_after=problem.requeue_after)
        due = r.status["nextBackup"]
        return done(requeue_after=_seconds_until(due, r.clock.now()) if due else 0.0)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        metrics.forget(key)


async def _make_scheduled(r: Reconciliation[SwarmMemoryStore], backups: list[SwarmMemoryBackup]) -> None:
    """Make the backup that is due, and note when the next one is. Several missed backups are made up for by one.

    None is made while another of the schedule is not finished.
    """
    store, now = r.parsed, r.clock.now()
    upcoming = None if store.spec.hibernated else next_due(store, now)
    due = store.status.next_backup
    if upcoming is not None and due is not None and datetime.fromisoformat(due) <= now:
        name = scheduled_name(store, datetime.fromisoformat(due))
        if all(is_finished(backup) for backup in backups if is_scheduled(backup)):
            await create(r, SCHEDULED, name)
    r.status["nextBackup"] = None if upcoming is None else rfc3339(upcoming)


async def _make_requested(r: Reconciliation[SwarmMemoryStore], backups: list[SwarmMemoryBackup]) -> None:
    """Make the backup that the annotation asks for, and remove the annotation when it is finished.

    The annotation's value becomes the name of the backup before that is created, so that it is made once.
    """
    asked = r.parsed.metadata.annotations.get(labels.BACKUP_REQUESTED)
    if asked == "true":
        await _annotate(r, requested_name(r.parsed, r.clock.now()))
    elif asked and is_requested_name(r.parsed, asked):
        made = next((backup for backup in backups if backup.metadata.name == asked), None)
        if made is None:
            await create(r, REQUESTED, asked)
        elif is_finished(made):
            await _annotate(r, None)


async def _annotate(r: Reconciliation[SwarmMemoryStore], value: str | None) -> None:
    """Set or remove the annotation, unless the store has changed since it was read."""
    namespace, name = key_of(r.obj)
    version = {"uid": r.obj["metadata"]["uid"], "resourceVersion": r.obj["metadata"]["resourceVersion"]}
    patch = {"metadata": {**version, "annotations": {labels.BACKUP_REQUESTED: value}}}
    await r.client.merge(r.resource, namespace, name, patch, field_manager=labels.FIELD_MANAGER)


async def _remove(r: Reconciliation[SwarmMemoryStore], backup: SwarmMemoryBackup) -> None:
    obj = r.client.get(kinds.SWARM_MEMORY_BACKUP, Key(backup.metadata.namespace, backup.metadata.name))
    if obj is not None:
        await children.delete(r, kinds.SWARM_MEMORY_BACKUP, obj)


def _report(r: Reconciliation[SwarmMemoryStore], backups: list[SwarmMemoryBackup], problem: Outcome | None) -> None:
    last = newest_verified(backups)
    metrics.report(key_of(r.obj), last)
    # The time of the last verified backup stays when that backup is deleted.
    r.status["lastBackup"] = last.status.completed_at if last else r.parsed.status.last_backup
    r.status["lastVerifiedBackup"] = last.metadata.name if last else None
    serves = all(outcome.is_done for step, outcome in r.outcomes.items() if step.condition == "Ready")
    if serves and any(backup.status.phase in _RUNNING for backup in backups):
        r.status["phase"] = "BackingUp"
    finished = [backup for backup in backups if is_finished(backup)]
    newest = max(finished, key=lambda backup: (finished_at(backup), backup.metadata.name), default=None)
    if problem is not None:
        r.set_condition(_CONDITION, problem)
    elif newest is not None:
        ready = next(c for c in newest.status.conditions if c.type == "Ready")
        # The name of a good one is in the status: here it would be an event for each backup.
        bad = f"SwarmMemoryBackup {newest.metadata.name}: {ready.message}"
        good = newest.status.phase == "Completed"
        r.set_condition(
            _CONDITION, done("Verified", "the last backup was verified") if good else failed(ready.reason, bad)
        )
    elif r.status["nextBackup"] is not None:
        r.conditions.set(_CONDITION, status=None, reason="NoBackupYet", message="no backup was finished yet")
    else:
        r.conditions.remove(_CONDITION)


def _seconds_until(moment: str, now: datetime) -> float:
    # A timer that fires early would find nothing due.
    return max(0.0, (datetime.fromisoformat(moment) - now).total_seconds()) + 0.01
