"""Workload of a pool of agents: the current number of tasks, for a program that scales the pool.

A pool is identified by the type of its tasks. The tag index finds the pending and the claimed tasks; their types are
read from the records. A count reads a bounded number of tasks in pages, independent of other data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import Records, text_of
from swarm_operator.memory.swarm.tasks import dependencies, rules
from swarm_operator.memory.swarm.tasks.queue import TASK, TaskQueue

ALL: Final = "*"
"""The pool of the tasks of all types, and of those without a type."""
MAX_READ: Final = 5_000
"""Maximum number of tasks that a count reads for each status, including dependencies."""
_BATCH_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Workload:
    """Work of a pool of agents.

    Attributes:
        pool: the pool.
        claimable: number of tasks that an agent may claim now: pending or with an expired lease, with completed
            dependencies, assigned to agents or not.
        in_flight: number of tasks that an agent is carrying out.
        oldest_seconds: seconds since the oldest claimable task was created; 0 without claimable tasks.
        partial: True if there were more than MAX_READ tasks: the numbers are lower bounds.
    """

    pool: str
    claimable: int
    in_flight: int
    oldest_seconds: float
    partial: bool

    @property
    def work(self) -> int:
        """Return the number to scale by: claimable and in-flight tasks.

        The number is at least 1 in a partial count, because unread tasks may belong to the pool.
        """
        return max(self.claimable + self.in_flight, int(self.partial))


class WorkloadCount:
    """One count of a pool's tasks.

    Args:
        store: the store that holds the tasks.
        records: the task records of the store.
        queue: the task queue of the store.
        pool: a type of tasks, or ALL.
    """

    def __init__(self, store: Store, records: Records, queue: TaskQueue, pool: str) -> None:
        self._store = store
        self._records = records
        self._queue = queue
        self._pool = fields.word("pool", pool)
        self._created: dict[str, int] = {}
        self._known: dependencies.Tasks = {}
        self._read = 0
        self._partial = False

    async def run(self) -> Workload:
        """Return the workload.

        Pending tasks are read before claimed tasks: a task that is claimed in between is counted, and once.
        """
        async for task, created in self._tasks("pending"):
            await self._note(task, created)
        in_flight = 0
        async for task, created in self._tasks("in_progress"):
            refusal = await self._note(task, created)
            if refusal is not None and refusal.reason == "claimed":
                self._created.pop(task["id"], None)
                in_flight += 1
        now = self._store.now()
        return Workload(
            pool=self._pool,
            claimable=len(self._created),
            in_flight=in_flight,
            oldest_seconds=max(now - min(self._created.values(), default=now), 0) / 1000,
            partial=self._partial,
        )

    async def _tasks(self, status: str) -> AsyncIterator[tuple[dict[str, Any], int]]:
        """Yield the pool's tasks with this status and their times of creation, until MAX_READ records were read."""
        self._read = 0
        after: str | None = None
        while True:
            entries, after = await self._records.scan(tags=(status,), after=after, limit=_BATCH_SIZE)
            self._read += len(entries)
            for entry in entries:
                task = TASK.document(entry)
                if self._pool in {ALL, text_of(task, "type")}:
                    created = times.from_text(task.get("createdAt"))
                    yield task, entry.created_at if created is None else created
            if after is None:
                return
            if self._read >= MAX_READ:
                self._partial = True
                return

    async def _note(self, task: dict[str, Any], created: int) -> RecordStateError | None:
        """Count a task if an agent may claim it now. Return the reason if the task itself forbids a claim."""
        refusal = rules.taken(task, self._store.now())
        if refusal is None and await self._is_met(task):
            self._created[task["id"]] = created
        return refusal

    async def _is_met(self, task: dict[str, Any]) -> bool:
        """Return whether the dependencies of a task are completed; False if the count must not read them all."""
        if not task.get("dependencies"):
            return True
        unread = [name for name in dependencies.of(task) if name not in self._known]
        if self._read + len(unread) > MAX_READ:
            self._partial = True
            return False
        self._read += len(unread)
        for name, found in zip(unread, await self._queue.read(unread), strict=True):
            self._known[name] = None if found is None else {"status": rules.status_of(found)}
        return not dependencies.unmet(task, self._known)
