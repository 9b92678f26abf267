"""Query planner of searches. Runs on a reader's thread.

The plan is chosen here rather than by SQLite, so that its cost is known:

    with a text         full-text index, see by_text
    order "updated"     index of update times, see by_update
    with tags           per namespace: the entries of the rarest tag there
    otherwise           per namespace: the keys from the prefix on

Each candidate is tested for the conditions that the plan does not guarantee. A slice ends when the page is full, or at
a limit of candidates or work, and returns the resume position. So no search blocks the reader for long. See
search.slices for the slices of a page.

All candidates of a search that is limited to namespaces (`Query.within`) are in these namespaces, because the result
contains the number of candidates.
"""

from __future__ import annotations

import contextlib
import heapq
import re
from collections.abc import Generator, Iterator
from typing import Any, Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.pages import Hit, Position, SearchPage, key_position
from swarm_operator.memory.core.query import Mode, Order, Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import fulltext
from swarm_operator.memory.sqlite.search.allowance import Allowance
from swarm_operator.memory.sqlite.search.by_text import by_text
from swarm_operator.memory.sqlite.search.by_update import by_update
from swarm_operator.memory.sqlite.search.candidates import HEAD, Candidate, namespaces, rows
from swarm_operator.memory.sqlite.search.index import index_text
from swarm_operator.memory.sqlite.search.tokenizer import language_of
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.ranges import PAST_EVERY_TEXT, after_prefix, spans

MAX_CANDIDATES: Final = 10_000
"""Maximum number of candidates per page."""
_MAX_SECONDS: Final = 0.005
"""Maximum work of a slice, see allowance."""
_MAX_RANKED_SECONDS: Final = 0.03
"""Maximum work of a slice in the order of ranks: the next slice would rank all matches again."""
_MIN_CANDIDATES: Final = 64
"""Minimum number of candidates per slice, so that each slice makes progress."""
_CHECK_EACH: Final = 32
"""Number of candidates between two checks of the work."""
_PROBE: Final = 500
_BLOCK: Final = 500
"""Number of keys that SQLite compares with a glob at once, without Python's lock. They take some 0.2 ms."""

_BY_KEY = f"SELECT {HEAD} FROM entries e WHERE e.namespace = ? AND e.key >= ? AND e.key < ? ORDER BY e.key"  # noqa: S608
# The glob is tested on the index: SQLite reads only rows whose keys match.
_BLOCK_OF_KEYS = """
    SELECT count(*), max(key) FROM (
        SELECT key FROM entries WHERE namespace = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?
    )
"""
_BY_GLOB = f"""
    SELECT {HEAD} FROM entries e WHERE e.namespace = ? AND e.key >= ? AND e.key <= ? AND e.key GLOB ? ORDER BY e.key
"""  # noqa: S608
_BY_TAG = f"""
    SELECT {HEAD} FROM entry_tags t CROSS JOIN entries e ON e.namespace = t.namespace AND e.key = t.key
    WHERE t.tag = ? AND t.namespace = ? AND t.key >= ? AND t.key < ? ORDER BY t.key
"""  # noqa: S608 - constants only
_PROBE_TAG = """
    SELECT count(*) FROM (SELECT 1 FROM entry_tags WHERE tag = ? AND namespace = ? AND key >= ? AND key < ? LIMIT ?)
"""
_BRACKETS: Final = re.compile(r"\[!?+\]?+[^\]]*\]|\[")
_WRITTEN_BY = "SELECT 1 FROM entries WHERE id = ? AND updated_by = ?"
_WHOLE = f"SELECT {entry_rows.LISTED} FROM entries WHERE id = ?"  # noqa: S608


def search(
    db: sqlite3.Connection,
    query: Query,
    position: Position | None,
    *,
    limit: int,
    max_bytes: int,
    now: int,
    since: int = 0,
    page: SearchPage | None = None,
) -> SearchPage:
    """Return a slice of a page: at most `limit` live entries with `max_bytes` of values, or one larger entry.

    Args:
        db: a connection, in a snapshot.
        query: the query.
        position: resume position of the previous page or slice; None for the first.
        limit: maximum number of entries.
        max_bytes: maximum bytes of values.
        now: the time in milliseconds since the Unix epoch.
        since: position that the index of words should have reached; `SearchPage.fresh` tells whether it has.
        page: the page that the slice extends; None for a new page.

    Raises:
        InvalidInputError: the text is not a full-text expression.
        CorruptValueError: the value of a hit is damaged.
    """
    found = page or SearchPage(within=query.within)
    found.mode = None if query.expression is None else Mode.WORDS
    found.position, found.partial = None, False
    matches = Filter(db, query, now)
    allowance = Allowance(_MAX_SECONDS)
    ranked = Allowance(_MAX_RANKED_SECONDS)
    tested, check_at = 0, _MIN_CANDIDATES
    taken: list[tuple[tuple[Any, ...], float | None]] = []
    count, size = len(found.hits), sum(hit.entry.size for hit in found.hits)
    last = position
    with contextlib.closing(candidates_of(db, query, position, found, since)) as candidates:
        for candidate in candidates:
            limit_of_work = allowance if candidate.score is None else ranked
            if not candidate.counts:
                last = candidate.position
            due = not candidate.counts or tested >= check_at
            if due:
                check_at = tested + _CHECK_EACH
            if found.candidates >= MAX_CANDIDATES or (due and limit_of_work.spent):
                found.position, found.partial = last, True
                break
            if not candidate.counts:
                continue
            tested += candidate.counts
            found.candidates += candidate.counts
            row = candidate.row
            if row is not None and matches(row):
                if count == limit or (count and size + row[7] > max_bytes):
                    found.position = last
                    break
                taken.append((row, candidate.score))
                count += 1
                size += row[7]
            last = candidate.position
    found.hits += _hits(db, query, taken)
    return found


class Filter:
    """Tests a candidate against all conditions of the query except the text, as an index may not guarantee them."""

    def __init__(self, db: sqlite3.Connection, query: Query, now: int) -> None:
        self._db = db
        self._query = query
        self._now = now
        self._pattern = query.key_pattern()
        self._below = None if query.namespace is None or not query.subtree else query.namespace + "/"
        self._tags = frozenset(query.tags)
        self._any_tags = frozenset(query.any_tags)

    def __call__(self, row: tuple[Any, ...]) -> bool:
        """Return whether the row with these HEAD columns meets the conditions and has not expired."""
        _, namespace, key, updated_at, expires_at, tags_json, metadata_json, *_ = row
        query = self._query
        if expires_at is not None and expires_at <= self._now:
            return False
        if not covers(query.within, namespace):
            return False
        if query.namespace not in {None, namespace} and not (self._below and namespace.startswith(self._below)):
            return False
        if not key.startswith(query.prefix) or (self._pattern is not None and not self._pattern.match(key)):
            return False
        if query.updated_since is not None and updated_at < query.updated_since:
            return False
        if self._tags or self._any_tags:
            tags = set(strict_json.decode(tags_json.encode()))
            if not self._tags <= tags or (self._any_tags and self._any_tags.isdisjoint(tags)):
                return False
        if query.metadata:
            metadata = strict_json.decode(metadata_json.encode())
            if not all(name in metadata and _equal(metadata[name], value) for name, value in query.metadata.items()):
                return False
        if query.updated_by is None:
            return True
        # Not one of the HEAD columns, and tested last: SQLite must read the pages of a long value to reach this column.
        return self._db.execute(_WRITTEN_BY, (row[0], query.updated_by)).fetchone() is not None


def _equal(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal. In Python, True equals 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    return bool(left == right)


def candidates_of(
    db: sqlite3.Connection, query: Query, position: Position | None, found: SearchPage, since: int
) -> Generator[Candidate, None, None]:
    """Return the candidates of the query's plan. See by_text for the arguments."""
    ranges = ranges_of(query)
    if query.expression is not None:
        return by_text(db, query, position, found, ranges=ranges, since=since)
    if query.order is Order.UPDATED:
        return by_update(db, query, ranges, position)
    return _by_key(db, query, [("", PAST_EVERY_TEXT)] if ranges is None else ranges, position, found)


def ranges_of(query: Query) -> list[tuple[str, str | bytes]] | None:
    """Return the ranges of the names of the query's namespaces, in order; None: all namespaces."""
    roots = query.roots
    if roots is None:
        return None
    if query.namespace is not None and not query.subtree:
        return [(root, root + "\0") for root in roots]
    return [*spans(roots)]


def _by_key(
    db: sqlite3.Connection, query: Query, ranges: list[tuple[str, str | bytes]], position: Position | None,
    found: SearchPage,
) -> Generator[Candidate, None, None]:  # fmt: skip
    """Yield candidates by namespace and key. A position after each namespace lets large searches make progress."""
    _, first, after = position or ["key", "", ""]
    prefix = query.key_prefix
    end = after_prefix(prefix)
    for namespace in namespaces(db, ranges, first):
        # Keys contain no NUL, so this is the smallest text greater than `after`.
        start = max(prefix, after + "\0") if namespace == first and after else prefix
        if query.glob is not None and not query.tags and not query.any_tags:
            yield from _by_glob(db, query.glob, namespace, start, end, found)
        else:
            for row in _keys(db, query, namespace, start, end):
                yield Candidate(key_position(namespace, row[2]), row)
        # All keys of the namespace were tested: continue after the namespace.
        yield Candidate(key_position(namespace + "\0", ""), None)


def _by_glob(
    db: sqlite3.Connection, glob: str, namespace: str, start: str, end: str | bytes, found: SearchPage
) -> Generator[Candidate, None, None]:
    """Yield candidates with keys that may match the glob, and the end of each block of keys."""
    pattern = _sqlite_glob(glob)
    while True:
        most = max(1, min(_BLOCK, MAX_CANDIDATES - found.candidates))  # at the limit the next candidate ends the page
        examined, last = db.execute(_BLOCK_OF_KEYS, (namespace, start, end, most)).fetchone()
        if not examined:
            return
        matches = 0
        for row in rows(db, _BY_GLOB, (namespace, start, last, pattern)):
            matches += 1
            yield Candidate(key_position(namespace, row[2]), row)
        if examined > matches:
            yield Candidate(key_position(namespace, last), None, counts=examined - matches)
        start = last + "\0"


def _sqlite_glob(glob: str) -> str:
    """Return a pattern of SQLite's GLOB for all keys that match a glob, and perhaps others.

    Brackets become `?`, as those of SQLite have other rules. A bracket that is not closed is a character itself.
    """
    return _BRACKETS.sub("?", glob)


def _keys(
    db: sqlite3.Connection, query: Query, namespace: str, start: str, end: str | bytes
) -> Iterator[tuple[Any, ...]]:
    if query.tags:
        driver = query.tags[0]
        if len(query.tags) > 1:
            span = (namespace, start, end, _PROBE)
            driver = min(query.tags, key=lambda tag: db.execute(_PROBE_TAG, (tag, *span)).fetchall()[0][0])
        yield from rows(db, _BY_TAG, (driver, namespace, start, end))
    elif query.any_tags:
        streams = [rows(db, _BY_TAG, (tag, namespace, start, end)) for tag in query.any_tags]
        former = None
        for row in heapq.merge(*streams, key=lambda row: row[2].encode()):
            if row[2] != former:
                yield row
            former = row[2]
    else:
        yield from rows(db, _BY_KEY, (namespace, start, end))


def _hits(db: sqlite3.Connection, query: Query, taken: list[tuple[tuple[Any, ...], float | None]]) -> list[Hit]:
    entries = [(row[0], entry_rows.entry_of(db.execute(_WHOLE, (row[0],)).fetchone()), score) for row, score in taken]
    if query.expression is None:
        return [Hit(entry) for _, entry, _ in entries]
    texts = [(row_id, entry.key, index_text(entry.value_json)) for row_id, entry, _ in entries]
    shown = fulltext.extracts(query.expression, texts, language_of(db))
    return [
        Hit(entry, None if score is None else -score, shown[row_id].snippet, shown[row_id].fields)
        for row_id, entry, score in entries
        if row_id in shown
    ]
