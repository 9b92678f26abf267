"""Pages of lists and searches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.core.query import Mode


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list.

    Attributes:
        entries: in key order (UTF-8 bytes).
        next_key: the key after which the next page starts; None on the last page.
    """

    entries: list[Entry]
    next_key: str | None


@dataclass(frozen=True, slots=True)
class NamespaceCount:
    """Number of live entries in a namespace, and bytes of their values."""

    namespace: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """A page of namespaces.

    Attributes:
        namespaces: in name order (UTF-8 bytes).
        next_name: the name after which the next page starts; None on the last page.
    """

    namespaces: list[NamespaceCount]
    next_name: str | None


Position = list[Any]
"""Where a page of a search ended; the next page starts behind it. A JSON array whose first item is a word. Positions in
the order of keys have a form that all engines share, see key_position; the form of others is the engine's own. A
position holds nothing of entries outside `Query.within`."""


def key_position(namespace: str, key: str) -> Position:
    """Return the position behind a key, for a search in the order of keys. There need not be such an entry."""
    return ["key", namespace, key]


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result.

    Attributes:
        entry: the entry that matches.
        score: what the hits are ordered by, higher is better; None if they are not ranked. The mode says what it is:
            the rank of the text match, the cosine, or for hybrid the fused ranks, which are no similarity.
        snippet: extract of the text around the matching words, marked with **; None if no word was searched or matched.
        matched: fields with words that match: "key", "value" or both; empty without a text query.
        words: for hybrid, the place among the matches by words, from 1; None: the entry is none of them.
        cosine: cosine of the angle between the vectors, -1 to 1; None: it was not compared.
    """

    entry: Entry
    score: float | None = None
    snippet: str | None = None
    matched: tuple[str, ...] = ()
    words: int | None = None
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a search by meaning or hybrid, for `explain`.

    Attributes:
        name: embed, words, meaning, rescore, fuse or entries.
        candidates: number of entries that it returned, all of them within SearchPage.within.
        seconds: duration.
    """

    name: str
    candidates: int
    seconds: float


@dataclass(slots=True)
class SearchPage:
    """A page of search results.

    Attributes:
        hits: in the query's order.
        position: resume position of the next page; None on the last page.
        partial: True if the page ended at the time or candidate limit before it was full.
        ranked: False if too many entries match the text: the newest then come first instead of the best.
        candidates: number of entries that were examined, all of them within `within`.
        fresh: False if the search was answered before the index had all changes that were committed before it.
        within: namespaces to whose subtrees the search was restricted; None: not restricted.
        mode: how the text or the vector was searched; None if there was none. Words in place of hybrid, where the
            store chose or its embedder failed.
        steps: what a search by meaning or hybrid did, in order.
    """

    hits: list[Hit] = field(default_factory=list)
    position: Position | None = None
    partial: bool = False
    ranked: bool = True
    candidates: int = 0
    fresh: bool = True
    within: tuple[str, ...] | None = None
    mode: Mode | None = None
    steps: list[Step] = field(default_factory=list)
