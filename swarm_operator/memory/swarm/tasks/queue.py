"""Task queue: finds the tasks that an agent may claim next, in order.

The queue scans only pending and claimed tasks, using the tag index: the cost does not depend on the number of completed
tasks. `tasks.tasks` checks the candidates again inside the transaction that claims a task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

from swarm_operator.memory.core.entry import MAX_BATCH_SIZE, Entry, Identity
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import times
from swarm_operator.memory.swarm.record import Kind, Record, Records, text_of, texts_of
from swarm_operator.memory.swarm.tasks import dependencies, priorities, rules

_CANDIDATES: Final = 16
"""Number of tasks from which a claim attempt chooses inside its transaction."""
_BATCH_SIZE: Final = 200
_LEASE_RESCAN_INTERVAL: Final = 1000
"""Milliseconds after which claimed tasks are scanned again for leases that other writers have set."""

Documents: TypeAlias = list[dict[str, Any]]

TASK: Final = Kind(
    name="task",
    namespace="swarm:tasks",
    prefix="task:",
    tagged=("status", "priority"),
    ttl=0,
    metadata=lambda document: {
        "swarmId": document.get("swarmId"),
        "assignedAgents": texts_of(document, "assignedAgents") or [*filter(None, [text_of(document, "claimedBy")])],
    },
)


class TaskQueue:
    """Finds tasks to claim.

    Args:
        store: the store that holds the tasks.
        records: the task records of the store.
    """

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._next_end = 0
        """No known lease expires before this time, in milliseconds."""

    async def first(self, agent: str, types: frozenset[str] | None) -> Documents:
        """Return the tasks to claim first: at most 16, all of one priority, by id.

        Args:
            agent: the agent that claims.
            types: only tasks of these types; None: all types.
        """
        ended = await self._ended(agent, types)
        for rank, labels in priorities.BY_URGENCY:
            found = {task["id"]: task for task in ended if priorities.rank(task.get("priority")) == rank}
            for label in labels:
                count = 0
                async for task in self._ready(("pending", label), agent, types):
                    found[task["id"]] = task
                    count += 1
                    if count == _CANDIDATES:
                        break
            if found:
                return [found[task_id] for task_id in sorted(found)][:_CANDIDATES]
        rest: Documents = []
        async for task in self._ready(("pending",), agent, types):
            rest.append(task)
            if len(rest) == _CANDIDATES:
                break
        return rest

    async def _ended(self, agent: str, types: frozenset[str] | None) -> Documents:
        """Return the tasks with expired leases that this agent may claim now, by id.

        This scans all claimed tasks. To limit scans, the next expiry is cached for at most a second; other writers may
        change tasks in between.
        """
        now = self._store.now()
        if now < self._next_end:
            return []
        next_end = now + _LEASE_RESCAN_INTERVAL
        ended: Documents = []
        after: str | None = None
        while True:
            entries, after = await self._records.scan(tags=("in_progress",), after=after, limit=_BATCH_SIZE)
            for task in map(TASK.document, entries):
                expires_at = times.from_text(task.get("leaseExpiresAt"))
                next_end = next_end if expires_at is None else min(next_end, expires_at)
                if await self._is_ready(task, agent, types):
                    ended.append(task)
            if after is None:
                self._next_end = next_end
                return ended

    async def _ready(
        self, tags: Sequence[str], agent: str, types: frozenset[str] | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the tasks with these tags that this agent may claim now, by id."""
        after: str | None = None
        scanned = _CANDIDATES
        while True:
            entries, after = await self._records.scan(tags=tags, after=after, limit=scanned)
            for task in map(TASK.document, entries):
                if await self._is_ready(task, agent, types):
                    yield task
            scanned = _BATCH_SIZE  # most tasks of the first batch are claimed or blocked
            if after is None:
                return

    async def _is_ready(self, task: dict[str, Any], agent: str, types: frozenset[str] | None) -> bool:
        if types is not None and task.get("type") not in types:
            return False
        if rules.claimable(task, agent, self._store.now()) is not None:
            return False
        if not task.get("dependencies"):
            return True
        waits_for = dependencies.of(task)
        return not dependencies.unmet(task, dict(zip(waits_for, await self.read(waits_for), strict=True)))

    def note(self, record: Record) -> Record:
        """Record the lease expiry of a written task. Return the task."""
        expires_at = times.from_text(record.document.get("leaseExpiresAt"))
        if expires_at is not None:
            self._next_end = min(self._next_end, expires_at)
        return record

    async def read(self, ids: list[str]) -> list[dict[str, Any] | None]:
        """Return the tasks with these ids; None for tasks that do not exist."""
        found: list[Entry | None] = []
        for start in range(0, len(ids), MAX_BATCH_SIZE):
            found += await self._store.get_many(identities(ids[start : start + MAX_BATCH_SIZE]))
        return [None if entry is None else TASK.document(entry) for entry in found]


def identities(ids: Sequence[str]) -> list[Identity]:
    """Return the entry identities of the tasks with these ids."""
    return [(TASK.namespace, TASK.prefix + task_id) for task_id in ids]


def documents_of(ids: Sequence[str], entries: Sequence[Entry | None]) -> dependencies.Tasks:
    """Return the tasks in these entries, by id; None for entries that do not exist."""
    found = zip(ids, entries, strict=True)
    return {task_id: None if entry is None else TASK.document(entry) for task_id, entry in found}
