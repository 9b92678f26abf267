"""Results of the client's calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

_HEAD: Final[Mapping[str, type]] = {
    "namespace": str, "key": str, "version": int, "size": int, "ttl": int, "created_at": str, "updated_at": str,
}  # fmt: skip
"""Members that every document of an entry has, and their types."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Entry of the same namespace that has almost the same meaning as a written one.

    Attributes:
        key: its key.
        cosine: cosine of the angle between the vectors.
    """

    key: str
    cosine: float


@dataclass(frozen=True, slots=True)
class EntryHead:
    """Result of a write: an entry without its value. `raw` is the received document.

    Raises:
        KeyError, TypeError: the document is not that of an entry.
    """

    raw: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, kind in _HEAD.items():
            if type(self.raw[name]) is not kind:
                raise TypeError(f"{name}: {self.raw[name]!r} is not of type {kind.__name__}")

    @property
    def namespace(self) -> str:
        """Namespace of the entry."""
        return str(self.raw["namespace"])

    @property
    def key(self) -> str:
        """Key of the entry in its namespace."""
        return str(self.raw["key"])

    @property
    def version(self) -> int:
        """Version for `if_version`. It increases with each write and is never reused."""
        return int(self.raw["version"])

    @property
    def size(self) -> int:
        """Size of the value in bytes, as compact JSON."""
        return int(self.raw["size"])

    @property
    def ttl(self) -> int:
        """Seconds from the last write until the entry expires; 0 if it never expires."""
        return int(self.raw["ttl"])

    @property
    def created_at(self) -> datetime:
        """Time of the write that created the entry, in UTC."""
        return datetime.fromisoformat(self.raw["created_at"])

    @property
    def updated_at(self) -> datetime:
        """Time of the last write, in UTC."""
        return datetime.fromisoformat(self.raw["updated_at"])

    @property
    def updated_by(self) -> str | None:
        """Author of the last write: the name of the token or the pod; None if unknown or the service is older."""
        name: str | None = self.raw.get("updated_by")
        return name

    @property
    def expires_at(self) -> datetime | None:
        """Expiry time, in UTC; None if the entry never expires."""
        return _time(self.raw["expires_at"])

    @property
    def duplicate(self) -> Duplicate | None:
        """Near-duplicate that a write with `on_duplicate` found; None without one, and for other results."""
        found = self.raw.get("duplicate")
        return None if found is None else Duplicate(str(found["key"]), float(found["cosine"]))

    @property
    def value(self) -> Any:
        """JSON value of the entry.

        Raises:
            AttributeError: this is the result of a write, or of a search without values.
        """
        try:
            return self.raw["value"]
        except KeyError:
            raise AttributeError(
                "value: not part of this result; read the entry with get(namespace, key), or search with values=True"
            ) from None


@dataclass(frozen=True, slots=True)
class MemoryEntry(EntryHead):
    """Result of a read."""

    @property
    def accessed_at(self) -> datetime | None:
        """Time of the last read by key, in UTC; None if there was none. Set only in lists and search results."""
        return _time(self.raw.get("accessed_at"))

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
        """Sort key of the results, higher is better; None if the search is not ordered by rank.

        The score of a hybrid search is computed from ranks and is not a similarity.
        """
        score: float | None = self.raw.get("score")
        return score

    @property
    def rank(self) -> int | None:
        """Place among all results, from 1; None if the search is not ordered by rank, or the service is older."""
        rank: int | None = self.raw.get("rank")
        return rank

    @property
    def words(self) -> int | None:
        """Place among the matches by words of a hybrid search, from 1; None if the words do not match."""
        words: int | None = self.raw.get("words")
        return words

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between the vectors, -1 to 1; None if they were not compared."""
        cosine: float | None = self.raw.get("cosine")
        return cosine

    @property
    def snippet(self) -> str | None:
        """Extract of the text with the matched words between ** and **; None for a search without text."""
        snippet: str | None = self.raw.get("snippet")
        return snippet

    @property
    def matched(self) -> tuple[str, ...]:
        """Fields with words that match: "key", "value" or both; empty for a search without text."""
        return tuple(self.raw.get("matched", ()))


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Page of search results.

    Attributes:
        hits: entries in order. A page before the last one may be empty.
        next_cursor: None on the last page.
        searched: details of the search: `namespaces` (all, subtree, one), `mode`, `order`, `partial`, `candidates`,
            `steps`, `words`, the number of first words of the text if not all were searched, and `fresh`, which is
            False if some writes before the search may be missing.
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
        at: time of the change, in UTC.
        raw: the received document, perhaps with further members of a newer service.
        updated_by: author of a put; None if unknown, for other changes, or if the service is older.
    """

    seq: int
    op: str
    namespace: str
    key: str
    version: int
    at: datetime
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    updated_by: str | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Change:
        """Return the change of a document. Raise KeyError, TypeError or ValueError."""
        return cls(
            seq=int(document["seq"]),
            op=str(document["op"]),
            namespace=str(document["namespace"]),
            key=str(document["key"]),
            version=int(document["version"]),
            at=datetime.fromisoformat(document["at"]),
            raw=document,
            updated_by=document.get("updated_by"),
        )


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
    volume_size_bytes: int | None
    """Size of the database's file system in bytes. None if the service is older."""
    volume_free_bytes: int | None
    """Free bytes of that file system for the service. None if the service is older."""
    cache_hit_rate: float | None
    """0 to 1; None before the first lookup."""
    fault: str | None
    """Code of the error that makes writes fail, such as `disk-full`. None if writes succeed, or the service is
    older."""
    settings: Mapping[str, Any]
    swarm_id: str
    version: str
    features: frozenset[str]
    """Features of the service, such as `service-account-tokens`. Empty if the service is older."""
    sqlite_version: str
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Stats:
        """Return the statistics of a document. Raise KeyError or TypeError."""
        return cls(
            entries=document["entries"],
            agents=document["agents"],
            tasks=document["tasks"],
            patterns=document["patterns"],
            database_size_bytes=document["database_size_bytes"],
            wal_size_bytes=document["wal_size_bytes"],
            volume_size_bytes=document.get("volume_size_bytes"),
            volume_free_bytes=document.get("volume_free_bytes"),
            cache_hit_rate=document["cache"]["hit_rate"],
            fault=document.get("fault"),
            settings=document["settings"],
            swarm_id=document["swarm_id"],
            version=document["version"],
            features=frozenset(document.get("features", ())),
            sqlite_version=document["sqlite_version"],
            raw=document,
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """Result of /readyz: whether the service accepts requests, and the reason if it does not."""

    ready: bool
    reason: str


def _time(text: str | None) -> datetime | None:
    """Return the time of an RFC 3339 text."""
    return None if text is None else datetime.fromisoformat(text)
