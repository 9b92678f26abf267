"""Tasks: what is to be done, by whom, in which order; each is handed to one agent at a time.

In `swarm:tasks` under `task:<id>`, with the tags task, status and priority, as the seed's storeTask writes them. What
may become of a task is in task_rules; here it is decided on the stored task, inside the writer's transaction, together
with the tasks that it waits for.
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

_ROUNDS: Final = 50
"""Attempts, each lost because others were faster with all of them."""

# The class has a method `list`.
Ids: TypeAlias = list[str]
Documents: TypeAlias = list[dict[str, Any]]
Entries: TypeAlias = "list[Entry | None]"


class Tasks:
    """The tasks of a swarm.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, TASK)
        self._queue = TaskQueue(store, self._records)

    async def create(self, document: dict[str, Any], *, task_id: str | None = None) -> Record:
        """Add a task; it is pending.

        Args:
            document: `type` (a word), `description`, `priority` (low, medium, high, critical, or 0 to 10; medium by
                default), `assignedAgents` (who alone may claim it), `dependencies` (tasks that must be completed
                first; they must exist), `maxRetries` (0 by default), `id`, and anything else.
            task_id: 1 to 512 bytes; made up when there is none here and none in the document.

        Raises:
            InvalidInputError: names the member.
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
        """Change what is known about a task: its members replace those of before, null removes one.

        Raises:
            InvalidInputError: names the member; also for those that claims and changes of status set.
            RecordNotFoundError: there is none.
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
        """The task. Raises RecordNotFoundError."""
        return await self._records.get(task_id)

    async def delete(self, task_id: str) -> bool:
        """Delete a task. False when there was none. Those that wait for it wait for ever, until that is changed."""
        return await self._records.delete(task_id)

    async def list(
        self,
        *,
        status: str | None = None,
        task_type: str | None = None,
        agent: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """A page of the tasks that are so, by id. The status is looked up by its tag.

        Args:
            status: this one.
            task_type: this `type`.
            agent: claimed by it, or assigned to it.
            after: `next_key` of the page before.
            limit: 1 to 1000. A page with filters may be short and yet not the last.
        """

        def matches(task: Record) -> bool:
            document = task.document
            return (
                (status is None or rules.status_of(document) == status)
                and (task_type is None or document.get("type") == task_type)
                and (agent is None or agent in {text_of(document, "claimedBy"), *texts_of(document, "assignedAgents")})
            )

        tags = tags_of(status=status)
        unfiltered = not tags and task_type is None and agent is None
        return await self._records.page(None if unfiltered else matches, tags=tags, after=after, limit=limit)

    async def claim(self, task_id: str, agent: str, *, lease: float | None = None) -> Record:
        """Claim a task. Of many that try at once exactly one succeeds. Who holds it already renews the lease.

        Args:
            task_id: which.
            agent: for whom.
            lease: seconds that the claim holds without being renewed; 300 by default, a week at most.

        Raises:
            RecordNotFoundError: there is none.
            RecordStateError: `claimed`, `assigned` (to others), `blocked` (by tasks it waits for) or `not-allowed`.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        return await self._decide(
            task_id, lambda task, now, unmet: rules.claim(task, agent, now, lease=held, unmet=unmet)
        )

    async def claim_next(
        self, agent: str, *, types: Sequence[str] | None = None, lease: float | None = None
    ) -> Record | None:
        """Claim the most urgent task that this agent may claim. Of those of one priority the first by id.

        Ids that `create` made up are in the order of creation. Tasks are found by the tags of their status and
        priority; those without a priority come last. Each task goes to one agent.

        Returns:
            The task; None when there is nothing to claim: nothing pending, and no lease that has ended.

        Args:
            agent: for whom.
            types: only tasks of these `type`s; 1 to 64.
            lease: as for `claim`.

        Raises:
            OverloadedError: others were faster, again and again.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        wanted = None if types is None else frozenset(fields.words("types", types))
        if wanted is not None and not wanted:
            raise InvalidInputError("types", "1 to 64 strings; left out for all types")
        for _ in range(_ROUNDS):
            candidates = await self._queue.first(agent, wanted)
            if not candidates:
                return None
            claimed = await self._claim_first(candidates, agent, held)
            if claimed is not None:
                return claimed
        raise OverloadedError("others claimed every task that could be found; come back after a pause")

    async def renew(self, task_id: str, agent: str, *, lease: float | None = None) -> Record:
        """Let a claim hold for `lease` seconds from now.

        Raises:
            RecordStateError: `not-claimed`: this agent does not hold it, or no longer.
        """
        fields.identifier("agent", agent)
        held = rules.check_lease(lease)
        return await self._decide(task_id, lambda task, now, _: rules.renew(task, agent, now, lease=held))

    async def release(self, task_id: str, agent: str, *, reason: str | None = None) -> Record:
        """Give a claimed task back; it is pending again. Raises RecordStateError: `not-claimed`."""
        fields.identifier("agent", agent)
        if reason is not None:
            fields.identifier("reason", reason)
        return await self._decide(task_id, lambda task, now, _: rules.release(task, agent, now, reason=reason))

    async def assign(self, task_id: str, agents: Sequence[str]) -> Record:
        """Say who alone may claim a task; [] for everyone. Raises RecordStateError: `not-allowed`, it is over."""
        checked = fields.identifiers("agents", agents)
        return await self._decide(task_id, lambda task, now, _: rules.assign(task, checked, now))

    async def set_status(
        self, task_id: str, status: str, *, agent: str | None = None, result: Any = None, error: Any = None
    ) -> Record:
        """Change the status. See task_rules.set_status.

        Raises:
            InvalidInputError: names the member.
            RecordNotFoundError: there is none.
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

    def _new_id(self) -> str:
        """Ids that are made up are in the order of their creation, as far as the clock is."""
        return f"{self._store.now():012x}-{secrets.token_hex(6)}"

    async def _decide(
        self, task_id: str, decide: Callable[[dict[str, Any], int, Ids], dict[str, Any] | None]
    ) -> Record:
        """Change a task, knowing which of its dependencies are not completed, in one transaction."""
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
        """Write a task that is to wait for these, if that leads in no circle, in one transaction."""
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
        """Claim the first of these that is still to be had; None when there is none."""
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
    """Somebody has changed dependencies meanwhile: more tasks have to be read first. Never leaves this module."""
