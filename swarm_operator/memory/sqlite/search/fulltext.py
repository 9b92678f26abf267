"""FTS5 expressions: validation, limits to namespaces, and tests of texts in an in-memory table.

Arguments are unchanged texts and expressions; this module converts them to the form of the index, with the parts of
identifiers (see search.identifiers).

FTS5 expressions have their own grammar. Each expression first runs against an empty in-memory table: an error there is
a caller error.

Each thread has an in-memory table for operations that the index can't do. It creates snippets, because the index is
contentless. It ranks the entries of a limited search, because FTS5's ranks in the index depend on all entries. It tests
texts one by one if the index takes too long.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import identifiers
from swarm_operator.memory.sqlite.search.identifiers import END, MARK, asked, expanded
from swarm_operator.memory.sqlite.search.index import exact_token, subtree_token
from swarm_operator.memory.sqlite.search.tokenizer import NO_LANGUAGE, TOKENIZERS

KEY_WEIGHT: Final = 4.0
"""Weight of a match in a key; a match in a value has the weight 1."""

Texts: TypeAlias = Iterable[tuple[int, str, str]]
"""Row ID, key, and text of the value."""

_SNIPPET_WORDS: Final = 16
_NOTHING: Final = "none"
"""A token of no namespace."""
_TABLE = "CREATE VIRTUAL TABLE page USING fts5 (key, value, tokenize = '{}')"
_INSERT = "INSERT INTO page (rowid, key, value) VALUES (?, ?, ?)"
_MATCHING = "SELECT rowid FROM page WHERE page MATCH ?"
_RANKS = f"SELECT rowid, bm25(page, {KEY_WEIGHT}, 1.0) FROM page WHERE page MATCH ?"  # noqa: S608 - constants only
_SNIPPET = f"snippet(page, -1, ?, ?, '…', {_SNIPPET_WORDS})"
_SNIPPETS = f"SELECT rowid, {_SNIPPET} FROM page WHERE page MATCH ?"  # noqa: S608 - constants only
# A text with marks differs from the original.
_EXTRACTS = f"""
    SELECT rowid, {_SNIPPET}, highlight(page, 0, '*', '') <> key, highlight(page, 1, '*', '') <> value
    FROM page WHERE page MATCH ?
"""  # noqa: S608
_WORDS: Final = re.compile(r'(?:"[^"]*"(?: \*)?(?: |$))+')
"""Matches expressions of core.expressions.words: phrases that must all match."""
_QUOTED: Final = re.compile(r'"[^"]*"')
_PHRASE: Final = re.compile(r'("[^"]*")( \*)?')

_FIELDS: Final = ("key", "value")

_tables = threading.local()


class Extract(NamedTuple):
    """A match in a text.

    Attributes:
        snippet: words around the matching words, which are marked with **.
        fields: fields with matching words: "key", "value" or both.
    """

    snippet: str
    fields: tuple[str, ...]


def check(expression: str) -> None:
    """Check the grammar of an expression.

    Raises:
        InvalidInputError: the text is not an FTS5 expression on the columns key and value.
    """
    try:
        # Unscoped: its parentheses must not close those of scoped(). Scoped: some texts alone are FTS5 commands.
        for tried in (expression, scoped(expression, None)):
            _table(NO_LANGUAGE).execute(_MATCHING, (tried,)).fetchall()
    except sqlite3.Error as error:
        raise InvalidInputError("match", f"a full-text expression ({error})") from None


def scope(query: Query) -> str | None:
    """Return the expression for the index that matches the query's namespaces; None for all namespaces."""
    roots = query.roots
    if roots is None:
        return None
    token = subtree_token if query.namespace is None or query.subtree else exact_token
    return f"namespace : ({' OR '.join(map(token, roots)) or _NOTHING})"


def scoped(expression: str, limits: str | None) -> str:
    """Return the expression for the index: on the columns key and value, limited by an expression of `scope`."""
    text = f"{{key value}} : ({asked(expression)})"
    return text if limits is None else f"{limits} AND {text}"


def weaker(expression: str) -> str | None:
    """Return a weaker expression, without prefixes and with the single words of phrases; None if nothing is left.

    Each text that matches the expression also matches the weaker one.
    """
    whole = [phrase.strip('"').split() for phrase in phrases(expression) if not phrase.endswith("*")]
    found = " ".join(f'"{word}"' for phrase in whole for word in phrase)
    return found if found and found != expression else None


def phrases(expression: str) -> list[str]:
    """Return the phrases that must all match, with their stars; an empty list for an expression of another form."""
    return [phrase + star for phrase, star in _PHRASE.findall(expression)] if _WORDS.fullmatch(expression) else []


def has_prefixes(expression: str) -> bool:
    """Return whether the expression has a prefix. It may also return True for any other star."""
    return "*" in _QUOTED.sub("", expression)


def matching(expression: str, texts: Texts, language: str) -> set[int]:
    """Return the row IDs of the texts that match."""
    with _filled(_expanded(texts), language) as table:
        return {row_id for (row_id,) in table.execute(_MATCHING, (asked(expression),)).fetchall()}


def ranks(expression: str, texts: Texts, language: str) -> dict[int, float]:
    """Return the BM25 ranks of the texts that match, lowest first, by row ID. The ranks depend on these texts only."""
    with _filled(_expanded(texts), language) as table:
        return dict(table.execute(_RANKS, (asked(expression),)).fetchall())


def extracts(expression: str, texts: Sequence[tuple[int, str, str]], language: str) -> dict[int, Extract]:
    """Return extracts of the texts that match, by row ID."""
    question = asked(expression)
    snippets: dict[int, str] = {}
    fields: dict[int, tuple[str, ...]] = {}
    with _filled(_expanded(texts), language) as table:
        for row_id, snippet, *there in table.execute(_EXTRACTS, (MARK, END, question)).fetchall():
            snippets[row_id] = snippet
            fields[row_id] = tuple(itertools.compress(_FIELDS, there))
    left = [
        (row_id, key, value)
        for row_id, key, value in texts
        if row_id in fields and identifiers.has_identifier(key + " " + value)
    ]
    # First without the parts of identifiers, then with the parts, and finally without phrases that the parts split.
    for form, wanted in (
        (str, question),
        (identifiers.inlined, question),
        (identifiers.inlined, identifiers.any_of(question)),
    ):
        if not left:
            break
        with _filled([(row_id, form(key), form(value)) for row_id, key, value in left], language) as table:
            found = dict(table.execute(_SNIPPETS, (MARK, END, wanted)).fetchall())
        snippets |= found
        left = [text for text in left if text[0] not in found]
    return {
        row_id: Extract(identifiers.shown(snippets[row_id]).replace(MARK, "**").replace(END, "**"), matched)
        for row_id, matched in fields.items()
    }


def _expanded(texts: Texts) -> Texts:
    return ((row_id, expanded(key), expanded(value)) for row_id, key, value in texts)


@contextlib.contextmanager
def _filled(texts: Texts, language: str) -> Iterator[sqlite3.Connection]:
    """Yield the connection with this thread's table of a language, which holds the texts inside this context."""
    table = _table(language)
    table.execute("BEGIN")
    try:
        table.executemany(_INSERT, texts)
        yield table
    finally:
        table.execute("ROLLBACK")


def _table(language: str) -> sqlite3.Connection:
    """Return the connection with this thread's in-memory table of a language, which is empty."""
    tables: dict[str, sqlite3.Connection] = _tables.__dict__
    if language not in tables:
        table = tables[language] = sqlite3.connect(":memory:", isolation_level=None)
        table.execute(_TABLE.format(TOKENIZERS[language]))
    return tables[language]
