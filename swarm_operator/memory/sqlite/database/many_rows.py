"""Statements that take many rows at once.

SQLite takes half as long for one statement on 100 rows as for a statement on each: triggers, and the copies of pages
that undo a failed statement, are set up once. Python's lock is taken once, too. docs/benchmarks.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from swarm_operator.memory.sqlite.database.driver import sqlite3

_SIZES: Final = (100, 32, 16, 8, 4, 2, 1)
"""Rows of a statement. SQLite compiles each statement once, so there are few sizes."""


class RowsStatement:
    """A statement with a list of rows as its parameters.

    Args:
        before: SQL in front of the list of rows.
        columns: number of values of a row.
        after: SQL behind it.
    """

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = [(size, f"{before} VALUES {', '.join([row] * size)} {after}") for size in _SIZES]

    def execute(self, db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Execute the statement for all rows, in their order. Return what it selects."""
        found: list[tuple[Any, ...]] = []
        start = 0
        for size, sql in self._statements:
            while len(rows) - start >= size:
                found += db.execute(sql, [*chain.from_iterable(rows[start : start + size])]).fetchall()
                start += size
        return found
