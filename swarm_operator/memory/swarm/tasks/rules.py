"""What may become of a task, as pure functions: a task's document and the time in, the new document out.

    pending --claim, start--> in_progress --complete--> completed
       ^                        |   |
       |                        |   +--fail, no retries left--> failed --pending--> (again)
       +---release, fail--------+
    pending, in_progress, failed --cancel--> cancelled

A claim carries a lease. When it has ended the task is as good as pending: the next one who asks may claim it, and from
then on the former claimant is refused. A task that waits for others can't be claimed, started or completed before those
are completed. Statuses that are none of these, which older clients may have written, can be left for any of these, and
are never handed out.
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
"""Seconds that a claim holds without being renewed."""
MAX_LEASE: Final = 7 * 24 * 3600
MAX_HISTORY: Final = 100
"""Changes of status that a task remembers; older ones are dropped."""
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
"""Members that only these functions set."""


def status_of(task: Task) -> str:
    """The status; pending when there is none."""
    return text_of(task, "status") or "pending"


def check_lease(value: Any) -> float:
    """Seconds that a claim holds; 300 by default, a week at most."""
    return DEFAULT_LEASE if value is None else fields.seconds("lease", value, MAX_LEASE)


def check_changes(document: Any, task_id: str, stored: Task | None) -> Task:
    """Check what a caller says about a task; members that only the store sets may be repeated, not changed.

    Args:
        document: what the caller sent.
        task_id: the task's own.
        stored: the task as it is; None for a new one.

    Raises:
        InvalidInputError: names the member.
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
    """A pending task."""
    time = times.to_text(now)
    task = {"priority": priorities.DEFAULT, **changes, "createdAt": time, "updatedAt": time, "attempts": 0}
    task["history"] = []
    _enter(task, "pending", now)
    return task


def claimable(task: Task, agent: str, now: int) -> RecordStateError | None:
    """Why this agent may not claim this task now, its dependencies aside; None if it may."""
    status = status_of(task)
    if status == "in_progress":
        if not _lease_ended(task, now):
            return RecordStateError("claimed", f"the task is claimed by {text_of(task, 'claimedBy')!r}")
    elif status != "pending":
        return RecordStateError("not-allowed", f"the task is {status}")
    assigned = texts_of(task, "assignedAgents")
    if assigned and agent not in assigned:
        return RecordStateError("assigned", "the task is assigned to others")
    return None


def claim(task: Task, agent: str, now: int, *, lease: float, unmet: list[str]) -> Task:
    """Claim a task for an agent. One that the agent holds already has its lease renewed.

    Args:
        task: which.
        agent: for whom.
        now: the time in milliseconds.
        lease: seconds.
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
    """Let a claim hold for longer. It may have ended, if nobody else has claimed the task since."""
    _check_claimant(task, agent)
    task["leaseExpiresAt"] = times.to_text(now + round(lease * 1000))
    task["updatedAt"] = times.to_text(now)
    return task


def release(task: Task, agent: str, now: int, *, reason: str | None = None) -> Task:
    """Give a claimed task back."""
    _check_claimant(task, agent)
    _enter(task, "pending", now, agent=agent, reason=reason)
    return task


def assign(task: Task, agents: list[str], now: int) -> Task:
    """Say who alone may claim a task; [] for everyone. A claim that stands is not touched."""
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
    """Change the status. None when it is so already.

    Args:
        task: which.
        status: one of STATUSES. Failed: the task is pending again if it has retries left (`maxRetries`).
        now: the time in milliseconds.
        agent: who says so: must hold the task, unless it starts it. None: whoever may write, as the seed's clients.
        result: any JSON value but null, kept as `result`.
        error: the same for `error`.
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
    """Saying the same again is harmless: so somebody does whose answer got lost."""
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
    """A task that was started without a claim has no lease, and none that could end."""
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
