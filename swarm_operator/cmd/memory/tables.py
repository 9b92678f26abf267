"""Tables, by rich. Every cell is text that was made harmless: neither markup nor a terminal's orders act in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_operator.cmd.memory.text import json_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["print_fields", "print_rows"]

_CUT: Final = frozenset({"value", "tags", "snippet", "entry", "problem", "content", "metadata"})
"""Columns that are cut where the terminal ends; the others, by which an entry is named, go on in the next line."""
_LEAST: Final = {"seq": 8, "op": 6, "version": 7, "at": 24, "updated_at": 24}
"""Columns of rows that come one by one."""


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, header: bool) -> None:
    """Print rows under each other."""
    table = _table(show_header=header)
    for name in columns:
        cut = name in _CUT
        table.add_column(
            name.upper().replace("_", " "),
            no_wrap=cut,
            overflow="ellipsis" if cut else "fold",
            min_width=_LEAST.get(name),
        )
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    Console(highlight=False).print(table)


def print_fields(document: Mapping[str, Any]) -> None:
    """Print a document's members, those of its members by their path."""
    table = _table(show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in _fields("", document):
        table.add_row(Text(plain(name)), _cell(value))
    Console(highlight=False).print(table)


def _table(*, show_header: bool) -> Table:
    return Table(box=None, show_header=show_header, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))


def _fields(path: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        # What is stored is a value, however it looks inside.
        if isinstance(value, dict) and value and name not in _CUT:
            yield from _fields(f"{path}{name}.", value)
        else:
            yield f"{path}{name}", value


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-")
    return Text(plain(value if isinstance(value, str) else json_line(value)))
