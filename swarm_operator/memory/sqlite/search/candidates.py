"""Candidates of a search: rows from a plan, to be tested for the conditions of the query."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core.pages import Position
from swarm_operator.memory.sqlite.database.driver import sqlite3

HEAD: Final = "e.id, e.namespace, e.key, e.updated_at, e.expires_at, e.tags, e.metadata, e.size, e.created_at"
_BY_ID = f"SELECT {HEAD} FROM entries e WHERE e.id = ?"  # noqa: S608 - constants only
_BY_IDS = f"SELECT {HEAD} FROM json_each(?) AS wanted CROSS JOIN entries e ON e.id = wanted.value"  # noqa: S608
_FIRST: Final = 16
"""Number of rows that the first statement of by_ids reads: a page is often full with them."""
_MOST: Final = 256
_NAMESPACES = "SELECT name FROM namespaces WHERE name >= ? AND name < ? ORDER BY name"


class Candidate(NamedTuple):
    """A row that a plan found.

    Attributes:
        position: resume position after the row.
        row: the HEAD columns; None without a row to test: the text does not match, the indexed row no longer exists, or
            this is the end of a namespace.
        score: rank of the text, lower is better; None if the candidates are not ranked.
        counts: number of entries that the candidate stands for. Several for the end of a block of keys, of which SQLite
            tested those that are no candidates. 0 for an intermediate position, where the search may stop.
    """

    position: Position
    row: tuple[Any, ...] | None
    score: float | None = None
    counts: int = 1


def rows(db: sqlite3.Connection, sql: str, parameters: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query. Reset the statement on early exit: an open statement would hold its snapshot."""
    with contextlib.closing(db.execute(sql, parameters)) as cursor:
        yield from cursor


def by_id(db: sqlite3.Connection, row_id: int) -> tuple[Any, ...] | None:
    """Return the HEAD columns of a row; None if it does not exist."""
    row: tuple[Any, ...] | None = db.execute(_BY_ID, (row_id,)).fetchone()
    return row


def by_ids(db: sqlite3.Connection, ids: Sequence[int]) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
    """Yield row IDs in their order, with the HEAD columns of their rows; None if a row does not exist.

    One statement reads many rows. Each further one reads more, as a caller that goes on needs more.
    """
    start, size = 0, _FIRST
    while part := ids[start : start + size]:
        found = {row[0]: row for row in db.execute(_BY_IDS, (json.dumps(part),)).fetchall()}
        yield from ((row_id, found.get(row_id)) for row_id in part)
        start, size = start + size, min(size * 4, _MOST)


def namespaces(db: sqlite3.Connection, ranges: list[tuple[str, str | bytes]], first: str = "") -> Iterator[str]:
    """Yield the namespaces in these ranges that have entries, in order, starting at `first`."""
    for start, end in ranges:
        for (found,) in rows(db, _NAMESPACES, (max(start, first), end)):
            yield found
