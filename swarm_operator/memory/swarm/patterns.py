"""Learned patterns, their success rates, and the ranking of the best patterns.

Stored in `swarm:patterns` under `pattern:<id>`, tagged with pattern and type like the seed's storePattern, and with
the pattern's own `tags`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.record import Kind, Record, RecordPage, Records, tags_of, text_of

_SMOOTHING: Final = 0.1
"""Weight of the newest use in the success rate, an exponential moving average."""
_MOST_CONSIDERED: Final = 5000
_MAX_BEST: Final = 100
_OWN: Final = ("swarmId", "createdAt", "updatedAt", "usageCount", "successRate", "lastUsedAt")
_NEW: Final = {"usageCount": 0, "successRate": 0}

PATTERN: Final = Kind(
    name="pattern",
    namespace="swarm:patterns",
    prefix="pattern:",
    tagged=("type", "tags"),
    ttl=0,
    metadata=lambda document: {
        "swarmId": document.get("swarmId"),
        "patternType": text_of(document, "type") or None,
        "confidence": fields.number(document, "confidence"),
    },
)


@dataclass(frozen=True, slots=True)
class BestPatterns:
    """The patterns with the highest scores.

    Attributes:
        scored: patterns with their scores, highest score first.
        considered: number of patterns that were scored.
        partial: True if the limit of scored patterns was reached and some patterns were not scored.
    """

    scored: list[tuple[Record, float]]
    considered: int
    partial: bool


def score(pattern: dict[str, Any]) -> float:
    """Return a score from 0 to 1: 0.7 * success rate + 0.2 * confidence + 0.1 if the pattern has been used."""
    rate, confidence = (min(max(fields.number(pattern, name), 0.0), 1.0) for name in ("successRate", "confidence"))
    used = 0.1 if fields.number(pattern, "usageCount") > 0 else 0.0
    return round(rate * 0.7 + confidence * 0.2 + used, 9)


class Patterns:
    """The patterns of a swarm.

    Args:
        store: the store that holds the patterns.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, PATTERN)

    async def store(self, pattern_id: str, document: dict[str, Any]) -> Record:
        """Add a pattern, or update an existing pattern. Usage statistics are kept.

        Args:
            pattern_id: 1 to 512 bytes.
            document: members to set: `type` (a word), `confidence` (0 to 1), `tags` (at most 32 words), and any others.
                null removes a member; members not given are kept. Members that the store sets (`usageCount`,
                `successRate` and others) may be repeated but not changed.

        Raises:
            InvalidInputError: names the invalid member.
        """
        checked = fields.document("pattern", document)

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any]:
            changes = dict(checked)
            fields.check_id(changes, pattern_id)
            fields.own(changes, _OWN, _NEW if found is None else found, "uses of the pattern set it")
            _check(changes)
            time = times.to_text(now)
            pattern = {"createdAt": time, **_NEW, **(found or {}), **changes}
            for name in [name for name, value in changes.items() if value is None]:
                del pattern[name]
            return {**pattern, "swarmId": self._store.swarm_id, "updatedAt": time}

        return await self._records.change(pattern_id, change)

    async def record_use(self, pattern_id: str, *, success: bool) -> Record:
        """Count a use. The success rate moves by a tenth of the distance to 1 (success) or 0 (failure).

        Raises:
            RecordNotFoundError: the pattern does not exist.
            InvalidInputError: `success` is not a boolean.
        """
        if type(success) is not bool:
            raise InvalidInputError("success", "true or false")

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            if found is None:
                return None
            rate = fields.number(found, "successRate")
            found["usageCount"] = int(fields.number(found, "usageCount")) + 1
            found["successRate"] = _SMOOTHING * success + (1 - _SMOOTHING) * rate
            found["lastUsedAt"] = times.to_text(now)
            return found

        return await self._records.change(pattern_id, change)

    async def get(self, pattern_id: str) -> Record:
        """Return the pattern. Raise RecordNotFoundError if it does not exist."""
        return await self._records.get(pattern_id)

    async def delete(self, pattern_id: str) -> bool:
        """Delete a pattern. Return False if it did not exist."""
        return await self._records.delete(pattern_id)

    async def list(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the member's name
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """Return a page of the patterns, by id. The type uses the tag index.

        Args:
            type: only patterns with this `type`.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A filtered page may be shorter and not be the last.
        """
        tags = tags_of(type=type)

        def matches(pattern: Record) -> bool:
            return pattern.document.get("type") == type

        return await self._records.page(matches if tags else None, tags=tags, after=after, limit=limit)

    async def best(self, *, tags: Sequence[str] = (), limit: int = 5) -> BestPatterns:
        """Return the patterns with the highest scores. Patterns with equal scores are ordered by id.

        Args:
            tags: only patterns with at least one of these tags or types; at most 16. Empty: all patterns.
            limit: 1 to 100.
        """
        fields.whole("limit", limit, 1, _MAX_BEST)
        context = fields.words("tags", tags)
        if len(context) > 16:
            raise InvalidInputError("tags", "at most 16 strings")
        best: list[tuple[float, Record]] = []
        considered = 0
        after: str | None = None
        while True:
            entries, after = await self._records.scan(any_tags=context, after=after)
            scored = [(score(record.document), record) for record in map(self._records.record, entries)]
            considered += len(entries)
            best = heapq.nsmallest(limit, best + scored, key=lambda pair: (-pair[0], pair[1].id))
            if after is None or considered >= _MOST_CONSIDERED:
                return BestPatterns([(record, value) for value, record in best], considered, after is not None)


def _check(changes: dict[str, Any]) -> None:
    if changes.get("type") is not None:
        fields.word("type", changes["type"])
    if changes.get("confidence") is not None:
        fields.share("confidence", changes["confidence"])
    if changes.get("tags") is not None:
        changes["tags"] = fields.words("tags", changes["tags"])
        if len(changes["tags"]) > 32:
            raise InvalidInputError("tags", "at most 32 strings")
