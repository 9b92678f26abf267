"""Tables, by rich. Every cell is text that was made harmless: neither markup nor a terminal's orders act in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_operator.cmd.memory.text import json_line, plain

_CUT: Final = frozenset({"value", "tags", "snippet", "entry", "problem", "content", "metadata", "updated_by"})
"""Columns that are cut at the width of the terminal. The other columns name an entry and are wrapped."""
_LEAST: Final = {"seq": 8, "op": 6, "version": 7, "at": 24, "updated_at": 24}
"""Columns of rows that come one by one."""
_GAP: Final = 2
_NARROWEST: Final = 10
_WIDEST: Final = 36
_UNLIMITED: Final = 1_000_000


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, header: bool) -> None:
    """Print rows under each other."""
    console = _console()
    table = _table(show_header=header)
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    heads = [Text(name.upper().replace("_", " ")) for name in columns]
    widths = _widths(columns, [heads, *cells], console.width)
    for name, head, width in zip(columns, heads, widths, strict=True):
        cut = name in _CUT
        table.add_column(head, no_wrap=cut, overflow="ellipsis" if cut else "fold", width=width)
    for row_cells in cells:
        table.add_row(*row_cells)
    console.print(table)


def _widths(columns: Sequence[str], lines: Sequence[Sequence[Text]], room: int) -> list[int]:
    """Return the width of each column: those that name an entry first, and the others share what they leave."""
    widths = [max(line[number].cell_len for line in lines) for number in range(len(columns))]
    rest = room - _GAP * len(columns)
    for number, name in enumerate(columns):
        if name not in _CUT:
            widths[number] = max(min(widths[number], _WIDEST if room < _UNLIMITED else room), _LEAST.get(name, 1))
            rest -= widths[number]
    # The narrow ones first: what they don't need is the others'.
    cut = sorted((number for number, name in enumerate(columns) if name in _CUT), key=widths.__getitem__)
    for place, number in enumerate(cut):
        widths[number] = min(widths[number], max(rest // (len(cut) - place), _NARROWEST))
        rest -= widths[number]
    return widths


def print_fields(document: Mapping[str, Any]) -> None:
    """Print a document's members, those of its members by their path."""
    table = _table(show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in _fields("", document):
        table.add_row(Text(plain(name)), _cell(value))
    _console().print(table)


def _console() -> Console:
    """Return a console as wide as the terminal. A file has no width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED)


def _table(*, show_header: bool) -> Table:
    return Table(box=None, show_header=show_header, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))


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
