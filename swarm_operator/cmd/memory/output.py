"""How a command prints: tables to a person, lines of JSON to a program.

Which of the two is decided by `--output`, and by default by whether standard output is a terminal. The library that
makes tables is loaded when one is printed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.cmd.memory.text import json_line

FORMATS: Final = ("auto", "table", "json")
_AT_ONCE: Final = 500
"""Rows of a table that are held to find its columns' widths; as kubectl does, each such part has widths of its own."""


class Output:
    """Prints what a command has to say.

    Args:
        form: one of FORMATS; auto is a table on a terminal.
        columns: of the table that rows make, as names of their members.
    """

    def __init__(self, form: str, columns: Sequence[str] = ()) -> None:
        # Without the package for tables, which the client alone does not bring, a terminal gets JSON, too.
        tables = form == "auto" and sys.stdout.isatty() and importlib.util.find_spec("rich") is not None
        self._table = form == "table" or tables
        self._columns = columns
        self._rows: list[Any] = []
        self._headed = False

    def document(self, document: Any) -> None:
        """Print one that stands alone."""
        if not self._table:
            print(json_line(document))  # noqa: T201 - this is a command line
            return
        from swarm_operator.cmd.memory import tables  # noqa: PLC0415 - only people pay for it

        tables.print_fields(document)

    def row(self, document: Any) -> None:
        """Print one of many."""
        if not self._table:
            print(json_line(document))  # noqa: T201
            return
        self._rows.append(document)
        if len(self._rows) == _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Print what is held."""
        if self._rows:
            from swarm_operator.cmd.memory import tables  # noqa: PLC0415

            tables.print_rows(self._columns, self._rows, header=not self._headed)
            self._headed = True
            self._rows.clear()
        sys.stdout.flush()
