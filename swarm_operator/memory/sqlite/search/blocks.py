"""Blocks of entries, which bound the work of a statement on the index of words.

FTS5 does not end a statement at a row ID while nothing matches: it searches all entries for a phrase, or for `a NOT b`.
It does end when one of the lists of an AND has ended. So each entry has a token of its block, a range of row IDs, in
the column `namespace`, and each phrase of an expression is combined with this token:

    expression      a NOT "b c"
    in a block      (namespace : b7x AND {key value} : (a)) NOT (namespace : b7x AND {key value} : ("b c"))

FTS5 collects all entries with a prefix before it returns the first one. A block does not bound this work.
"""

from __future__ import annotations

import re
from typing import Final

from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search.identifiers import RUN, asked

_BITS: Final = 14
"""Low bits of the row ID, which are not part of the block's number. A word in all of 16,384 entries takes some 2 ms."""

_GROUP_OF_COLUMNS: Final = re.compile(r":[ \t\n\r]*\(")
_QUOTED: Final = re.compile(r'"[^"]*"')
_LAST = "SELECT id FROM entries WHERE id < ? ORDER BY id DESC LIMIT 1"


def token_sql(row_id: str) -> str:
    """Return the SQL of the token of a row's block. The token ends in x, which no stemmer removes."""
    return f"'b' || ({row_id} >> {_BITS}) || 'x'"


def token(row_id: int) -> str:
    """Return the token of a row's block."""
    return f"b{row_id >> _BITS}x"


def last(db: sqlite3.Connection, before: int) -> int | None:
    """Return the highest row ID of an entry below `before`; None if there is none."""
    found = db.execute(_LAST, (before,)).fetchone()
    return None if found is None else found[0]


def start(row_id: int) -> int:
    """Return the lowest row ID of a row's block."""
    return row_id >> _BITS << _BITS


def limited(expression: str, row_id: int, limits: str | None) -> str | None:
    """Return the expression for the index, limited to entries of the row's block.

    Args:
        expression: an expression accepted by FTS5.
        row_id: the row.
        limits: expression of fulltext.scope, which limits the search to namespaces.

    Returns:
        None if the expression can't be limited, because a group in it is limited to columns.
    """
    if _GROUP_OF_COLUMNS.search(_QUOTED.sub("", expression)):
        return None
    prefix = f"(namespace : {token(row_id)} AND {{key value}} : ("
    text = RUN.sub(lambda run: f"{prefix}{run[0]}))", asked(expression))
    return text if limits is None else f"{limits} AND ({text})"
