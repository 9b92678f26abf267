"""Results of the client's calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EntryHead:
    """Result of a write. Times are RFC 3339; `raw` is the received document."""

    raw: Mapping[str, Any]

    @property
    def version(self) -> int:
        """Version for `if_version`. It increases with each write and is never reused."""
        return int(self.raw["version"])

    @property
    def size(self) -> int:
        """Size of the value in bytes, as compact JSON."""
        return int(self.raw["size"])

    @property
    def expires_at(self) -> str | None:
        """Expiry time; None if the entry never expires."""
        expires_at: str | None = self.raw["expires_at"]
        return expires_at


@dataclass(frozen=True, slots=True)
class MemoryEntry(EntryHead):
    """Result of a read."""

    @property
    def namespace(self) -> str:
        """Namespace of the entry."""
        return str(self.raw["namespace"])

    @property
    def key(self) -> str:
        """Key of the entry in its namespace."""
        return str(self.raw["key"])

    @property
    def value(self) -> Any:
        """JSON value of the entry."""
        return self.raw["value"]

    @property
    def accessed_at(self) -> str | None:
        """Time of the last read by key; None if there was none. Set only in lists and search results."""
        accessed_at: str | None = self.raw.get("accessed_at")
        return accessed_at

    @property
    def tags(self) -> list[str]:
        """Tags of the entry."""
        return list(self.raw["tags"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the entry."""
        return dict(self.raw["metadata"])


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of one operation of a batch.

    Attributes:
        status: the HTTP status of the same request outside a batch: 200, 201, 204, 404, 412, ...
        entry: the entry of a put or get; without its value for a put.
        problem: the problem document of a failed operation; otherwise None.
    """

    status: int
    entry: MemoryEntry | None
    problem: Mapping[str, Any] | None

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded."""
        return self.status < 400


@dataclass(frozen=True, slots=True)
class MemoryHit(MemoryEntry):
    """Entry found by a search, without value and metadata if the search omits them."""

    @property
    def score(self) -> float | None:
        """Relevance of the text match, higher is better; None if the search is not ordered by rank."""
        score: float | None = self.raw.get("score")
        return score

    @property
    def snippet(self) -> str | None:
        """Extract of the text with the matched words between ** and **; None for a search without text."""
        snippet: str | None = self.raw.get("snippet")
        return snippet


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Page of search results.

    Attributes:
        hits: entries in order. A page before the last one may be empty.
        next_cursor: None on the last page.
        searched: details of the search: `namespaces` (all, subtree, one), `order`, `partial`, `candidates`.
    """

    hits: list[MemoryHit]
    next_cursor: str | None
    searched: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """Committed change of an entry.

    Attributes:
        seq: position of the change in the change log, for `since`.
        op: put, delete or expire.
        namespace: namespace of the entry.
        key: key of the entry.
        version: the version written, deleted or expired.
        at: time of the change, RFC 3339.
    """

    seq: int
    op: str
    namespace: str
    key: str
    version: int
    at: str


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Page of a list; `next_cursor` is None on the last page."""

    entries: list[MemoryEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Namespace:
    """Namespace with the number of its live entries and the total bytes of their values."""

    name: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of live entries, sizes in bytes, and settings of the service. `raw` is the received document."""

    entries: int
    agents: int
    tasks: int
    patterns: int
    database_size_bytes: int
    wal_size_bytes: int
    cache_hit_rate: float | None
    """0 to 1; None before the first lookup."""
    settings: Mapping[str, Any]
    swarm_id: str
    version: str
    sqlite_version: str
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Result of /readyz: whether the service accepts requests, and the reason if it does not."""

    ready: bool
    reason: str
