"""Coordination data, which agents share for an hour, and metrics, which are kept for a week.

Stored like the seed's storeCoordination and storeMetrics: any value under any key in `swarm:coordination`; objects
under `metrics:<id>` in `swarm:metrics`, tagged with metrics and type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from swarm_operator.memory.core.entry import Draft, Entry, check_key
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordNotFoundError
from swarm_operator.memory.swarm.record import Kind, Record, RecordPage, Records, tags_of, text_of

COORDINATION_NAMESPACE: Final = "swarm:coordination"
COORDINATION_TTL: Final = 3600

METRICS: Final = Kind(
    name="metrics",
    namespace="swarm:metrics",
    prefix="metrics:",
    tagged=("type",),
    ttl=7 * 86_400,
    metadata=lambda document: {"agentId": text_of(document, "agentId") or None},
)


class Coordination:
    """Coordination data of a swarm, by key. Each value expires an hour after its last write.

    Args:
        store: the store that holds the data.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, key: str, state: Any) -> bool:
        """Write any JSON value.

        Returns:
            True if the key is new.

        Raises:
            InvalidInputError: names the invalid member.
        """
        fields.document("state", {"state": state})
        metadata = {"swarmId": self._store.swarm_id, "timestamp": times.to_text(self._store.now())}
        draft = Draft.create(COORDINATION_NAMESPACE, key, state, metadata=metadata, ttl=COORDINATION_TTL)
        _, created = await self._store.write(draft)
        return created

    async def get(self, key: str) -> Any:
        """Return the value of a key. Raise RecordNotFoundError if it does not exist or has expired."""
        return (await self.entry(key)).value

    async def entry(self, key: str) -> Entry:
        """Return the entry of a key. Raise RecordNotFoundError if it does not exist or has expired."""
        entry = await self._store.get(COORDINATION_NAMESPACE, check_key(key))
        if entry is None:
            raise RecordNotFoundError("coordination", key)
        return entry

    async def delete(self, key: str) -> bool:
        """Delete a key. Return False if it did not exist."""
        return await self._store.delete(COORDINATION_NAMESPACE, key)


class Metrics:
    """Measurements of agents. Each record expires a week after its last write.

    Args:
        store: the store that holds the measurements.
    """

    def __init__(self, store: Store) -> None:
        def metadata(document: dict[str, Any]) -> dict[str, Any]:
            own = {"swarmId": store.swarm_id, "timestamp": times.to_text(store.now())}
            return {**own, **METRICS.metadata(document)}

        self._records = Records(store, replace(METRICS, metadata=metadata))

    async def store(self, metrics_id: str, document: dict[str, Any]) -> Record:
        """Write or replace a JSON object of measurements: `type` (a word), `agentId`, and any other members.

        Raises:
            InvalidInputError: names the invalid member.
        """
        measured = fields.document("metrics", document)
        fields.check_id(measured, metrics_id)
        if measured.get("type") is not None:
            fields.word("type", measured["type"])
        if measured.get("agentId") is not None:
            fields.identifier("agentId", measured["agentId"])
        return await self._records.change(metrics_id, lambda _, __: measured)

    async def get(self, metrics_id: str) -> Record:
        """Return the measurements. Raise RecordNotFoundError if they do not exist."""
        return await self._records.get(metrics_id)

    async def list(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the member's name
        agent: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """Return a page of the measurements that match all filters, by id. The type uses the tag index.

        Args:
            type: only measurements with this `type`.
            agent: only measurements of the agent with this id.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A filtered page may be shorter and not be the last.
        """
        tags = tags_of(type=type)

        def matches(metrics: Record) -> bool:
            document = metrics.document
            return (type is None or document.get("type") == type) and (
                agent is None or document.get("agentId") == agent
            )

        return await self._records.page(matches if tags or agent else None, tags=tags, after=after, limit=limit)
