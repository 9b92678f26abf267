"""Full-text expressions, and what the page of a search shows of the texts that they match.

The words of a caller are never SQL, but an FTS5 expression has a grammar of its own, so each is tried on an empty table
in memory before it goes to the real one: what fails there is the caller's mistake. The same table, filled with a page's
texts, makes their snippets, which a table without texts can't, and leaves out what does not match after all.
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
        InvalidInputError: it is not an FTS5 expression on the columns key and value.
    """
    try:
        # Alone, since its parentheses must not close ours; and scoped, since some texts are commands when alone.
        for tried in (expression, scoped(expression, None)):
            _table().execute(_TRY, (tried,)).fetchall()
    except sqlite3.Error as error:
        raise InvalidInputError("match", f"a full-text expression ({error})") from None


def scoped(text: str, namespace: str | None) -> str:
    """The expression for the real table: within a namespace, or one below it, as far as words can tell.

    It may find a namespace too many (`a.b` for `a:b`), which the search then leaves out.
    """
    within = f"{{key value}} : ({text})"
    # A namespace without a letter or digit is no phrase that could be found.
    if namespace is None or not re.search(r"[0-9A-Za-z]", namespace):
        return within
    phrase = namespace.replace('"', '""')
    return f'namespace : ^ "{phrase}" AND {within}'


def snippets(text: str, page: Iterable[tuple[int, str, str]]) -> dict[int, str]:
    """Of (number, key, text): an extract around the words found, marked with **, for those that match."""
    table = _table()
    table.execute("DELETE FROM page")
    table.executemany("INSERT INTO page (rowid, key, value) VALUES (?, ?, ?)", page)
    found = dict(table.execute(_SNIPPETS, (text,)).fetchall())
    table.execute("DELETE FROM page")
    return found


def _table() -> sqlite3.Connection:
    """This thread's table."""
    table: sqlite3.Connection | None = getattr(_tables, "connection", None)
    if table is None:
        table = _tables.connection = sqlite3.connect(":memory:", isolation_level=None)
        table.execute(_TABLE)
    return table
