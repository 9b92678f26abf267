"""Validation of FTS5 expressions, and snippets of the matching texts.

FTS5 expressions have their own grammar. Each expression first runs against an empty in-memory table: an error there is
a caller error. The in-memory table also creates snippets of the texts of a page, because the contentless index cannot.
Texts that do not match in this table are left out of the page.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.sqlite.database.driver import sqlite3

_SNIPPET_WORDS: Final = 16
_TABLE = "CREATE VIRTUAL TABLE page USING fts5 (key, value, tokenize = 'unicode61')"
_TRY = "SELECT rowid FROM page WHERE page MATCH ? LIMIT 1"
_SNIPPETS = f"SELECT rowid, snippet(page, -1, '**', '**', '…', {_SNIPPET_WORDS}) FROM page WHERE page MATCH ?"  # noqa: S608

_tables = threading.local()


def check(expression: str) -> None:
    """Check the grammar of an expression.

    Raises:
        InvalidInputError: the text is not an FTS5 expression on the columns key and value.
    """
    try:
        # Unscoped: its parentheses must not close those of scoped(). Scoped: some texts alone are FTS5 commands.
        for tried in (expression, scoped(expression, None)):
            _table().execute(_TRY, (tried,)).fetchall()
    except sqlite3.Error as error:
        raise InvalidInputError("match", f"a full-text expression ({error})") from None


def scoped(text: str, namespace: str | None) -> str:
    """Return the expression for the index, limited to a namespace and its descendants by their words.

    The expression may match other namespaces (`a.b` for `a:b`); the search filters them out.
    """
    within = f"{{key value}} : ({text})"
    # A namespace without letters and digits has no searchable token.
    if namespace is None or not re.search(r"[0-9A-Za-z]", namespace):
        return within
    phrase = namespace.replace('"', '""')
    return f'namespace : ^ "{phrase}" AND {within}'


def snippets(text: str, page: Iterable[tuple[int, str, str]]) -> dict[int, str]:
    """Return snippets by rowid for matching (rowid, key, text) tuples. Matched words are marked with **."""
    table = _table()
    table.execute("DELETE FROM page")
    table.executemany("INSERT INTO page (rowid, key, value) VALUES (?, ?, ?)", page)
    found = dict(table.execute(_SNIPPETS, (text,)).fetchall())
    table.execute("DELETE FROM page")
    return found


def _table() -> sqlite3.Connection:
    """Return the connection with this thread's in-memory table."""
    table: sqlite3.Connection | None = getattr(_tables, "connection", None)
    if table is None:
        table = _tables.connection = sqlite3.connect(":memory:", isolation_level=None)
        table.execute(_TABLE)
    return table
