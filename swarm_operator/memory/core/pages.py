"""Pages: the parts in which lists and searches are answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swarm_operator.memory.core.entry import Entry


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list.

    Attributes:
        entries: in the order of their keys (UTF-8 bytes).
        next_key: the key after which the next page starts; None when this is the last page.
    """

    entries: list[Entry]
    next_key: str | None


@dataclass(frozen=True, slots=True)
class NamespaceCount:
    """What lives in a namespace: entries, and bytes of their values."""

    namespace: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """Part of the namespaces.

    Attributes:
        namespaces: by name (UTF-8 bytes).
        next_name: the name after which the next page starts; None when this is the last page.
    """

    namespaces: list[NamespaceCount]
    next_name: str | None


Position = list[Any]
"""Where a page of a search ended; the next page starts behind it. A JSON array whose first item is a word. Positions in
the order of keys have a form that all engines share, see key_position; the form of others is the engine's own."""


def key_position(namespace: str, key: str) -> Position:
    """Return the position behind a key, for a search in the order of keys. There need not be such an entry."""
    return ["key", namespace, key]


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found.

    Attributes:
        entry: it.
        score: of its text; the greater the better; None where nothing was ranked.
        snippet: an extract of its text around the words found, marked with **; None without a text.
    """

    entry: Entry
    score: float | None = None
    snippet: str | None = None


@dataclass(slots=True)
class SearchPage:
    """A page.

    Attributes:
        hits: in order.
        position: where to go on; None: that was all.
        partial: the page ended for the time or the candidates that it took, and not because it was full.
        ranked: False when so many match the text that the newest come first in place of the best.
        candidates: entries that were looked at.
        within: only these namespaces and those below them were searched; None: all that the query asks for.
    """

    hits: list[Hit] = field(default_factory=list)
    position: Position | None = None
    partial: bool = False
    ranked: bool = True
    candidates: int = 0
    within: tuple[str, ...] | None = None
