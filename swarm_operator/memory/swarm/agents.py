"""Agents: who is in the swarm, what each can do, and who has not been heard of for a while.

In `swarm:agents` under `agent:<id>`, with the tags agent, type and status, as the seed's storeAgent writes them.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.record import Kind, Record, RecordPage, Records, tags_of, text_of, texts_of

DEFAULT_STALE_AFTER: Final = 60.0
"""Seconds without a heartbeat after which an agent is stale."""
ACTIVE: Final = frozenset({"active", "busy"})
"""The statuses that the seed counts as active."""
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
    """When the agent was last heard of, in milliseconds: its heartbeat, or its last write by a client of the seed."""
    return times.from_text(document.get("lastHeartbeat")) or times.from_text(document.get("lastUpdated")) or 0


class Agents:
    """The agents of a swarm.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, AGENT)

    async def register(self, agent_id: str, document: dict[str, Any]) -> Record:
        """Add an agent, or say more about one. Repeating it changes nothing but the heartbeat.

        Args:
            agent_id: 1 to 512 bytes.
            document: what is known: `type` and `status` (words; `status` is "idle" at first), `capabilities` (at most
                64 words), and anything else. Its members replace those of before, null removes one, the others stay.
                `id`, `swarmId`, `registeredAt`, `lastUpdated` and `lastHeartbeat` are the store's and are ignored.

        Returns:
            The agent; `created` tells whether it is new.

        Raises:
            InvalidInputError: names the member.
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
        """Say that an agent is alive, and perhaps what it is doing.

        Raises:
            RecordNotFoundError: it is not registered, or no longer: it should register again.
            InvalidInputError: names the member.
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
        """The agent. Raises RecordNotFoundError."""
        return await self._records.get(agent_id)

    async def deregister(self, agent_id: str) -> bool:
        """Forget an agent. False when there was none. Its tasks become free when their leases end."""
        return await self._records.delete(agent_id)

    async def list(
        self,
        *,
        status: str | None = None,
        agent_type: str | None = None,
        capability: str | None = None,
        stale: bool | None = None,
        stale_after: float = DEFAULT_STALE_AFTER,
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """A page of the agents that are so, by id. Status and type are looked up by their tags.

        Args:
            status: this one.
            agent_type: this `type`.
            capability: has it.
            stale: True: not heard of for `stale_after` seconds; False: heard of since.
            stale_after: seconds; 60 by default.
            after: `next_key` of the page before.
            limit: 1 to 1000. A page with filters may be short and yet not the last.
        """
        fields.seconds("stale_after", stale_after, MOST_STALE_AFTER)
        deadline = self._store.now() - stale_after * 1000

        def matches(agent: Record) -> bool:
            document = agent.document
            return (
                (status is None or document.get("status") == status)
                and (agent_type is None or document.get("type") == agent_type)
                and (capability is None or capability in texts_of(document, "capabilities"))
                and (stale is None or (heard_of(document) <= deadline) == stale)
            )

        tags = tags_of(status=status, type=agent_type)
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
