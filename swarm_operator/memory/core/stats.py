"""Statistics of a store and of its garbage collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class GcRun:
    """Result of a run of garbage collection.

    Attributes:
        started_at: start time in milliseconds since the Unix epoch.
        entries: number of expired entries that were deleted.
        value_bytes: size of their values in bytes of compact JSON.
        given_back_bytes: size of the freed pages; the next checkpoint truncates the file.
        seconds: duration from the first step to the last.
    """

    started_at: int
    entries: int
    value_bytes: int
    given_back_bytes: int
    seconds: float


@dataclass(slots=True)
class GcStats:
    """Statistics of all runs of garbage collection since the start.

    Attributes:
        runs: number of successful runs.
        failures: number of failed runs.
        entries: number of deleted entries, including failed runs.
        given_back_bytes: sum over all runs, see GcRun.
        last: the last successful run; None before the first.
        last_error: error of the last run; None if it succeeded.
        auto_vacuum: "incremental" if a run returns space to the file system, "full" if each commit does, "none" if the
            engine can't; None before the first run.
    """

    runs: int = 0
    failures: int = 0
    entries: int = 0
    given_back_bytes: int = 0
    last: GcRun | None = None
    last_error: str | None = None
    auto_vacuum: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """File system of the database.

    Attributes:
        size_bytes: size of the file system.
        free_bytes: free space for this process.
    """

    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Index of words.

    Attributes:
        lag: number of changes that the index lacks.
        rebuilding: whether the index is being rebuilt. Searches then read the entries themselves.
    """

    lag: int = 0
    rebuilding: bool = False


@dataclass(frozen=True, slots=True)
class VectorStats:
    """Vectors of entries.

    Attributes:
        entries: number of entries that have a vector.
        memory_bytes: memory of the vectors that searches scan; 0 before the first search.
        model: name of the store's embedder; None without an embedder.
        width: dimensions of the embedder's vectors; None without an embedder.
        lag: number of changes whose entries are not embedded yet.
        rebuilding: whether all entries are being embedded again because the model has changed.
        embedded: number of texts embedded since the start.
        failures: number of the embedder's failures since the start.
        last_error: error of the last embedding; None after a success.
    """

    entries: int = 0
    memory_bytes: int = 0
    model: str | None = None
    width: int | None = None
    lag: int = 0
    rebuilding: bool = False
    embedded: int = 0
    failures: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class StoreStats:
    """State of the store at one time. Sizes are bytes. Counts are of live entries, `compressed_*` of stored rows."""

    entries: int
    value_bytes: int
    agents: int
    tasks: int
    patterns: int
    database_size_bytes: int
    wal_size_bytes: int
    volume: VolumeStats
    cache_hits: int
    cache_misses: int
    cache_evictions: int
    cache_entries: int
    cache_bytes: int
    checkpoints_busy: int
    reads: dict[str, int]
    """Number of running and queued database reads: entries, pages, texts."""
    free_bytes: int
    compressed_entries: int
    compressed_raw_bytes: int
    compressed_stored_bytes: int
    library_version: str
    """Version of the database library."""
    settings: Mapping[str, Any]
    """Settings of this process."""
    gc: GcStats
    index: IndexStats = field(default_factory=IndexStats)
    vectors: VectorStats = field(default_factory=VectorStats)

    @property
    def compression_ratio(self) -> float | None:
        """Return compressed size divided by raw size of the compressed values; None if no value is compressed."""
        return self.compressed_stored_bytes / self.compressed_raw_bytes if self.compressed_raw_bytes else None

    @property
    def cache_hit_rate(self) -> float | None:
        """Return the ratio of hits to lookups since the start, 0 to 1; None before the first lookup."""
        lookups = self.cache_hits + self.cache_misses
        return self.cache_hits / lookups if lookups else None
