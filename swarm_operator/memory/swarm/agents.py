"""Agents: registration, capabilities and heartbeats of the swarm's agents.

Stored in `swarm:agents` under `agent:<id>`, tagged with agent, type and status, like the seed's storeAgent.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.record import Kind, Record, RecordPage, Records, tags_of, text_of, texts_of

DEFAULT_STALE_AFTER: Final = 60.0
"""Seconds without a heartbeat after which an agent is stale."""
ACTIVE: Final = frozenset({"active", "busy"})
"""Statuses that the seed counts as active."""
MOST_STALE_AFTER: Final = 10 * 365 * 24 * 3600

AGENT: Final = Kind(
    name="agent",
    namespace="swarm:agents",
    prefix="agent:",
    tagged=("type", "status"),
    ttl=0,
    metadata=lambda document: {"swarmId": document.get("swarmId"), "agentType": text_of(document, "type") or None},
)


def heard_of(document: dict[str, Any]) -> int:
    """Return the time of the last heartbeat in milliseconds, or of the last write if a client of the seed wrote it."""
    return times.from_text(document.get("lastHeartbeat")) or times.from_text(document.get("lastUpdated")) or 0


class Agents:
    """The agents of a swarm.

    Args:
        store: the store that holds the agents.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, AGENT)

    async def register(self, agent_id: str, document: dict[str, Any]) -> Record:
        """Add an agent, or update an existing agent. A repeated call updates only the times.

        Args:
            agent_id: 1 to 512 bytes.
            document: members to set: `type` and `status` (words; `status` defaults to "idle"), `capabilities` (at most
                64 words), and any others. null removes a member; members not given are kept. The store sets
                `swarmId`, `registeredAt`, `lastUpdated` and `lastHeartbeat`, and ignores given values. `id` must match.

        Returns:
            The agent; `created` is True if the agent is new.

        Raises:
            InvalidInputError: names the invalid member.
        """
        changes = _checked(agent_id, document)

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any]:
            time = times.to_text(now)
            agent = {"status": "idle", "registeredAt": time, **(found or {}), **changes}
            for name in [name for name, value in changes.items() if value is None]:
                del agent[name]
            agent |= {"swarmId": self._store.swarm_id, "lastUpdated": time, "lastHeartbeat": time}
            return agent

        return await self._records.change(agent_id, change)

    async def heartbeat(self, agent_id: str, *, status: str | None = None) -> Record:
        """Record a heartbeat of an agent, and optionally its status.

        Raises:
            RecordNotFoundError: the agent is not registered; it should register again.
            InvalidInputError: names the invalid member.
        """
        if status is not None:
            fields.word("status", status)

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            if found is None:
                return None
            time = times.to_text(now)
            found["lastHeartbeat"] = time
            if status is not None and status != found.get("status"):
                found |= {"status": status, "lastUpdated": time}
            return found

        return await self._records.change(agent_id, change)

    async def get(self, agent_id: str) -> Record:
        """Return the agent. Raise RecordNotFoundError if it does not exist."""
        return await self._records.get(agent_id)

    async def deregister(self, agent_id: str) -> bool:
        """Delete an agent. Return False if it did not exist. Its tasks can be claimed when their leases expire."""
        return await self._records.delete(agent_id)

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        capability: str | None = None,
        stale: bool | None = None,
        stale_after: float = DEFAULT_STALE_AFTER,
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """Return a page of the agents that match all filters, by id. Status and type use the tag index.

        Args:
            status: only agents with this status.
            type: only agents with this `type`.
            capability: only agents with this capability.
            stale: True: only agents without a heartbeat for `stale_after` seconds; False: only the others.
            stale_after: seconds; 60 by default.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A filtered page may be shorter and not be the last.
        """
        fields.seconds("stale_after", stale_after, MOST_STALE_AFTER)
        deadline = self._store.now() - stale_after * 1000

        def matches(agent: Record) -> bool:
            document = agent.document
            return (
                (status is None or document.get("status") == status)
                and (type is None or document.get("type") == type)
                and (capability is None or capability in texts_of(document, "capabilities"))
                and (stale is None or (heard_of(document) <= deadline) == stale)
            )

        tags = tags_of(status=status, type=type)
        unfiltered = not tags and capability is None and stale is None
        return await self._records.page(None if unfiltered else matches, tags=tags, after=after, limit=limit)


def _checked(agent_id: str, document: dict[str, Any]) -> dict[str, Any]:
    changes = fields.document("agent", document)
    fields.check_id(changes, agent_id)
    for name in ("swarmId", "registeredAt", "lastUpdated", "lastHeartbeat"):
        changes.pop(name, None)
    for name in ("type", "status"):
        if changes.get(name) is not None:
            fields.word(name, changes[name])
    if changes.get("capabilities") is not None:
        changes["capabilities"] = fields.words("capabilities", changes["capabilities"])
    return changes
