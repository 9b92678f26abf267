"""The swarm's records over HTTP, as `agents`, `tasks`, ... of a MemoryClient. Records are plain dictionaries.

Retries are those of the client: what may be repeated when its answer got lost is said at each call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

__all__ = [
    "AgentsClient",
    "CommunicationsClient",
    "ConsensusClient",
    "CoordinationClient",
    "MessagePage",
    "MetricsClient",
    "PatternsClient",
    "Record",
    "RecordPage",
    "TasksClient",
]

Record: TypeAlias = dict[str, Any]
Records: TypeAlias = list[Record]
Request: TypeAlias = "Callable[..., Awaitable[tuple[int, Any]]]"

_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Part of a list; `next_cursor` is None on the last page. Filtered pages may be short, or empty, before that."""

    records: list[Record]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Part of the messages; read on with `since=cursor`, now if there are `more`, or later."""

    messages: list[Record]
    cursor: str | None
    more: bool


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
        _, answer = await self._request("GET", _with_query(f"/v1/{self._kind}", query.items()))
        return RecordPage(answer[self._kind], answer["next_cursor"])

    async def _delete(self, record_id: str) -> bool:
        status, _ = await self._request("DELETE", self._path(record_id), may_miss=True)
        return bool(status != 404)

    async def _send(
        self, method: str, path: str, document: Mapping[str, Any], *, repeatable: bool = False
    ) -> tuple[int, Record]:
        status, answer = await self._request(method, path, _JSON, body=_encode(document), repeatable=repeatable)
        return status, dict(answer)

    def _path(self, record_id: str, *action: str) -> str:
        return _path(self._kind, record_id, *action)


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


class PatternsClient(_Records):
    """`/v1/patterns`."""

    _kind = "patterns"

    async def store(self, pattern_id: str, **members: Any) -> Record:
        """Add a pattern, or say more about one: `type`, `confidence`, `tags=[...]`, anything. May be repeated.

        Members replace those of before, None removes one, the others stay; so does what its uses have shown.
        """
        _, pattern = await self._send("PUT", self._path(pattern_id), members, repeatable=True)
        return pattern

    async def record_use(self, pattern_id: str, *, success: bool) -> Record:
        """Count a use of a pattern."""
        _, pattern = await self._send("POST", self._path(pattern_id, "uses"), {"success": success})
        return pattern

    async def best(self, *, tags: Sequence[str] = (), limit: int = 5) -> Records:
        """The patterns to try first, each with its `score`: of those with one of these tags, or of all."""
        pairs = [("tag", tag) for tag in tags] + [("limit", limit)]
        _, answer = await self._request("GET", _with_query("/v1/best-patterns", pairs))
        return [dict(pattern) for pattern in answer["patterns"]]

    async def delete(self, pattern_id: str) -> bool:
        """Delete a pattern. False when there was none."""
        return await self._delete(pattern_id)

    async def list(self, *, type: str | None = None, limit: int = 100, cursor: str | None = None) -> RecordPage:  # noqa: A002
        """A page of the patterns of this type."""
        return await self._list({"type": type, "limit": limit, "cursor": cursor})


class ConsensusClient(_Records):
    """`/v1/consensus`."""

    _kind = "consensus"

    async def propose(self, **members: Any) -> Record:
        """Open a proposal: `options=[...]`, `threshold`, `voters=[...]`, `minVotes`, `deadlineSeconds`, anything."""
        _, proposal = await self._send("POST", "/v1/consensus", members)
        return proposal

    async def vote(self, proposal_id: str, *, agent: str, choice: str, reason: str | None = None) -> Record:
        """Vote, or vote otherwise. MemoryStateError: `closed`, `not-a-voter`, `full`. May be repeated."""
        members = _given(agent=agent, choice=choice, reason=reason)
        _, proposal = await self._send("POST", self._path(proposal_id, "votes"), members, repeatable=True)
        return proposal

    async def close(self, proposal_id: str) -> Record:
        """End a proposal now. May be repeated."""
        _, proposal = await self._send("POST", self._path(proposal_id, "close"), {}, repeatable=True)
        return proposal

    async def delete(self, proposal_id: str) -> bool:
        """Delete a proposal. False when there was none."""
        return await self._delete(proposal_id)

    async def list(
        self, *, status: str | None = None, task: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> RecordPage:
        """A page of the proposals with that status and task."""
        return await self._list({"status": status, "task": task, "limit": limit, "cursor": cursor})


class CommunicationsClient:
    """`/v1/communications`."""

    def __init__(self, request: Request) -> None:
        self._records = _Records(request)
        self._request = request

    async def send(self, message: Any, *, from_agent: str, to_agent: str | None = None) -> Record:
        """Send a message: to one agent, or to everyone else. Sent twice it is there twice, so it is not repeated."""
        members = _given(fromAgent=from_agent, toAgent=to_agent) | {"message": message}
        _, sent = await self._records._send("POST", "/v1/communications", members)  # noqa: SLF001
        return sent

    async def read(
        self,
        *,
        agent: str | None = None,
        from_agent: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        since: str | None = None,
        limit: int = 100,
    ) -> MessagePage:
        """Messages in the order in which they were sent; those to `agent` and to everyone, or all."""
        query = {"agent": agent, "from": from_agent, "type": type, "since": since, "limit": limit}
        _, answer = await self._request("GET", _with_query("/v1/communications", query.items()))
        return MessagePage(answer["messages"], answer["cursor"], answer["more"])


class CoordinationClient:
    """`/v1/coordination`: any value under any key, for an hour."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def put(self, key: str, state: Any) -> None:
        """Write a value. May be repeated."""
        await self._request("PUT", _path("coordination", key), _JSON, body=_encode(state))

    async def get(self, key: str) -> Any:
        """What was written; None when there is nothing."""
        status, answer = await self._request("GET", _path("coordination", key), may_miss=True)
        return None if status == 404 else answer["value"]

    async def delete(self, key: str) -> bool:
        """Delete it. False when there was nothing."""
        status, _ = await self._request("DELETE", _path("coordination", key), may_miss=True)
        return bool(status != 404)


class MetricsClient(_Records):
    """`/v1/metrics`: what agents measured, for a week."""

    _kind = "metrics"

    async def store(self, metrics_id: str, **members: Any) -> Record:
        """Write measurements: `type`, `agentId`, anything. May be repeated."""
        _, metrics = await self._send("PUT", self._path(metrics_id), members, repeatable=True)
        return metrics

    async def list(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RecordPage:
        """A page of those of this type and agent."""
        return await self._list({"type": type, "agent": agent, "limit": limit, "cursor": cursor})


def _path(kind: str, record_id: str, *action: str) -> str:
    # Dots are escaped as well: proxies and clients take `.` and `..` between slashes for steps of a path.
    return "/".join(["/v1", kind, quote(record_id, safe="").replace(".", "%2E"), *action])


def _encode(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _with_query(path: str, query: Iterable[tuple[str, Any]]) -> str:
    parts = []
    for name, value in query:
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            parts.append(f"{name}={quote(text, safe='')}")
    return f"{path}?{'&'.join(parts)}" if parts else path
