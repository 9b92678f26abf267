"""Search by meaning: the entries whose vectors make the smallest angle with that of the query.

    namespaces     numbers of the namespaces that the query searches and its caller may read
    candidates     by their bits in memory, the best first; all of them if there are few
    conditions     tags, metadata, keys and times, before anything is ranked. If few entries meet them, these are found
                   by the indexes of entries instead, and all of them are compared
    rescoring      cosines, by the codes in the snapshot

Rescoring takes a batch of candidates after the other, and ends when those that are left can hardly be better than what
is there. If the candidates are in the order of their codes, one batch is enough. If the codes are not mapped, vectors
that are much alike need one, and those without any order need all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from typing import Final, NamedTuple

import numpy as np

from swarm_operator.memory.core.pages import SearchPage
from swarm_operator.memory.core.query import Order, Query
from swarm_operator.memory.sqlite.search import planner
from swarm_operator.memory.sqlite.search.candidates import by_ids
from swarm_operator.memory.sqlite.vectors.codes import distances, matrix
from swarm_operator.memory.sqlite.vectors.planes import Planes
from swarm_operator.memory.sqlite.vectors.table import slot

_BATCH: Final = 512
_MARGIN: Final = 16
"""Candidates of the first batch beyond those that are wanted: some may have expired."""
_MAX_ENUMERATED: Final = 2000
"""Maximum number of entries that are looked at to find all that meet the conditions."""
_MAX_TESTED: Final = 5000
"""Maximum number of candidates that are tested for the conditions."""
_SPACES = "SELECT id FROM vector_spaces WHERE namespace >= ? AND namespace < ?"
_ALL_SPACES = "SELECT id FROM vector_spaces"
_CODES = """
    SELECT v.id / 4, v.code FROM json_each(?) j
    CROSS JOIN vectors v ON v.id IN (4 * j.value, 4 * j.value + ?) AND length(v.code) = ?
"""
_EXPIRED = "SELECT id FROM entries INDEXED BY entries_expiry WHERE expires_at <= ?"


class Scored(NamedTuple):
    """An entry and the cosine of the angle. The best one is the smallest."""

    distance: float
    """The cosine with the other sign."""
    row_id: int


@dataclasses.dataclass(slots=True)
class Found:
    """Result of a scan.

    Attributes:
        best: the best entries, in order.
        tested: number of candidates whose codes or conditions were looked at.
        partial: whether candidates were left out, although few met the conditions.
    """

    best: list[Scored]
    tested: int = 0
    partial: bool = False


def scan(
    db: sqlite3.Connection, planes: Planes, query: Query, vector: bytes, *, now: int, after: Scored | None, wanted: int
) -> Found:
    """Return the `wanted` best entries behind a place; fewer if there are no more.

    Args:
        db: a connection, in a snapshot that the planes follow; the caller holds their lock.
        planes: bits of vectors of the query's width.
        query: the query.
        vector: its vector.
        now: the time in milliseconds since the Unix epoch.
        after: the place; None: the beginning.
        wanted: number of entries.
    """
    matches = planner.Filter(db, query, now) if _has_conditions(query) else None
    if matches is not None and (few := _enumerated(db, query, matches)) is not None:
        ids, bounds, tested, matches = np.array(few, np.int64), None, len(few), None
        held = False
    else:
        ids, bounds = planes.candidates(vector, _spaces(db, query))
        tested, held = 0, True
    expired = {row_id for (row_id,) in db.execute(_EXPIRED, (now,)).fetchall()}
    found = Found([], tested)
    best: list[Scored] = []
    # The best are in the first batch if the bounds are close.
    start, size = 0, _BATCH if bounds is None else wanted + _MARGIN
    while start < len(ids):
        if bounds is not None and len(best) >= wanted and -best[wanted - 1].distance > bounds[start]:
            break
        if matches is not None and found.tested >= _MAX_TESTED:
            found.partial = True
            break
        batch = ids[start : start + size].tolist()
        start, size = start + size, _BATCH
        if matches is not None:
            found.tested += len(batch)
            batch = [row_id for row_id, row in by_ids(db, batch) if row is not None and matches(row)]
        if expired:
            batch = [row_id for row_id in batch if row_id not in expired]
        scored = _scored(db, planes, vector, sorted(batch), held=held)
        if matches is None and not tested:
            found.tested += len(scored)
        worst = best[-1] if len(best) == wanted else None
        best += [each for each in scored if (after is None or each > after) and (worst is None or each < worst)]
        best = sorted(best)[:wanted]
    found.best = best
    return found


def _scored(db: sqlite3.Connection, planes: Planes, vector: bytes, ids: list[int], *, held: bool) -> list[Scored]:
    """Return those of these rows that have a vector. IDs are in order; if `held`, they are those of candidates."""
    codes = planes.codes(ids) if held else None
    if codes is None:
        # In the order of the row IDs, those of one page of the file are read together.
        rows = db.execute(_CODES, (json.dumps(ids), slot(planes.model), planes.width)).fetchall()
        ids, codes = [row_id for row_id, _ in rows], matrix([code for _, code in rows], planes.width)
    return [*map(Scored, distances(vector, codes), ids)]


def _spaces(db: sqlite3.Connection, query: Query) -> list[int]:
    """Return the numbers of the namespaces that are searched."""
    ranges = planner.ranges_of(query)
    if ranges is None:
        return [space for (space,) in db.execute(_ALL_SPACES).fetchall()]
    return [space for span in ranges for (space,) in db.execute(_SPACES, span).fetchall()]


def _has_conditions(query: Query) -> bool:
    """Return whether the query has other conditions than namespaces."""
    conditions = (
        query.prefix,
        query.glob,
        query.tags,
        query.any_tags,
        query.metadata,
        query.updated_since,
        query.updated_by,
    )
    return any(each not in {"", None} if isinstance(each, str | int | None) else each for each in conditions)


def _enumerated(db: sqlite3.Connection, query: Query, matches: planner.Filter) -> list[int] | None:
    """Return the row IDs of all entries that meet the conditions; None if more entries have to be looked at."""
    order = Order.KEY if query.updated_since is None or query.tags or query.any_tags else Order.UPDATED
    plain = dataclasses.replace(query, expression=None, order=order)
    found: list[int] = []
    with contextlib.closing(planner.candidates_of(db, plain, None, SearchPage(), 0)) as candidates:
        for number, candidate in enumerate(candidates):
            if number >= _MAX_ENUMERATED:
                return None
            if candidate.row is not None and matches(candidate.row):
                found.append(candidate.row[0])
    return found
