"""What the client answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BatchResult",
    "Change",
    "EntryHead",
    "EntryPage",
    "MemoryEntry",
    "MemoryHit",
    "Namespace",
    "Readiness",
    "SearchPage",
    "Stats",
]


@dataclass(frozen=True, slots=True)
class EntryHead:
    """What a write answers. Times are RFC 3339; `raw` is the document as it came."""

    raw: Mapping[str, Any]

    @property
    def version(self) -> int:
        """One more with each write, never the same again for other content: what `if_version` wants."""
        return int(self.raw["version"])

    @property
    def size(self) -> int:
        """Bytes of the value as compact JSON."""
        return int(self.raw["size"])

    @property
    def expires_at(self) -> str | None:
        """When it expires; None is never."""
        expires_at: str | None = self.raw["expires_at"]
        return expires_at


@dataclass(frozen=True, slots=True)
class MemoryEntry(EntryHead):
    """What a read answers."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        return str(self.raw["namespace"])

    @property
    def key(self) -> str:
        """Its name there."""
        return str(self.raw["key"])

    @property
    def value(self) -> Any:
        """The JSON value."""
        return self.raw["value"]

    @property
    def accessed_at(self) -> str | None:
        """When it was last read by its key, RFC 3339; only lists and searches know, else and if it was not, None."""
        accessed_at: str | None = self.raw.get("accessed_at")
        return accessed_at

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return list(self.raw["tags"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata."""
        return dict(self.raw["metadata"])


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one operation of a batch.

    Attributes:
        status: as the same request alone would have been answered: 200, 201, 204, 404, 412, ...
        entry: of a put or get; that of a put has no value.
        problem: why it failed; None when it didn't.
    """

    status: int
    entry: MemoryEntry | None
    problem: Mapping[str, Any] | None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.status < 400


@dataclass(frozen=True, slots=True)
class MemoryHit(MemoryEntry):
    """What a search finds: an entry; without its value and metadata if none were asked for."""

    @property
    def score(self) -> float | None:
        """How well its text matches, greater is better; None without a rank."""
        score: float | None = self.raw.get("score")
        return score

    @property
    def snippet(self) -> str | None:
        """An extract around the words found, which are between ** and **; None without a text."""
        snippet: str | None = self.raw.get("snippet")
        return snippet


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Part of a search.

    Attributes:
        hits: in order; may be empty on a page that is not the last one.
        next_cursor: None on the last page.
        searched: what was searched: `namespaces` (all, subtree, one), `order`, `partial`, `candidates`.
    """

    hits: list[MemoryHit]
    next_cursor: str | None
    searched: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that changed.

    Attributes:
        seq: its place among all changes: what `since` wants.
        op: put, delete or expire.
        namespace: of the entry.
        key: of the entry.
        version: that was written, or that is gone.
        at: when, RFC 3339.
    """

    seq: int
    op: str
    namespace: str
    key: str
    version: int
    at: str


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Part of a list; `next_cursor` is None on the last page."""

    entries: list[MemoryEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace: its name, its live entries, the bytes of their values."""

    name: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of live entries, sizes in bytes, what the service applies. `raw` has all of it."""

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
    """The answer of /readyz: whether to send requests there, and if not, why."""

    ready: bool
    reason: str
