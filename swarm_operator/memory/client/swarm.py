"""Clients of records with handwritten methods. `records` has the generated methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm_operator.memory.client import records
from swarm_operator.memory.client.resource import Record
from swarm_operator.memory.client.transport import url_path


@dataclass(frozen=True, slots=True)
class Workload:
    """Work of a pool of agents.

    Attributes:
        claimable: number of tasks that an agent may claim now.
        in_flight: number of tasks that agents hold.
        oldest_seconds: seconds since the oldest claimable task was created; 0 if there is none.
        work: the number to scale by: claimable and in-flight tasks.
        partial: True if there were too many tasks to read: the numbers are lower bounds.
    """

    claimable: int
    in_flight: int
    oldest_seconds: float
    work: int
    partial: bool


class TasksClient(records.TasksClient):
    """`/v1/tasks` and `/v1/scale`."""

    async def complete(self, task_id: str, *, agent: str | None = None, result: Any = None) -> Record:
        """Complete a task. Idempotent."""
        return await self.set_status(task_id, "completed", agent=agent, result=result)

    async def fail(self, task_id: str, *, agent: str | None = None, error: Any = None) -> Record:
        """Report that a task failed. The task becomes pending again if it has retries left."""
        return await self.set_status(task_id, "failed", agent=agent, error=error)

    async def workload(self, pool: str = "*") -> Workload:
        """Return the work of a pool of agents. `pool`: the type of its tasks; `*` for all tasks."""
        return await self._read(
            "scale", pool,
            read=lambda answer: Workload(
                int(answer["claimable"]), int(answer["inFlight"]), float(answer["oldestSeconds"]),
                int(answer["work"]), bool(answer["partial"]),
            ),
        )  # fmt: skip


class CoordinationClient(records.CoordinationClient):
    """`/v1/coordination`: any value under any key, for one hour."""

    async def get(self, key: str) -> Any:
        """Return a value, or None if the key does not exist."""
        return await self._transport.find(url_path(self._kind, key), lambda answer: answer["value"])
