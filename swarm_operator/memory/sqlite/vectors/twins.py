"""The last part of the search for a write's twin, in the transaction of the write.

The first part is a search in a snapshot (see checks.TwinSearch), which finds candidates. What was written since is
in the log of the vectors, and the transaction compares both. As a checked write stores its vector in its own
transaction, the next one finds it there: of several at a time, one is the first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from swarm_operator.memory.core.duplicates import DuplicateRule, Twin
from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.core.vectors import width as width_of
from swarm_operator.memory.sqlite.vectors import table

MAX_CANDIDATES: Final = 16
"""Maximum number of candidates from the snapshot."""
MAX_LOGGED: Final = 4096
"""Maximum number of rows of the log since the snapshot: the transaction delays other writes."""

_NEWEST = "SELECT coalesce(max(seq), 0) FROM vector_log"
_LOGGED = "SELECT DISTINCT id / 4 FROM vector_log WHERE seq > ?"
_CODES = """
    SELECT e.id, e.key, v.code FROM json_each(:ids) j
    CROSS JOIN vectors v ON v.id IN (4 * j.value, 4 * j.value + :slot) AND length(v.code) = :width
    JOIN entries e ON e.id = j.value AND e.namespace = :namespace AND (e.expires_at IS NULL OR e.expires_at > :now)
"""


class Made(NamedTuple):
    """A vector that the store's embedder made of a write, and its model."""

    model: table.Model
    vector: bytes


class TwinCheck(NamedTuple):
    """A write's search for its twin.

    Attributes:
        rule: what the write does about its twin.
        vector: vector of the write, in numbers of its code: equal vectors have the cosine 1. Empty: it has no meaning.
        made: the vector, if the store's embedder made it; None: the client gave it.
        model: number of the model whose vectors are compared, beside those of clients.
        candidates: row IDs of the entries that were the most similar ones, and similar enough, in the snapshot.
        position: the last row of the log of vectors in the snapshot.
    """

    rule: DuplicateRule
    vector: bytes
    made: Made | None
    model: int
    candidates: tuple[int, ...]
    position: int

    def twin(self, db: sqlite3.Connection, namespace: str, row_id: int | None, now: int) -> Twin | None:
        """Return the twin of a write, in the transaction of the write, before it is written.

        Args:
            db: the writer's connection.
            namespace: namespace of the write.
            row_id: row of the entry that is written; None: it is new.
            now: the time in milliseconds since the Unix epoch.

        Raises:
            OverloadedError: too much was written since the snapshot.
        """
        if not self.vector:
            return None
        if not 0 <= newest(db) - self.position <= MAX_LOGGED:
            raise OverloadedError("too many vectors were written since the search for near-duplicates; retry")
        ids = {*self.candidates, *(logged for (logged,) in db.execute(_LOGGED, (self.position,)).fetchall())}
        ids.discard(row_id or 0)
        if not ids:
            return None
        scored = list(self._scored(db, namespace, sorted(ids), now))
        if not scored:
            if len(self.candidates) == MAX_CANDIDATES:
                raise OverloadedError("all near-duplicates that were found have been deleted since; retry")
            return None
        distance, _, key = min(scored)
        return Twin(key, -distance)

    def store(self, db: sqlite3.Connection, row_id: int, namespace: str) -> None:
        """Store the vector that the embedder made for a write, in its transaction."""
        if self.made is not None:
            table.store_made(db, self.made.model, row_id, namespace, self.made.vector)

    def _scored(
        self, db: sqlite3.Connection, namespace: str, ids: list[int], now: int
    ) -> Iterator[tuple[float, int, str]]:
        """Yield negative cosine, row ID and key of the live entries that are similar enough."""
        from swarm_operator.memory.sqlite.vectors.codes import distances, matrix  # noqa: PLC0415 - imports numpy

        parameters = {
            "ids": json.dumps(ids), "slot": table.slot(self.model), "width": width_of(self.vector),
            "namespace": namespace, "now": now,
        }  # fmt: skip
        rows = db.execute(_CODES, parameters).fetchall()
        if not rows:
            return
        codes = matrix([row[2] for row in rows], width_of(self.vector))
        for distance, (row_id, key, _) in zip(distances(self.vector, codes), rows, strict=True):
            if -distance >= self.rule.threshold:
                yield distance, row_id, key


def newest(db: sqlite3.Connection) -> int:
    """Return the number of the last row of the log of vectors."""
    found: int = db.execute(_NEWEST).fetchone()[0]
    return found
