"""The swarm's records over HTTP: `agents`, `tasks`, ... of a MemoryClient. Records are plain dictionaries.

Calls are retried as described in retrying. "Idempotent" calls are also retried after their response was lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from swarm_operator.memory.client.encoding import to_json
from swarm_operator.memory.client.transport import CREATED, OK, WRITTEN, Transport, url_path, with_query

Record: TypeAlias = dict[str, Any]
Records: TypeAlias = list[Record]
_T = TypeVar("_T")
_CLAIMED: Final = frozenset({200, 204})


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Page of a list; `next_cursor` is None on the last page. A filtered page may be short or empty before that."""

    records: list[Record]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Page of messages. Continue with `since=cursor`: immediately if there are `more`, otherwise later."""

    messages: list[Record]
    cursor: str | None
    more: bool


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


class _Resource:
    """Base class: requests to one path below /v1."""

    _kind: ClassVar[str]

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _get(self, record_id: str) -> Record | None:
        return await self._transport.find(url_path(self._kind, record_id), _record)

    async def _find(self, read: Callable[[Record], _T], **parameters: Any) -> _T:
        return await self._transport.request("GET", with_query(url_path(self._kind), **parameters), read)

    async def _send(
        self, method: str, *path: str, document: Any, statuses: Collection[int] = OK, idempotent: bool = False
    ) -> Record:
        url, body = url_path(self._kind, *path), to_json(document)
        return await self._transport.request(method, url, _record, body=body, statuses=statuses, idempotent=idempotent)

    async def _delete(self, record_id: str) -> bool:
        return await self._transport.delete(url_path(self._kind, record_id))


class _Records(_Resource):
    """Base class of the kinds of records that have IDs and lists."""

    async def get(self, record_id: str) -> Record | None:
        """Return a record, or None if it does not exist."""
        return await self._get(record_id)

    async def iterate(self, /, **filters: Any) -> AsyncIterator[Record]:
        """Yield all records that `list` returns, page by page."""
        cursor: str | None = None
        while True:
            page = await self._list(**{**filters, "cursor": cursor})
            for record in page.records:
                yield record
            if (cursor := page.next_cursor) is None:
                return

    async def _list(self, **filters: Any) -> RecordPage:
        return await self._find(
            lambda answer: RecordPage([_record(each) for each in answer[self._kind]], answer["next_cursor"]), **filters
        )


class AgentsClient(_Records):
    """`/v1/agents`."""

    _kind = "agents"

    async def register(self, /, agent_id: str, **members: Any) -> Record:
        """Register or update an agent: `type`, `status`, `capabilities=[...]`, or any other member. Idempotent.

        Given members replace stored ones, None removes a member, and all others are kept.
        """
        return await self._send("PUT", agent_id, document=members, statuses=WRITTEN, idempotent=True)

    async def heartbeat(self, agent_id: str, *, status: str | None = None) -> Record:
        """Report that an agent is alive. After MemoryNotFoundError the agent must register again. Idempotent."""
        return await self._send("POST", agent_id, "heartbeat", document=_given(status=status), idempotent=True)

    async def deregister(self, agent_id: str) -> bool:
        """Delete an agent. Return False if it does not exist."""
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
        """Return a page of agents. `stale`: without a heartbeat for `stale_after` seconds (60 by default)."""
        return await self._list(
            status=status, type=type, capability=capability, stale=stale, stale_after=stale_after,
            limit=limit, cursor=cursor,
        )  # fmt: skip


class TasksClient(_Records):
    """`/v1/tasks`."""

    _kind = "tasks"

    async def create(self, /, **members: Any) -> Record:
        """Create a task.

        Args:
            members: `id`, `type`, `description`, `priority`, `dependencies=[...]`, `assignedAgents=[...]`,
                `maxRetries`, or any other member.

        Raises:
            MemoryStateError: a task with this ID exists.
        """
        return await self._send("POST", document=members, statuses=CREATED)

    async def update(self, /, task_id: str, **members: Any) -> Record:
        """Update members of a task; None removes a member. Idempotent."""
        return await self._send("PATCH", task_id, document=members, idempotent=True)

    async def delete(self, task_id: str) -> bool:
        """Delete a task. Return False if it does not exist."""
        return await self._delete(task_id)

    async def claim(self, task_id: str, *, agent: str, lease: float | None = None) -> Record:
        """Claim a task. Idempotent.

        Args:
            task_id: the task.
            agent: the agent that claims the task.
            lease: seconds until the claim expires if it is not renewed; 300 by default.

        Raises:
            MemoryStateError: the task is claimed, or waits for other tasks.
        """
        return await self._send("POST", task_id, "claim", document=_given(agent=agent, lease=lease), idempotent=True)

    async def claim_next(
        self, *, agent: str, types: Sequence[str] | None = None, lease: float | None = None
    ) -> Record | None:
        """Claim the most urgent task. Return None if there is no task to claim.

        Not retried after its response was lost: a task that was claimed then becomes free when its lease expires.
        """
        body = to_json(_given(agent=agent, types=types, lease=lease))
        return await self._transport.request(
            "POST", url_path(self._kind, "claim"), lambda answer: _record(answer) if answer else None,
            body=body, statuses=_CLAIMED, idempotent=False,
        )  # fmt: skip

    async def renew(self, task_id: str, *, agent: str, lease: float | None = None) -> Record:
        """Extend a claim to `lease` seconds from now. Idempotent."""
        return await self._send("POST", task_id, "renew", document=_given(agent=agent, lease=lease), idempotent=True)

    async def release(self, task_id: str, *, agent: str, reason: str | None = None) -> Record:
        """Release a claimed task."""
        return await self._send("POST", task_id, "release", document=_given(agent=agent, reason=reason))

    async def assign(self, task_id: str, agents: Sequence[str]) -> Record:
        """Restrict a task to these agents; [] allows all agents. Idempotent."""
        return await self._send("POST", task_id, "assign", document={"agents": [*agents]}, idempotent=True)

    async def complete(self, task_id: str, *, agent: str | None = None, result: Any = None) -> Record:
        """Complete a task. Idempotent."""
        return await self.set_status(task_id, "completed", agent=agent, result=result)

    async def fail(self, task_id: str, *, agent: str | None = None, error: Any = None) -> Record:
        """Report that a task failed. The task becomes pending again if it has retries left."""
        return await self.set_status(task_id, "failed", agent=agent, error=error)

    async def set_status(
        self, task_id: str, status: str, *, agent: str | None = None, result: Any = None, error: Any = None
    ) -> Record:
        """Set the status to pending, in_progress, completed, failed or cancelled."""
        document = _given(status=status, agent=agent, result=result, error=error)
        return await self._send("POST", task_id, "status", document=document, idempotent=status == "completed")

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RecordPage:
        """Return a page of tasks. `agent`: the tasks that it claimed or that are assigned to it."""
        return await self._list(status=status, type=type, agent=agent, limit=limit, cursor=cursor)

    async def workload(self, pool: str = "*") -> Workload:
        """Return how much work a pool of agents has. `pool`: the type of its tasks; `*` for all tasks."""
        return await self._transport.request(
            "GET", url_path("scale", pool),
            lambda answer: Workload(
                int(answer["claimable"]), int(answer["inFlight"]), float(answer["oldestSeconds"]),
                int(answer["work"]), bool(answer["partial"]),
            ),
        )  # fmt: skip


class PatternsClient(_Records):
    """`/v1/patterns`."""

    _kind = "patterns"

    async def store(self, /, pattern_id: str, **members: Any) -> Record:
        """Create or update a pattern: `type`, `confidence`, `tags=[...]`, or any other member. Idempotent.

        Given members replace stored ones, None removes a member, and all others are kept, use counts included.
        """
        return await self._send("PUT", pattern_id, document=members, statuses=WRITTEN, idempotent=True)

    async def record_use(self, pattern_id: str, *, success: bool) -> Record:
        """Count a use of a pattern."""
        return await self._send("POST", pattern_id, "uses", document={"success": success})

    async def best(self, *, tags: Sequence[str] = (), limit: int = 5) -> Records:
        """Return the best patterns with their `score`: those with any of the tags, or of all patterns."""
        path = with_query("/v1/best-patterns", tag=[*tags], limit=limit)
        return await self._transport.request(
            "GET", path, lambda answer: [_record(pattern) for pattern in answer["patterns"]]
        )

    async def delete(self, pattern_id: str) -> bool:
        """Delete a pattern. Return False if it does not exist."""
        return await self._delete(pattern_id)

    async def list(self, *, type: str | None = None, limit: int = 100, cursor: str | None = None) -> RecordPage:  # noqa: A002
        """Return a page of the patterns of a type."""
        return await self._list(type=type, limit=limit, cursor=cursor)


class ConsensusClient(_Records):
    """`/v1/consensus`."""

    _kind = "consensus"

    async def propose(self, /, **members: Any) -> Record:
        """Create a proposal: `options=[...]`, `threshold`, `voters=[...]`, `minVotes`, `deadlineSeconds`, ..."""
        return await self._send("POST", document=members, statuses=CREATED)

    async def vote(self, proposal_id: str, *, agent: str, choice: str, reason: str | None = None) -> Record:
        """Cast or change a vote. Raise MemoryStateError with reason `closed`, `not-a-voter` or `full`. Idempotent."""
        document = _given(agent=agent, choice=choice, reason=reason)
        return await self._send("POST", proposal_id, "votes", document=document, idempotent=True)

    async def close(self, proposal_id: str) -> Record:
        """Close a proposal. Idempotent."""
        return await self._send("POST", proposal_id, "close", document={}, idempotent=True)

    async def delete(self, proposal_id: str) -> bool:
        """Delete a proposal. Return False if it does not exist."""
        return await self._delete(proposal_id)

    async def list(
        self, *, status: str | None = None, task: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> RecordPage:
        """Return a page of the proposals with this status and task."""
        return await self._list(status=status, task=task, limit=limit, cursor=cursor)


class LeasesClient(_Resource):
    """`/v1/leases`: names, such as `queen`, that one agent at a time holds."""

    _kind = "leases"

    async def claim(self, name: str, *, agent: str, lease: float | None = None) -> Record:
        """Take a free lease, or renew it if the agent holds it. Idempotent.

        Args:
            name: name of the lease.
            agent: the agent.
            lease: seconds until the lease ends if it is not renewed; 30 by default.

        Returns:
            The lease. `term` grows with each new holder: send it along with what the holder decides.

        Raises:
            MemoryStateError: another agent holds it: reason `claimed`.
        """
        document = _given(agent=agent, lease=lease)
        return await self._send("POST", name, "claim", document=document, statuses=WRITTEN, idempotent=True)

    async def renew(self, name: str, *, agent: str, lease: float | None = None) -> Record:
        """Let the agent's lease last `lease` seconds from now. Raise MemoryStateError if it has lost it. Idempotent."""
        return await self._send("POST", name, "renew", document=_given(agent=agent, lease=lease), idempotent=True)

    async def release(self, name: str, *, agent: str) -> Record:
        """Give the agent's lease back."""
        return await self._send("POST", name, "release", document={"agent": agent})

    async def get(self, name: str) -> Record | None:
        """Return the lease, with `held`, or None if it was never claimed."""
        return await self._get(name)


class CommunicationsClient(_Resource):
    """`/v1/communications`."""

    _kind = "communications"

    async def send(self, message: Any, *, from_agent: str, to_agent: str | None = None) -> Record:
        """Send a message to one agent, or to all others. Not idempotent: a message sent twice is stored twice."""
        document = _given(fromAgent=from_agent, toAgent=to_agent) | {"message": message}
        return await self._send("POST", document=document, statuses=CREATED)

    async def read(
        self,
        *,
        agent: str | None = None,
        from_agent: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        since: str | None = None,
        limit: int = 100,
    ) -> MessagePage:
        """Return a page of messages in the order of sending: those to `agent` or to all agents, or all messages."""
        return await self._find(
            lambda answer: MessagePage(
                [_record(message) for message in answer["messages"]], answer["cursor"], answer["more"]
            ),
            **{"from": from_agent}, agent=agent, type=type, since=since, limit=limit,
        )  # fmt: skip


class CoordinationClient(_Resource):
    """`/v1/coordination`: any value under any key, for one hour."""

    _kind = "coordination"

    async def put(self, key: str, state: Any) -> None:
        """Write a value. Idempotent."""
        await self._transport.request("PUT", url_path(self._kind, key), dict, body=to_json(state), statuses=WRITTEN)

    async def get(self, key: str) -> Any:
        """Return a value, or None if the key does not exist."""
        return await self._transport.find(url_path(self._kind, key), lambda answer: answer["value"])

    async def delete(self, key: str) -> bool:
        """Delete a value. Return False if the key does not exist."""
        return await self._delete(key)


class MetricsClient(_Records):
    """`/v1/metrics`: measurements of agents, kept for one week."""

    _kind = "metrics"

    async def store(self, /, metrics_id: str, **members: Any) -> Record:
        """Write measurements: `type`, `agentId`, or any other member. Idempotent."""
        return await self._send("PUT", metrics_id, document=members, statuses=WRITTEN, idempotent=True)

    async def list(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RecordPage:
        """Return a page of the measurements of a type and an agent."""
        return await self._list(type=type, agent=agent, limit=limit, cursor=cursor)


def _given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _record(document: Record) -> Record:
    """Return the document if it is that of a record. Raise KeyError or TypeError."""
    if type(document["id"]) is not str:
        raise TypeError("id: not text")
    return document
