"""State transitions of tasks as pure functions: each takes a task's document and the time, and returns the document.

    pending --claim, start--> in_progress --complete--> completed
       ^                        |   |
       |                        |   +--fail, no retries left--> failed --pending--> (again)
       +---release, fail--------+
    pending, in_progress, failed --cancel--> cancelled

A claim has a lease. After the lease has expired, another agent may claim the task, and the former claimant's calls are
then rejected. A task can't be claimed, started or completed before its dependencies are completed. Older clients may
have written unknown statuses: they may change to any known status, and tasks with unknown statuses can't be claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import text_of, texts_of
from swarm_operator.memory.swarm.tasks import priorities

Task = dict[str, Any]

STATUSES: Final = ("pending", "in_progress", "completed", "failed", "cancelled")
DEFAULT_LEASE: Final = 300.0
"""Seconds until an unrenewed claim expires."""
MAX_LEASE: Final = 7 * 24 * 3600
MAX_HISTORY: Final = 100
"""Limit of the status changes in a task's history; the oldest are dropped."""
MAX_RETRIES: Final = 100
_NEXT: Final = {
    "pending": frozenset({"in_progress", "completed", "failed", "cancelled"}),
    "in_progress": frozenset({"completed", "failed", "pending", "cancelled"}),
    "failed": frozenset({"pending", "cancelled"}),
    "completed": frozenset[str](),
    "cancelled": frozenset[str](),
}
_NEEDS_DEPENDENCIES: Final = frozenset({"in_progress", "completed"})
_OWN: Final = (
    "swarmId", "createdAt", "updatedAt", "startedAt", "completedAt", "claimedBy", "leaseExpiresAt", "attempts",
    "failures", "history", "result", "error", "status", "completedDependencies",
)  # fmt: skip
"""Members that only the functions of this module set."""


def status_of(task: Task) -> str:
    """Return the status of a task; pending if the task has none."""
    return text_of(task, "status") or "pending"


def check_lease(value: Any) -> float:
    """Return the lease of a claim in seconds; 300 by default, a week at most."""
    return DEFAULT_LEASE if value is None else fields.seconds("lease", value, MAX_LEASE)


def check_changes(document: Any, task_id: str, stored: Task | None) -> Task:
    """Return a caller's checked changes to a task. Read-only members may be repeated but not changed.

    Args:
        document: the caller's changes.
        task_id: id of the task.
        stored: the stored task; None for a new task.

    Raises:
        InvalidInputError: names the invalid member.
    """
    changes = fields.document("task", document)
    fields.check_id(changes, task_id)
    known = {"status": "pending"} if stored is None else stored
    fields.own(changes, _OWN, known, "claims and changes of status set it")
    for name, check in _CHECKS.items():
        if changes.get(name) is not None:
            changes[name] = check(name, changes[name])
    return changes


def new(changes: Task, now: int) -> Task:
    """Return the document of a new pending task."""
    time = times.to_text(now)
    task = {"priority": priorities.DEFAULT, **changes, "createdAt": time, "updatedAt": time, "attempts": 0}
    task["history"] = []
    _enter(task, "pending", now)
    return task


def claimable(task: Task, agent: str, now: int) -> RecordStateError | None:
    """Return the reason why this agent may not claim this task now, or None. Dependencies are not checked."""
    if (refusal := taken(task, now)) is not None:
        return refusal
    assigned = texts_of(task, "assignedAgents")
    if assigned and agent not in assigned:
        return RecordStateError("assigned", "the task is assigned to others")
    return None


def taken(task: Task, now: int) -> RecordStateError | None:
    """Return the reason why no agent may claim this task now, or None. Dependencies are not checked."""
    status = status_of(task)
    if status == "in_progress":
        if not _lease_ended(task, now):
            return RecordStateError("claimed", f"the task is claimed by {text_of(task, 'claimedBy')!r}")
    elif status != "pending":
        return RecordStateError("not-allowed", f"the task is {status}")
    return None


def claim(task: Task, agent: str, now: int, *, lease: float, unmet: list[str]) -> Task:
    """Claim a task for an agent. If the agent already holds the task, renew the lease.

    Args:
        task: the task.
        agent: the agent that claims.
        now: the time in milliseconds.
        lease: duration of the lease in seconds.
        unmet: the dependencies that are not completed.

    Raises:
        RecordStateError: claimed, assigned, blocked or not-allowed.
    """
    if status_of(task) == "in_progress" and text_of(task, "claimedBy") == agent and not _lease_ended(task, now):
        return renew(task, agent, now, lease=lease)
    if (refusal := claimable(task, agent, now)) is not None:
        raise refusal
    _check_met(unmet)
    former = text_of(task, "claimedBy") if status_of(task) == "in_progress" else ""
    _start(task, agent, now, reason=f"the lease of {former!r} ended" if former else None)
    task["leaseExpiresAt"] = times.to_text(now + round(lease * 1000))
    return task


def renew(task: Task, agent: str, now: int, *, lease: float) -> Task:
    """Renew the lease of a claim. An expired claim can be renewed until another agent claims the task."""
    _check_claimant(task, agent)
    task["leaseExpiresAt"] = times.to_text(now + round(lease * 1000))
    task["updatedAt"] = times.to_text(now)
    return task


def release(task: Task, agent: str, now: int, *, reason: str | None = None) -> Task:
    """Release a claimed task: its status becomes pending."""
    _check_claimant(task, agent)
    _enter(task, "pending", now, agent=agent, reason=reason)
    return task


def assign(task: Task, agents: list[str], now: int) -> Task:
    """Restrict the agents that may claim a task; [] allows all agents. An existing claim is not changed."""
    status = status_of(task)
    if not _NEXT.get(status, {status}):
        raise RecordStateError("not-allowed", f"the task is {status}")
    task["assignedAgents"] = agents
    task["updatedAt"] = times.to_text(now)
    return task


def set_status(
    task: Task,
    status: str,
    now: int,
    *,
    agent: str | None = None,
    result: Any = None,
    error: Any = None,
    unmet: list[str],
) -> Task | None:
    """Change the status. Return None if the task already has this status.

    Args:
        task: the task.
        status: one of STATUSES. A failed task becomes pending again if it has retries left (`maxRetries`).
        now: the time in milliseconds.
        agent: the caller; must hold the task, except to start or retry it. None (the seed's clients) skips this check.
        result: any JSON value except null; stored as `result`.
        error: any JSON value except null; stored as `error`.
        unmet: the dependencies that are not completed.

    Raises:
        RecordStateError: blocked, not-claimed, claimed, assigned or not-allowed.
    """
    current = status_of(task)
    if current == status:
        _check_repeated(task, agent=agent, result=result)
        return None
    if status not in _NEXT.get(current, STATUSES):
        raise RecordStateError("not-allowed", f"the task is {current} and can't become {status}")
    if status in _NEEDS_DEPENDENCIES:
        _check_met(unmet)
    if status == "in_progress":
        if agent is not None and (refusal := claimable(task, agent, now)) is not None:
            raise refusal
        _start(task, agent, now)
        return task
    if agent is not None and not (current == "failed" and status == "pending"):
        _check_claimant(task, agent)
    for name, value in (("result", result), ("error", error)):
        if value is not None:
            task[name] = value
    reason = None
    if status == "failed":
        failures = int(fields.number(task, "failures")) + 1
        task["failures"] = failures
        retries = int(fields.number(task, "maxRetries"))
        if failures <= retries:
            status, reason = "pending", f"failed; retry {failures} of {retries}"
    _enter(task, status, now, agent=agent, reason=reason)
    if status == "completed":
        task["completedAt"] = times.to_text(now)
    return task


def _check_repeated(task: Task, *, agent: str | None, result: Any) -> None:
    """Accept a repeated status change: a client retries after a lost response. Reject other agents and results."""
    if agent is not None and text_of(task, "claimedBy") not in {"", agent}:
        raise RecordStateError("claimed", f"the task is {status_of(task)} by {text_of(task, 'claimedBy')!r}")
    if result is not None and result != task.get("result"):
        raise RecordStateError("not-allowed", f"the task is {status_of(task)}, with another result")


def _start(task: Task, agent: str | None, now: int, *, reason: str | None = None) -> None:
    task["attempts"] = int(fields.number(task, "attempts")) + 1
    task.setdefault("startedAt", times.to_text(now))
    _enter(task, "in_progress", now, agent=agent, reason=reason)
    task.pop("leaseExpiresAt", None)
    task.pop("claimedBy", None)
    if agent is not None:
        task["claimedBy"] = agent


def _enter(task: Task, status: str, now: int, *, agent: str | None = None, reason: str | None = None) -> None:
    time = times.to_text(now)
    event = {"status": status, "at": time, "agent": agent, "reason": reason}
    history = task.get("history")
    history = history if isinstance(history, list) else []
    history.append({name: value for name, value in event.items() if value is not None})
    task |= {"status": status, "updatedAt": time, "history": history[-MAX_HISTORY:]}
    task.pop("leaseExpiresAt", None)
    if status == "pending":
        task.pop("claimedBy", None)


def _lease_ended(task: Task, now: int) -> bool:
    """Return True if the lease has expired. A task that was started without a claim has no lease."""
    expires_at = times.from_text(task.get("leaseExpiresAt"))
    return expires_at is not None and expires_at <= now


def _check_claimant(task: Task, agent: str) -> None:
    if status_of(task) != "in_progress" or text_of(task, "claimedBy") != agent:
        holder = text_of(task, "claimedBy")
        detail = f"{status_of(task)}, by {holder!r}" if holder else status_of(task)
        raise RecordStateError("not-claimed", f"the task is not claimed by {agent!r}: it is {detail}")


def _check_met(unmet: list[str]) -> None:
    if unmet:
        raise RecordStateError("blocked", f"the task waits for {', '.join(map(repr, unmet[:5]))}")


def _description(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(field, "a string")
    return value


_CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "type": fields.word,
    "description": _description,
    "priority": lambda _, value: priorities.check(value),
    "assignedAgents": fields.identifiers,
    "dependencies": fields.identifiers,
    "maxRetries": lambda field, value: fields.whole(field, value, 0, MAX_RETRIES),
}
