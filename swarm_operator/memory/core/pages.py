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
"""Position after which the next page of a search starts: a JSON array whose first item is a word. All engines share the
form of positions in key order, see key_position. Each engine has its own form of other positions. A position has no
data of entries outside `Query.within`."""


def key_position(namespace: str, key: str) -> Position:
    """Return the position after a key, for a search in key order. The entry need not exist."""
    return ["key", namespace, key]


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result.

    Attributes:
        entry: the entry that matches.
        score: sort key of the hits, higher is better; None if the hits are not ranked. It is the rank of the text
            match, the cosine, or for hybrid the fused ranks, which are not a similarity.
        snippet: extract of the text around the matching words, marked with **; None if no word matched.
        matched: fields with words that match: "key", "value" or both; empty without a text query.
        words: for hybrid, the place among the matches by words, from 1; None if the words do not match.
        cosine: cosine of the angle between the vectors, -1 to 1; None if the vectors were not compared.
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
        candidates: number of entries that the step returned, all of them within SearchPage.within.
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
        fresh: False if the index lacked changes that were committed before the search.
        within: namespaces to whose subtrees the search was restricted; None: not restricted.
        mode: mode of the search; None without a text and a vector. Words in place of hybrid if the store chose so or
            its embedder failed.
        steps: the steps of a search by meaning or hybrid, in order.
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
