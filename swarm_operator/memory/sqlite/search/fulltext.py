"""FTS5 expressions: validation, limits to namespaces, and tests of texts in an in-memory table.

FTS5 expressions have their own grammar. Each expression first runs against an empty in-memory table: an error there is
a caller error.

The in-memory table of a thread does for a few texts what the index can't do. It creates snippets, because the index is
contentless. It ranks the entries that a limited search may see, because FTS5's ranks in the index depend on all
entries. And it tests texts one by one when the index takes too long.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search.index import exact_token, subtree_token

KEY_WEIGHT: Final = 4.0
"""Weight of a match in a key; a match in a value has the weight 1."""

Texts: TypeAlias = Iterable[tuple[int, str, str]]
"""Row ID, key, and text of the value."""

_SNIPPET_WORDS: Final = 16
_NOTHING: Final = "none"
"""A token that no namespace has."""
_TABLE = "CREATE VIRTUAL TABLE page USING fts5 (key, value, tokenize = 'unicode61')"
_INSERT = "INSERT INTO page (rowid, key, value) VALUES (?, ?, ?)"
_MATCHING = "SELECT rowid FROM page WHERE page MATCH ?"
_RANKS = f"SELECT rowid, bm25(page, {KEY_WEIGHT}, 1.0) FROM page WHERE page MATCH ?"  # noqa: S608 - constants only
_SNIPPETS = f"SELECT rowid, snippet(page, -1, '**', '**', '…', {_SNIPPET_WORDS}) FROM page WHERE page MATCH ?"  # noqa: S608
_WORDS: Final = re.compile(r'(?:"[^"]*"(?: \*)?(?: |$))+')
"""Expressions of core.expressions.words: phrases that all must match."""
_PHRASE: Final = re.compile(r'("[^"]*")( \*)?')

_tables = threading.local()


def check(expression: str) -> None:
    """Check the grammar of an expression.

    Raises:
        InvalidInputError: the text is not an FTS5 expression on the columns key and value.
    """
    try:
        # Unscoped: its parentheses must not close those of scoped(). Scoped: some texts alone are FTS5 commands.
        for tried in (expression, scoped(expression, None)):
            _table().execute(_MATCHING, (tried,)).fetchall()
    except sqlite3.Error as error:
        raise InvalidInputError("match", f"a full-text expression ({error})") from None


def scope(query: Query) -> str | None:
    """Return the expression for the index that exactly the entries of the query's namespaces match; None: all do."""
    roots = query.roots
    if roots is None:
        return None
    token = subtree_token if query.namespace is None or query.subtree else exact_token
    return f"namespace : ({' OR '.join(map(token, roots)) or _NOTHING})"


def scoped(expression: str, limits: str | None) -> str:
    """Return the expression for the index: on the columns key and value, limited by an expression of `scope`."""
    text = f"{{key value}} : ({expression})"
    return text if limits is None else f"{limits} AND {text}"


def without_prefixes(expression: str) -> str | None:
    """Return a weaker expression that needs no search for prefixes; None if there is none.

    Each text that matches the expression also matches the weaker one.
    """
    if not _WORDS.fullmatch(expression):
        return None
    phrases = _PHRASE.findall(expression)
    whole = [phrase for phrase, star in phrases if not star]
    return " ".join(whole) if 0 < len(whole) < len(phrases) else None


def matching(expression: str, texts: Texts) -> set[int]:
    """Return the row IDs of the texts that match."""
    with _filled(texts) as table:
        return {row_id for (row_id,) in table.execute(_MATCHING, (expression,)).fetchall()}


def ranks(expression: str, texts: Texts) -> dict[int, float]:
    """Return the BM25 ranks of the texts that match, lowest first, by row ID. They depend on these texts only."""
    with _filled(texts) as table:
        return dict(table.execute(_RANKS, (expression,)).fetchall())


def snippets(expression: str, texts: Texts) -> dict[int, str]:
    """Return snippets of the texts that match, by row ID. Matched words are marked with **."""
    with _filled(texts) as table:
        return dict(table.execute(_SNIPPETS, (expression,)).fetchall())


@contextlib.contextmanager
def _filled(texts: Texts) -> Iterator[sqlite3.Connection]:
    """Yield the connection with this thread's table, which holds the texts inside this context."""
    table = _table()
    table.execute("BEGIN")
    try:
        table.executemany(_INSERT, texts)
        yield table
    finally:
        table.execute("ROLLBACK")


def _table() -> sqlite3.Connection:
    """Return the connection with this thread's in-memory table, which is empty."""
    table: sqlite3.Connection | None = getattr(_tables, "connection", None)
    if table is None:
        table = _tables.connection = sqlite3.connect(":memory:", isolation_level=None)
        table.execute(_TABLE)
    return table
