"""Pages of searches by meaning and hybrid. Run on a reader's thread.

Hybrid fuses ranks by reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009). An entry at place n of a list
gets 1 / (60 + n) from this list, and the sums are compared. So neither of the two scores needs a scale. Words that too
many entries have are not ranked, and do not count.

A search by meaning ranks all entries that it searches; a hybrid one, the best DEPTH of either list. Each page ranks
anew, and goes on behind the last entry of the page before.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core.pages import Hit, Position, SearchPage, Step
from swarm_operator.memory.core.query import Mode, Query
from swarm_operator.memory.sqlite.search import fulltext, planner
from swarm_operator.memory.sqlite.search.candidates import by_ids
from swarm_operator.memory.sqlite.search.index import index_text
from swarm_operator.memory.sqlite.search.tokenizer import language_of
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.vectors.planes import Planes
from swarm_operator.memory.sqlite.vectors.scan import Scored, scan

DEPTH: Final = 1000
"""Number of entries of either list that a hybrid search fuses."""
_MAX_WORDS: Final = 3 * DEPTH
"""Maximum number of candidates by words."""
_MAX_SECONDS: Final = 0.1
"""Time limit of candidates by words: those that are left have no rank."""
_MIN_WORDS: Final = 64
_OFFSET: Final = 60
"""The constant of reciprocal rank fusion."""

_ID = "SELECT id FROM entries WHERE namespace = ? AND key = ?"
_WHOLE = f"SELECT {entry_rows.LISTED} FROM entries WHERE id = ?"  # noqa: S608 - constants only


class Ranked(NamedTuple):
    """An entry of the result. The best one is the smallest."""

    worth: float
    """The score with the other sign."""
    row_id: int
    words: int | None = None
    cosine: float | None = None


class Limits(NamedTuple):
    """Limits of a page.

    Attributes:
        hits: maximum number of hits.
        bytes: maximum bytes of values, or one larger entry.
    """

    hits: int
    bytes: int


def by_meaning(
    db: sqlite3.Connection, planes: Planes, query: Query, vector: bytes, position: Position | None, limits: Limits, *,
    now: int, found: SearchPage,
) -> None:  # fmt: skip
    """Fill a page with the entries whose vectors are most like one.

    Args:
        db: a connection, in a snapshot that the planes follow; the caller holds their lock.
        planes: bits of vectors of its width.
        query: the query.
        vector: the vector.
        position: resume position of the page before; None: this is the first page.
        limits: limits of the page.
        now: the time in milliseconds since the Unix epoch.
        found: the page.
    """
    found.mode = Mode.MEANING
    after = None if position is None else Scored(-position[1], _row_id(db, position))
    started = time.perf_counter()
    scanned = scan(db, planes, query, vector, now=now, after=after, wanted=limits.hits + 1)
    found.candidates, found.partial = scanned.tested, found.partial or scanned.partial
    found.steps.append(_step("meaning", started, len(scanned.best)))
    ranked = [Ranked(each.distance, each.row_id, None, -each.distance) for each in scanned.best]
    _fill(db, query, ranked, limits, now, found)


def hybrid(
    db: sqlite3.Connection, planes: Planes | None, query: Query, vector: bytes | None, position: Position | None,
    limits: Limits, *, now: int, since: int, found: SearchPage,
) -> None:  # fmt: skip
    """Fill a page with the entries that are best by words and by meaning together.

    Args:
        db: see by_meaning, as all else.
        planes: None: there is no vector.
        query: a query with an expression.
        vector: None: the text has no meaning that the embedder knows.
        position: resume position of the page before; None: this is the first page.
        limits: limits of the page.
        now: the time in milliseconds since the Unix epoch.
        since: the change that the index of words should have.
        found: the page.

    Raises:
        InvalidInputError: the text is not a full-text expression.
    """
    found.mode = Mode.HYBRID
    started = time.perf_counter()
    words = _by_words(db, query, now, since, found)
    found.steps.append(_step("words", started, len(words)))
    cosines: dict[int, float] = {}
    if planes is not None and vector is not None:
        started = time.perf_counter()
        scanned = scan(db, planes, query, vector, now=now, after=None, wanted=DEPTH)
        found.candidates += scanned.tested
        found.partial = found.partial or scanned.partial
        cosines = {each.row_id: -each.distance for each in scanned.best}
        found.steps.append(_step("meaning", started, len(cosines)))
    fused = _fused(words, cosines)
    if position is not None:
        after = (-position[1], _row_id(db, position))
        fused = [each for each in fused if each > after]
    ranked = [Ranked(worth, row_id, words.get(row_id), cosines.get(row_id)) for worth, row_id in fused]
    _fill(db, query, ranked, limits, now, found)


def _by_words(db: sqlite3.Connection, query: Query, now: int, since: int, found: SearchPage) -> dict[int, int]:
    """Return the ranks of the best entries by words, by row ID; none if they are not ranked."""
    matches = planner.Filter(db, query, now)
    ranks: dict[int, int] = {}
    deadline = time.perf_counter() + _MAX_SECONDS
    with contextlib.closing(planner.candidates_of(db, query, None, found, since)) as candidates:
        for number, candidate in enumerate(candidates):
            if not found.ranked:
                return {}
            if len(ranks) == DEPTH:
                break
            if number >= _MAX_WORDS or (number >= _MIN_WORDS and time.perf_counter() > deadline):
                found.partial = True
                break
            if candidate.row is None:
                continue
            found.candidates += 1
            if matches(candidate.row):
                ranks[candidate.row[0]] = len(ranks) + 1
    return ranks


def _fused(words: dict[int, int], cosines: dict[int, float]) -> list[tuple[float, int]]:
    """Return worth and row ID of all entries of both lists, best first. `cosines` are in their order."""
    scores = {row_id: 1 / (_OFFSET + rank) for row_id, rank in words.items()}
    for place, row_id in enumerate(cosines, 1):
        scores[row_id] = scores.get(row_id, 0.0) + 1 / (_OFFSET + place)
    return sorted((-score, row_id) for row_id, score in scores.items())


def _fill(
    db: sqlite3.Connection, query: Query, ranked: Sequence[Ranked], limits: Limits, now: int, found: SearchPage
) -> None:
    """Read the entries, and add those that live to the page until it is full."""
    started = time.perf_counter()
    matches = planner.Filter(db, query, now)
    taken: list[tuple[Ranked, tuple[Any, ...]]] = []
    size = 0
    for each, (_, row) in zip(ranked, by_ids(db, [each.row_id for each in ranked]), strict=True):
        if row is None or not matches(row):
            continue
        if len(taken) == limits.hits or (taken and size + row[7] > limits.bytes):
            break
        taken.append((each, row))
        size += row[7]
    else:
        found.hits = [*_hits(db, query, taken)]
        found.steps.append(_step("entries", started, len(taken)))
        return
    last, row = taken[-1]
    found.position = [found.mode.value if found.mode else "", -last.worth, row[1], row[2]]
    found.hits = [*_hits(db, query, taken)]
    found.steps.append(_step("entries", started, len(taken)))


def _hits(db: sqlite3.Connection, query: Query, taken: list[tuple[Ranked, tuple[Any, ...]]]) -> Iterator[Hit]:
    entries = {each.row_id: entry_rows.entry_of(db.execute(_WHOLE, (each.row_id,)).fetchone()) for each, _ in taken}
    shown: dict[int, fulltext.Extract] = {}
    if query.expression is not None:
        texts = [
            (each.row_id, entries[each.row_id].key, index_text(entries[each.row_id].value_json))
            for each, _ in taken
            if each.words is not None
        ]
        shown = fulltext.extracts(query.expression, texts, language_of(db))
    for each, _ in taken:
        snippet, fields = shown.get(each.row_id, (None, ()))
        yield Hit(entries[each.row_id], -each.worth, snippet, fields, each.words, each.cosine)


def _row_id(db: sqlite3.Connection, position: Position) -> int:
    """Return the row ID of the last entry of the page before; 0 if it was deleted: entries of its score come again."""
    found = db.execute(_ID, (position[2], position[3])).fetchone()
    return 0 if found is None else int(found[0])


def _step(name: str, started: float, candidates: int) -> Step:
    return Step(name, candidates, time.perf_counter() - started)
