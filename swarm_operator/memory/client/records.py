"""The swarm's records over HTTP, as `agents`, `tasks`, ... of a MemoryClient. Records are plain dictionaries.

Retries are those of the client: what may be repeated when its answer got lost is said at each call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

__all__ = ["AgentsClient", "Record", "RecordPage", "TasksClient"]

Record: TypeAlias = dict[str, Any]
Request: TypeAlias = "Callable[..., Awaitable[tuple[int, Any]]]"

_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Part of a list; `next_cursor` is None on the last page. Filtered pages may be short, or empty, before that."""

    records: list[Record]
    next_cursor: str | None


class _Records:
    """What the clients of all kinds share."""

    _kind = ""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def get(self, record_id: str) -> Record | None:
        """The record, or None when there is none."""
        status, answer = await self._request("GET", self._path(record_id), may_miss=True)
        return None if status == 404 else dict(answer)

    async def iterate(self, **filters: Any) -> AsyncIterator[Record]:
        """All that `list` gives, page by page."""
        cursor: str | None = None
        while True:
            page = await self._list({**filters, "cursor": cursor})
            for record in page.records:
                yield record
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _list(self, query: Mapping[str, Any]) -> RecordPage:
        _, answer = await self._request("GET", _with_query(f"/v1/{self._kind}", query))
        return RecordPage(answer[self._kind], answer["next_cursor"])

    async def _delete(self, record_id: str) -> bool:
        status, _ = await self._request("DELETE", self._path(record_id), may_miss=True)
        return bool(status != 404)

    async def _send(
        self, method: str, path: str, document: Mapping[str, Any], *, repeatable: bool = False
    ) -> tuple[int, Record]:
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        status, answer = await self._request(method, path, _JSON, body=body, repeatable=repeatable)
        return status, dict(answer)

    def _path(self, record_id: str, *action: str) -> str:
        # Dots are escaped as well: proxies and clients take `.` and `..` between slashes for steps of a path.
        return "/".join(["/v1", self._kind, quote(record_id, safe="").replace(".", "%2E"), *action])


class AgentsClient(_Records):
    """`/v1/agents`."""

    _kind = "agents"

    async def register(self, agent_id: str, **members: Any) -> Record:
        """Add an agent, or say more about one: `type`, `status`, `capabilities=[...]`, anything. May be repeated.

        Members replace those of before, None removes one, the others stay.
        """
        _, agent = await self._send("PUT", self._path(agent_id), members, repeatable=True)
        return agent

    async def heartbeat(self, agent_id: str, *, status: str | None = None) -> Record:
        """Say that an agent is alive. MemoryNotFoundError: it must register again. May be repeated."""
        members = {} if status is None else {"status": status}
        _, agent = await self._send("POST", self._path(agent_id, "heartbeat"), members, repeatable=True)
        return agent

    async def deregister(self, agent_id: str) -> bool:
        """Forget an agent. False when there was none."""
        return await self._delete(agent_id)

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        capability: str | None = None,
        stale: bool | None = None,
        stale_after: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RecordPage:
        """A page of the agents that are so. `stale`: not heard of for `stale_after` seconds (60 by default)."""
        return await self._list(
            {
                "status": status, "type": type, "capability": capability, "stale": stale, "stale_after": stale_after,
                "limit": limit, "cursor": cursor,
            }
        )  # fmt: skip


class TasksClient(_Records):
    """`/v1/tasks`."""

    _kind = "tasks"

    async def create(self, **members: Any) -> Record:
        """Add a task: `id`, `type`, `description`, `priority`, `dependencies=[...]`, `assignedAgents=[...]`,
        `maxRetries`, anything. MemoryStateError: there is one with this id.
        """  # noqa: D205 - a list of names
        _, task = await self._send("POST", "/v1/tasks", members)
        return task

    async def update(self, task_id: str, **members: Any) -> Record:
        """Change what is known about a task; None removes a member. May be repeated."""
        _, task = await self._send("PATCH", self._path(task_id), members, repeatable=True)
        return task

    async def delete(self, task_id: str) -> bool:
        """Delete a task. False when there was none."""
        return await self._delete(task_id)

    async def claim(self, task_id: str, *, agent: str, lease: float | None = None) -> Record:
        """Claim a task. MemoryStateError: somebody has it, or it waits for others. May be repeated.

        Args:
            task_id: which.
            agent: for whom.
            lease: seconds that the claim holds without being renewed; 300 by default.
        """
        _, task = await self._send(
            "POST", self._path(task_id, "claim"), _given(agent=agent, lease=lease), repeatable=True
        )
        return task

    async def claim_next(
        self, *, agent: str, types: Sequence[str] | None = None, lease: float | None = None
    ) -> Record | None:
        """Claim the most urgent task; None when there is nothing to claim.

        It is not repeated when its answer gets lost: the task that was claimed then is free when its lease ends.
        """
        status, task = await self._send("POST", "/v1/tasks/claim", _given(agent=agent, types=types, lease=lease))
        return None if status == 204 else task

    async def renew(self, task_id: str, *, agent: str, lease: float | None = None) -> Record:
        """Let a claim hold for `lease` seconds from now. May be repeated."""
        _, task = await self._send(
            "POST", self._path(task_id, "renew"), _given(agent=agent, lease=lease), repeatable=True
        )
        return task

    async def release(self, task_id: str, *, agent: str, reason: str | None = None) -> Record:
        """Give a claimed task back."""
        _, task = await self._send("POST", self._path(task_id, "release"), _given(agent=agent, reason=reason))
        return task

    async def assign(self, task_id: str, agents: Sequence[str]) -> Record:
        """Say who alone may claim a task; [] for everyone. May be repeated."""
        _, task = await self._send("POST", self._path(task_id, "assign"), {"agents": [*agents]}, repeatable=True)
        return task

    async def complete(self, task_id: str, *, agent: str | None = None, result: Any = None) -> Record:
        """The task is done. May be repeated."""
        return await self.set_status(task_id, "completed", agent=agent, result=result)

    async def fail(self, task_id: str, *, agent: str | None = None, error: Any = None) -> Record:
        """It could not be done; it is pending again if it has retries left."""
        return await self.set_status(task_id, "failed", agent=agent, error=error)

    async def set_status(
        self, task_id: str, status: str, *, agent: str | None = None, result: Any = None, error: Any = None
    ) -> Record:
        """Change the status to pending, in_progress, completed, failed or cancelled."""
        members = _given(status=status, agent=agent, result=result, error=error)
        _, task = await self._send(
            "POST", self._path(task_id, "status"), members, repeatable=status == "completed"
        )  # fmt: skip
        return task

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RecordPage:
        """A page of the tasks that are so; `agent`: claimed by it or assigned to it."""
        return await self._list({"status": status, "type": type, "agent": agent, "limit": limit, "cursor": cursor})


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _with_query(path: str, query: Mapping[str, Any]) -> str:
    parts = []
    for name, value in query.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(f"{name}={quote(text, safe='')}")
    return f"{path}?{'&'.join(parts)}" if parts else path
