"""Plan of searches with a text: the full-text index, by rank, or newest first if there are too many matches.

Each statement on the index has limited work. If a statement takes too long, the search continues with another method.
Statements run mostly in native code without Python's lock, so they delay other requests little. Tests of single texts
delay others more.

An interrupted FTS5 statement can't be resumed. If the matches are not found soon, a search processes the blocks of
entries (see search.blocks), newest first. It can stop between two blocks and continue with the next slice or page.

FTS5 collects all entries with a prefix before it returns the first one: 0.1 s to 1 s for a prefix of a million entries.
If that takes too long, there are so many matches that the newest are found soon without the index. Then the search
continues without the prefixes, or without the words, and tests the texts of the entries one by one, newest first.
A search for a phrase of frequent words that never occur in one entry continues with the words of the phrase. All three
methods have the same order, so a page may begin with one method and the next page continue with another.

A search that is limited to namespaces (`Query.within`) ranks its matches in memory, from their texts alone: the ranks
of the index depend on the number and the lengths of all entries.

The index follows the changes (see search.words). For rows that have changed since, it has a former text, perhaps of
another entry: the search tests the current texts and namespaces of these rows. While the index is being built, searches
test the texts of the entries in the order of their updates.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final

from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.pages import Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import blocks, fulltext, words
from swarm_operator.memory.sqlite.search.allowance import Allowance
from swarm_operator.memory.sqlite.search.by_update import by_update
from swarm_operator.memory.sqlite.search.candidates import Candidate, by_ids, rows
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, index_text, stored_text
from swarm_operator.memory.sqlite.search.tokenizer import language_of
from swarm_operator.memory.sqlite.tables.compression import Codec

INDEX_PLANS: Final = frozenset({"newest", "words"})
"""Names of the plans that search the index of words by blocks."""
MAX_RANKED: Final = 3_000
"""Maximum number of ranked matches. With more matches, the newest come first: ranks of frequent words mean little."""
MAX_RANKED_BYTES: Final = 2 * 1024 * 1024
"""Maximum bytes of texts that a limited search ranks, about 0.1 s."""
_INDEX_SECONDS: Final = 0.01
"""Maximum work to find and rank the matches, see allowance: enough for words in some 200,000 entries."""
_PREFIX_SECONDS: Final = 0.02
"""Maximum work for expressions with prefixes, which are not searched in blocks."""
_CLOCK_SECONDS: Final = 1.5
"""Minimum wall-clock time for both."""
_CHECK_INTERVAL: Final = 200
"""Virtual machine instructions between two checks of the time limit. FTS5 runs three for each page that it reads."""
_BATCH: Final = 128
"""Maximum number of row IDs from the first statement."""
_MAX_BATCH: Final = 4096
_TESTED_AT_ONCE: Final = 32
_TESTED_BYTES: Final = 128 * 1024

_COUNT = "SELECT count(*) FROM (SELECT 1 FROM entries_text WHERE entries_text MATCH ? LIMIT ?)"
_RANKED = f"""
    SELECT bm25(entries_text, 0.0, {fulltext.KEY_WEIGHT}, 1.0), rowid FROM entries_text WHERE entries_text MATCH ?
"""  # noqa: S608 - constants only
_RANKED_BY = f"{_RANKED} AND +rowid IN (SELECT rowid FROM entries_text WHERE entries_text MATCH ?)"  # noqa: S608
_TEXT = f"e.key, CASE e.codec WHEN 0 THEN substr(e.value, 1, {MAX_TEXT_BYTES}) ELSE e.value END, e.codec, e.size"
_MATCHES = f"""
    SELECT e.id, {_TEXT}, e.namespace FROM entries_text t CROSS JOIN entries e ON e.id = t.rowid
    WHERE entries_text MATCH ? LIMIT ?
"""  # noqa: S608
_TEXT_BY_ID = f"SELECT e.id, {_TEXT} FROM entries e WHERE e.id = ?"  # noqa: S608
_NEWEST = "SELECT rowid FROM entries_text WHERE entries_text MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
_NEWEST_OF_ALL = "SELECT id FROM entries WHERE id < ? ORDER BY id DESC LIMIT ?"
_ID = "SELECT id, created_at FROM entries WHERE namespace = ? AND key = ?"
_LAST_ID = "SELECT coalesce(max(id), 0) FROM entries"
_FROM_ID = "SELECT id, created_at FROM entries WHERE id >= ? ORDER BY id LIMIT 1"


class _OutOfTimeError(Exception):
    """The statements on the index took too long."""


def by_text(
    db: sqlite3.Connection,
    query: Query,
    position: Position | None,
    found: SearchPage,
    *,
    ranges: list[tuple[str, str | bytes]] | None,
    since: int,
) -> Generator[Candidate, None, None]:
    """Yield candidates whose texts match, the best or the newest first.

    Args:
        db: a connection.
        query: a query with a text.
        position: resume position of the page before.
        found: the page; `ranked` and `fresh` are set before the first candidate.
        ranges: ranges of the query's namespaces; None: all namespaces.
        since: position of the last change that the index should have.

    Raises:
        InvalidInputError: the text is not an FTS5 expression.
    """
    expression = query.expression or ""
    fulltext.check(expression)
    plan, *place = position or ["rank"]
    index = words.state(db)
    building = index.built is not None
    found.fresh = building or index.position >= since
    if building or plan == "updated":
        found.ranked = False
        candidates = by_update(db, query, ranges, position if plan == "updated" else None)
        yield from _matching(db, expression, candidates)
        return
    stale = words.replaced(db)
    if plan == "rank":
        try:
            ranked = _ranked(db, query, expression, stale)
        except _OutOfTimeError:
            ranked, plan = None, "words" if fulltext.has_prefixes(expression) else "newest"
        if ranked is not None:
            yield from _current(db, query, _in_order(db, ranked, place), stale, [plan, *place])
            return
        # After a page in the order of ranks, some entries are repeated: too many entries were written between the
        # pages.
        plan, place = "newest" if plan == "rank" else plan, []
        found.ranked = False
        yield Candidate([plan], None, counts=0)
    found.ranked = False
    yield from _current(db, query, _newest(db, query, plan, place), stale, [plan, *place])


def _current(
    db: sqlite3.Connection,
    query: Query,
    candidates: Iterable[Candidate],
    stale: frozenset[int],
    position: Position,
) -> Iterator[Candidate]:
    """Yield the candidates. Test the current text of rows that have a former text in the index.

    The row ID of a deleted entry may belong to another entry, perhaps in a namespace that is not searched. Such a
    candidate has neither a row nor a place, like a deleted entry.
    """
    for candidate in candidates:
        row = candidate.row
        if row is None or row[0] not in stale:  # an intermediate position has no row
            position = candidate.position
            yield candidate
        elif covers(query.within, row[1]):
            position = candidate.position
            text = _text(db.execute(_TEXT_BY_ID, (row[0],)).fetchone())
            matches = fulltext.matching(query.expression or "", [text], language_of(db))
            yield candidate if matches else candidate._replace(row=None)
        else:
            yield Candidate(position, None, candidate.score)


def _matching(db: sqlite3.Connection, expression: str, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates, without their rows if their texts do not match."""
    waiting: list[Candidate] = []
    size = 0

    def tested() -> Iterator[Candidate]:
        rows = (db.execute(_TEXT_BY_ID, (each.row[0],)).fetchone() for each in waiting if each.row is not None)
        matching = fulltext.matching(expression, [_text(row) for row in rows], language_of(db))
        for each in waiting:
            yield each if each.row is not None and each.row[0] in matching else each._replace(row=None)

    for candidate in candidates:
        waiting.append(candidate)
        size += 0 if candidate.row is None else candidate.row[7]
        if len(waiting) == _TESTED_AT_ONCE or size >= _TESTED_BYTES:
            yield from tested()
            waiting, size = [], 0
    yield from tested()


def _ranked(
    db: sqlite3.Connection, query: Query, expression: str, stale: frozenset[int]
) -> list[tuple[float, int]] | None:
    """Return the rank and row ID of each match, best first; None if there are too many.

    Raises:
        _OutOfTimeError: the search for matches takes too long.
    """
    limits = fulltext.scope(query)
    matching = fulltext.scoped(expression, limits)
    with _time_limit(db, expression):
        if query.within is not None:
            return _ranked_by_own_texts(db, query, expression, matching, stale)
        phrases = fulltext.phrases(expression)
        single = len(phrases) == 1
        # Each match has a single phrase. So if it is rare, there are few matches.
        rare = _rare(db, phrases) if single else []
        if not rare and _count(db, matching) > MAX_RANKED:
            return None
        # FTS5 counts all entries with each word for a rank, also those in the namespace. So the rare words alone rank.
        if not single:
            rare = _rare(db, phrases)
    with contextlib.suppress(_OutOfTimeError), _time_limit(db, expression):
        if rare and (limits is not None or len(rare) < len(phrases)):
            found = db.execute(_RANKED_BY, (fulltext.scoped(" ".join(rare), None), matching))
        else:
            found = db.execute(_RANKED, (matching,))
        return sorted(found.fetchall())
    return None


def _rare(db: sqlite3.Connection, phrases: list[str]) -> list[str]:
    """Return the phrases that at most MAX_RANKED entries have."""
    return [each for each in phrases if _count(db, fulltext.scoped(each, None)) <= MAX_RANKED]


def _count(db: sqlite3.Connection, matching: str) -> int:
    """Return the number of matches, or MAX_RANKED + 1 if there are more."""
    count: int = db.execute(_COUNT, (matching, MAX_RANKED + 1)).fetchone()[0]
    return count


def _ranked_by_own_texts(
    db: sqlite3.Connection, query: Query, expression: str, matching: str, stale: frozenset[int]
) -> list[tuple[float, int]] | None:
    texts: list[tuple[int, str, str]] = []
    size = 0
    for *row, namespace in rows(db, _MATCHES, (matching, MAX_RANKED + 1)):
        if row[0] in stale and not covers(query.within, namespace):
            continue
        texts.append(_text(tuple(row)))
        size += _cost(tuple(row))
        if len(texts) > MAX_RANKED or (size > MAX_RANKED_BYTES and len(texts) > 1):
            return None
    scores = fulltext.ranks(expression, texts, language_of(db))
    return sorted((scores.get(row_id, 0.0), row_id) for row_id, *_ in texts)


def _in_order(
    db: sqlite3.Connection, ranked: list[tuple[float, int]], place: list[Any]
) -> Generator[Candidate, None, None]:
    """Yield the candidates after a place: rank, namespace and key."""
    after: tuple[float, int] = (float("-inf"), 0)
    if place:
        score, namespace, key = place
        known = db.execute(_ID, (namespace, key)).fetchone()
        # If the entry was deleted, entries of the same rank are repeated.
        after = (score, known[0] if known is not None else 0)
    behind = ranked[bisect.bisect_right(ranked, after) :]
    for (score, _), (_, row) in zip(behind, by_ids(db, [row_id for _, row_id in behind]), strict=True):
        if row is not None:
            place = [score, row[1], row[2]]
        yield Candidate(["rank", *place], row, score)


def _newest(db: sqlite3.Connection, query: Query, plan: str, place: list[Any]) -> Generator[Candidate, None, None]:
    """Yield the candidates after a place, newest first.

    A place is the time of creation, the namespace and the key of an entry, or the first row ID of a block.
    """
    expression = query.expression or ""
    limits = fulltext.scope(query)
    ways = {"newest": expression, "words": fulltext.weaker(expression), "scan": None}
    before = _row_behind(db, *place) if place else 2**62
    for name in list(ways)[list(ways).index(plan) :]:
        sought = ways[name]
        if name == "words" and sought is None:
            continue
        try:
            for found, end in _batches(db, sought, limits, before):
                tested = ((row_id, row, True) for row_id, row in by_ids(db, found))
                for row_id, row, matches in tested if name == "newest" else _tested(db, expression, found):
                    if row is not None:
                        place = [row[8], row[1], row[2]]
                    yield Candidate([name, *place], row if matches else None)
                    before = row_id
                if end:  # there may be entries below it
                    before, place = end, [end]
                    yield Candidate([name, end], None, counts=0)
        except _OutOfTimeError:
            continue
        return


def _batches(
    db: sqlite3.Connection, sought: str | None, limits: str | None, before: int
) -> Iterator[tuple[list[int], int | None]]:
    """Yield row IDs below `before` in batches, highest first, each with the start of its block if the block has ended.

    Args:
        db: a connection.
        sought: expression that the texts must match; None: every text matches.
        limits: expression that limits the rows to namespaces.
        before: upper bound of the row IDs.

    Raises:
        _OutOfTimeError: a statement takes too long. The row IDs found before were yielded.
    """
    most = _BATCH
    while (newest := blocks.last(db, before)) is not None:
        block = None
        if sought is None:
            matching = limits
        else:
            if not fulltext.has_prefixes(sought):
                block = blocks.limited(sought, newest, limits)
            matching = block or fulltext.scoped(sought, limits)
        sql, parameters = (_NEWEST_OF_ALL, ()) if matching is None else (_NEWEST, (matching,))
        found: list[int] = []
        slow: _OutOfTimeError | None = None
        try:
            with contextlib.nullcontext() if sought is None else _time_limit(db, sought):
                found.extend(row_id for (row_id,) in rows(db, sql, (*parameters, before, most)))
        except _OutOfTimeError as error:
            slow = error
        ended = slow is None and len(found) < most
        yield found, blocks.start(newest) if ended and block else None
        if slow is not None:
            raise slow
        if ended and not block:
            return
        before = blocks.start(newest) if ended else found[-1]
        most = min(most * 4, _MAX_BATCH)


def _tested(
    db: sqlite3.Connection, expression: str, found: Iterable[int]
) -> Iterator[tuple[int, tuple[Any, ...] | None, bool]]:
    """Yield the row IDs with their rows (None: deleted) and whether their current texts match."""
    texts: list[tuple[int, str, str]] = []
    size = 0

    def tested() -> Iterator[tuple[int, tuple[Any, ...] | None, bool]]:
        matching = fulltext.matching(expression, texts, language_of(db))
        for row_id, row in by_ids(db, [row_id for row_id, *_ in texts]):
            yield row_id, row, row_id in matching

    for row_id in found:
        row = db.execute(_TEXT_BY_ID, (row_id,)).fetchone()
        if row is not None:
            texts.append(_text(row))
            size += _cost(row)
        if len(texts) == _TESTED_AT_ONCE or size >= _TESTED_BYTES:
            yield from tested()
            texts, size = [], 0
    yield from tested()


def _text(row: tuple[Any, ...]) -> tuple[int, str, str]:
    """Return the row ID, key and indexed text of a row; the text is empty for a damaged value."""
    row_id, key, value, codec, size = row
    return row_id, key, index_text(stored_text(value, codec, size) or b"")


def _cost(row: tuple[Any, ...]) -> int:
    """Return the number of bytes to read or decompress for a row's text."""
    codec: int
    size: int
    *_, codec, size = row
    return size if codec != Codec.PLAIN else min(size, MAX_TEXT_BYTES)


def _row_behind(db: sqlite3.Connection, created_at: int, namespace: str | None = None, key: str = "") -> int:
    """Return the row ID of an entry; for a deleted entry, the lowest row ID of the entries created after it.

    Row IDs grow with the times of creation. A place without a namespace is a row ID.
    """
    if namespace is None:
        return created_at
    known = db.execute(_ID, (namespace, key)).fetchone()
    if known is not None and known[1] == created_at:
        return int(known[0])
    low: int = 0
    high: int = db.execute(_LAST_ID).fetchone()[0] + 1
    while low < high:
        middle = (low + high) // 2
        row_id, created = db.execute(_FROM_ID, (middle,)).fetchone() or (0, created_at + 1)
        low, high = (low, middle) if created > created_at else (row_id + 1, high)
    return low


@contextlib.contextmanager
def _time_limit(db: sqlite3.Connection, expression: str) -> Iterator[None]:
    """Interrupt the SQL statements of the block when they take too long. Raise _OutOfTimeError."""
    seconds = _PREFIX_SECONDS if fulltext.has_prefixes(expression) else _INDEX_SECONDS
    allowance = Allowance(seconds, clock=_CLOCK_SECONDS)
    db.set_progress_handler(lambda: int(allowance.spent), _CHECK_INTERVAL)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise _OutOfTimeError from None
        raise
    finally:
        db.set_progress_handler(None, 0)
