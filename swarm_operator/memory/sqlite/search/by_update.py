"""Plan of searches in the order of updates: the last written entries first.

A search of all namespaces scans the index of update times. A search of some namespaces scans and merges the indexes of
these namespaces. It reads no entry of another namespace, so its result does not depend on entries of others.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Generator, Iterator
from typing import Any, Final

from swarm_operator.memory.core.pages import Position
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search.candidates import Candidate, by_id, namespaces, rows

MAX_MERGED: Final = 5_000
"""Maximum number of namespaces to merge, about 15 ms. For more, the index of all namespaces is scanned."""
_STEP: Final = 64

# Entries of one time are ordered by namespace and key, so that a position needs no row ID.
_ALL = """
    SELECT e.id, e.updated_at, e.namespace, e.key FROM entries e INDEXED BY entries_updated
    WHERE e.updated_at >= ? AND (e.updated_at, e.namespace, e.key) < (?, ?, ?)
    ORDER BY e.updated_at DESC, e.namespace DESC, e.key DESC
"""
_IN = """
    SELECT e.id, e.updated_at, e.namespace, e.key FROM entries e INDEXED BY entries_updated_in
    WHERE e.namespace = ? AND e.updated_at >= ? AND (e.updated_at, e.key) < (?, ?)
    ORDER BY e.updated_at DESC, e.key DESC LIMIT ?
"""
_LATEST = """
    SELECT e.updated_at FROM entries e INDEXED BY entries_updated_in
    WHERE e.namespace = ? AND e.updated_at >= ? AND e.updated_at <= ? ORDER BY e.updated_at DESC LIMIT 1
"""
_BEGINNING: Final[Position] = ["updated", 2**62, "", ""]


def by_update(
    db: sqlite3.Connection, query: Query, ranges: list[tuple[str, str | bytes]] | None, position: Position | None
) -> Generator[Candidate, None, None]:
    """Yield candidates, the last updated first.

    Args:
        db: a connection.
        query: the query.
        ranges: ranges of the query's namespaces; None: all namespaces.
        position: resume position of the page before.
    """
    _, *before = position or _BEGINNING
    since = query.updated_since or 0
    names = None
    if ranges is not None:
        names = list(itertools.islice(namespaces(db, ranges), MAX_MERGED + 1))
    if names is None or len(names) > MAX_MERGED:
        found = rows(db, _ALL, (since, *before))
    else:
        found = _merged(db, names, since, before)
    for row_id, *place in found:
        yield Candidate(["updated", *place], by_id(db, row_id))


def _merged(db: sqlite3.Connection, names: list[str], since: int, before: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of these namespaces, the last updated first. Read a namespace only when it is next in order."""
    waiting = []
    for name in names:
        latest = db.execute(_LATEST, (name, since, before[0])).fetchone()
        if latest is not None:
            waiting.append((latest[0], name))
    waiting.sort()
    # The next row of each namespace that was read, in ascending order; all places are different.
    heads: list[tuple[tuple[Any, ...], tuple[Any, ...], Iterator[tuple[Any, ...]]]] = []

    def take(stream: Iterator[tuple[Any, ...]]) -> None:
        row = next(stream, None)
        if row is not None:
            bisect.insort(heads, (row[1:], row, stream))

    while waiting or heads:
        while waiting and (not heads or waiting[-1] >= heads[-1][0][:2]):
            take(_rows_in(db, waiting.pop()[1], since, before))
        if heads:
            _, row, stream = heads.pop()
            yield row
            take(stream)


def _rows_in(db: sqlite3.Connection, name: str, since: int, before: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a namespace that come before a place in the order of all namespaces, the last updated first.

    The rows are read in steps, so that no statement stays open while other namespaces are read.
    """
    moment, namespace, key = before
    end = (moment, key) if name == namespace else (moment + (name < namespace), "")
    while True:
        found = db.execute(_IN, (name, since, *end, _STEP)).fetchall()
        yield from found
        if len(found) < _STEP:
            return
        end = found[-1][1], found[-1][3]
