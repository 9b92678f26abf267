"""Tasks: creation, claims, assignment and status. At most one agent holds a task at a time.

Stored in `swarm:tasks` under `task:<id>`, tagged with task, status and priority, like the seed's storeTask.
`tasks.rules` defines the state transitions. This module applies them to the stored task inside the writer's
transaction, which also reads the task's dependencies.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError, OverloadedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import Record, RecordPage, Records, tags_of, text_of, texts_of
from swarm_operator.memory.swarm.tasks import dependencies, rules
from swarm_operator.memory.swarm.tasks.queue import TASK, TaskQueue, documents_of, identities
from swarm_operator.memory.swarm.tasks.workload import Workload, WorkloadCount

_MAX_ATTEMPTS: Final = 50
"""Attempts of `claim_next`; an attempt fails if other agents claim all of its candidates first."""

# Annotations inside the class can't use the builtin `list`: the class has a method `list`.
Ids: TypeAlias = list[str]
Documents: TypeAlias = list[dict[str, Any]]
Entries: TypeAlias = "list[Entry | None]"


class Tasks:
    """The tasks of a swarm.

    Args:
        store: the store that holds the tasks.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, TASK)
        self._queue = TaskQueue(store, self._records)

    async def create(self, document: dict[str, Any], *, task_id: str | None = None) -> Record:
        """Add a pending task.

        Args:
            document: `type` (a word), `description`, `priority` (low, medium, high, critical, or 0 to 10; medium by
                default), `assignedAgents` (the only agents that may claim the task), `dependencies` (existing tasks
                that must be completed first), `maxRetries` (0 by default), `id`, and any other members.
            task_id: 1 to 512 bytes; by default the document's `id`, else a generated id.

        Raises:
            InvalidInputError: names the invalid member.
            RecordStateError: `exists`.
        """
        given = document.get("id") if isinstance(document, dict) else None
        task_id = fields.identifier("id", task_id or given or self._new_id())
        changes = rules.check_changes(document, task_id, None)

        def change(found: dict[str, Any] | None, now: int, completed: Ids) -> dict[str, Any]:
            if found is not None:
                raise RecordStateError("exists", f"there is a task {task_id!r} already")
            task = {name: value for name, value in changes.items() if value is not None}
            task |= {"completedDependencies": completed} if completed else {}
            return {**rules.new(task, now), "swarmId": self._store.swarm_id}

        return await self._with_dependencies(task_id, changes.get("dependencies") or [], change)

    async def update(self, task_id: str, document: dict[str, Any]) -> Record:
        """Set members of a task; null removes a member.

        Raises:
            InvalidInputError: names the member that is invalid, or that only claims and status changes may set.
            RecordNotFoundError: the task does not exist.
            RecordStateError: `not-allowed`: new dependencies for a task that is not pending.
        """
        wanted = fields.document("task", document).get("dependencies") or []

        def change(found: dict[str, Any] | None, now: int, completed: Ids) -> dict[str, Any] | None:
            if found is None:
                return None
            changes = rules.check_changes(document, task_id, found)
            if "dependencies" in changes and changes["dependencies"] != found.get("dependencies"):
                if rules.status_of(found) != "pending":
                    raise RecordStateError("not-allowed", f"the task is {rules.status_of(found)}")
                changes["completedDependencies"] = completed or None
            for name, value in changes.items():
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = value
            return {**found, "updatedAt": times.to_text(now)}

        return await self._with_dependencies(task_id, fields.identifiers("dependencies", wanted), change)

    async def get(self, task_id: str) -> Record:
        """Return the task. Raise RecordNotFoundError if it does not exist."""
        return await self._records.get(task_id)

    async def delete(self, task_id: str) -> bool:
        """Delete a task. Return False if it did not exist. Dependent tasks stay blocked until they are updated."""
        return await self._records.delete(task_id)

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """Return a page of the tasks that match all filters, by id. The status uses the tag index.

        Args:
            status: only tasks with this status.
            type: only tasks with this `type`.
            agent: only tasks claimed by or assigned to this agent.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A filtered page may be shorter and not be the last.
        """

        def matches(task: Record) -> bool:
            document = task.document
            return (
                (status is None or rules.status_of(document) == status)
                and (type is None or document.get("type") == type)
                and (agent is None or agent in {text_of(document, "claimedBy"), *texts_of(document, "assignedAgents")})
            )

        tags = tags_of(status=status)
        unfiltered = not tags and type is None and agent is None
        return await self._records.page(None if unfiltered else matches, tags=tags, after=after, limit=limit)

    async def claim(self, task_id: str, agent: str, *, lease: float | None = None) -> Record:
        """Claim a task. Exactly one of several concurrent claims succeeds. A claim by the holder renews the lease.

        Args:
            task_id: the task.
            agent: the agent that claims.
            lease: seconds until an unrenewed claim expires; 300 by default, a week at most.

        Raises:
            RecordNotFoundError: the task does not exist.
            RecordStateError: `claimed`, `assigned` (to other agents), `blocked` (by dependencies) or `not-allowed`.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        return await self._decide(
            task_id, lambda task, now, unmet: rules.claim(task, agent, now, lease=held, unmet=unmet)
        )

    async def claim_next(
        self, agent: str, *, types: Sequence[str] | None = None, lease: float | None = None
    ) -> Record | None:
        """Claim the task with the highest priority that this agent may claim. Equal priorities are ordered by id.

        Ids that `create` generates are in creation order. Tasks are found by the tags of their status and priority;
        tasks without a priority tag come last. Concurrent calls claim different tasks.

        Returns:
            The task; None if no task is pending or has an expired lease.

        Args:
            agent: the agent that claims.
            types: only tasks of these `type`s; 1 to 64.
            lease: seconds, see `claim`.

        Raises:
            OverloadedError: other agents claimed all candidates in each of 50 attempts.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        wanted = None if types is None else frozenset(fields.words("types", types))
        if wanted is not None and not wanted:
            raise InvalidInputError("types", "1 to 64 strings; absent for all types")
        for _ in range(_MAX_ATTEMPTS):
            candidates = await self._queue.first(agent, wanted)
            if not candidates:
                return None
            claimed = await self._claim_first(candidates, agent, held)
            if claimed is not None:
                return claimed
        raise OverloadedError("others claimed every task that could be found; come back after a pause")

    async def renew(self, task_id: str, agent: str, *, lease: float | None = None) -> Record:
        """Renew a claim: the lease expires `lease` seconds from now.

        Raises:
            RecordStateError: `not-claimed`: this agent does not hold the task.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        return await self._decide(task_id, lambda task, now, _: rules.renew(task, agent, now, lease=held))

    async def release(self, task_id: str, agent: str, *, reason: str | None = None) -> Record:
        """Release a claimed task: its status becomes pending. Raise RecordStateError: `not-claimed`."""
        fields.identifier("agent", agent)
        if reason is not None:
            fields.identifier("reason", reason)
        return await self._decide(task_id, lambda task, now, _: rules.release(task, agent, now, reason=reason))

    async def assign(self, task_id: str, agents: Sequence[str]) -> Record:
        """Restrict the agents that may claim a task; [] allows all. Raise RecordStateError: `not-allowed`, if ended."""
        checked = fields.identifiers("agents", agents)
        return await self._decide(task_id, lambda task, now, _: rules.assign(task, checked, now))

    async def set_status(
        self, task_id: str, status: str, *, agent: str | None = None, result: Any = None, error: Any = None
    ) -> Record:
        """Set the status to pending, in_progress, completed, failed or cancelled.

        `rules.set_status` has the transitions.

        Raises:
            InvalidInputError: names the invalid member.
            RecordNotFoundError: the task does not exist.
            RecordStateError: `blocked`, `not-claimed`, `claimed`, `assigned` or `not-allowed`.
        """
        fields.choice("status", status, rules.STATUSES)
        if agent is not None:
            fields.identifier("agent", agent)
        fields.document("result", {"result": result})
        fields.document("error", {"error": error})
        return await self._decide(
            task_id,
            lambda task, now, unmet: rules.set_status(
                task, status, now, agent=agent, result=result, error=error, unmet=unmet
            ),
        )

    async def workload(self, pool: str) -> Workload:
        """Return how much work a pool of agents has. Raise InvalidInputError.

        Args:
            pool: the `type` of its tasks; `*` for tasks of all types and without a type.
        """
        return await WorkloadCount(self._store, self._records, self._queue, pool).run()

    def _new_id(self) -> str:
        """Return a new id. Generated ids are in creation order unless the clock is set back."""
        return f"{self._store.now():012x}-{secrets.token_hex(6)}"

    async def _decide(
        self, task_id: str, decide: Callable[[dict[str, Any], int, Ids], dict[str, Any] | None]
    ) -> Record:
        """Change a task and read its uncompleted dependencies, in one transaction."""
        found = await self._records.find(task_id)
        foreseen = [] if found is None else dependencies.of(found.document)
        while True:
            known: dependencies.Tasks = {}

            def look(entries: Entries, foreseen: Ids = foreseen, known: Any = known) -> None:
                known |= documents_of(foreseen, entries)

            def change(task: dict[str, Any] | None, now: int, known: Any = known) -> dict[str, Any] | None:
                if task is None:
                    return None
                for dependency in dependencies.of(task):
                    if dependency not in known:
                        raise _Again
                return decide(task, now, dependencies.unmet(task, known))

            try:
                record = await self._records.change(task_id, change, others=identities(foreseen), look=look)
                return self._queue.note(record)
            except _Again:
                foreseen = dependencies.of((await self._records.get(task_id)).document)

    async def _with_dependencies(
        self,
        task_id: str,
        wanted: Sequence[str],
        change: Callable[[dict[str, Any] | None, int, Ids], dict[str, Any] | None],
    ) -> Record:
        """Write a task with these dependencies, if they form no cycle, in one transaction."""
        completed: Ids = []

        def decide(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            return change(found, now, list(completed))

        while True:
            upstream = await dependencies.upstream(wanted, self._queue.read)
            foreseen = [other for other in upstream if other != task_id]

            def look(entries: Entries, foreseen: Ids = foreseen) -> None:
                known = documents_of(foreseen, entries)
                try:
                    dependencies.check_acyclic(task_id, wanted, known)
                except dependencies.Unforeseen:
                    raise _Again from None
                completed[:] = dependencies.completed(wanted, known)

            try:
                return await self._records.change(task_id, decide, others=identities(foreseen), look=look)
            except _Again:
                continue

    async def _claim_first(self, candidates: Documents, agent: str, lease: float) -> Record | None:
        """Claim the first candidate that the agent can still claim. Return None if there is none."""
        ids = [task["id"] for task in candidates]
        ids += [other for task in candidates for other in dependencies.of(task)]
        ids = list(dict.fromkeys(ids))
        wanted = [task["id"] for task in candidates]

        def decide(entries: Entries, now: int) -> Sequence[Write]:
            known = documents_of(ids, entries)
            for task_id in wanted:
                task = known[task_id]
                if task is None or rules.claimable(task, agent, now) is not None:
                    continue
                if unmet := dependencies.unmet(task, known):
                    continue
                claimed = rules.claim(task, agent, now, lease=lease, unmet=unmet)
                return [TASK.put(claimed, entries[ids.index(task_id)])]
            return []

        written = await self._store.transact(identities(ids), decide)
        return self._queue.note(self._records.record(written[0][0])) if written else None


class _Again(MemoryStoreError):  # noqa: N818 - no failure: the caller looks again
    """Raised when dependencies were changed concurrently: more tasks must be read. Caught inside this module."""
