"""Statistics of a store and of its garbage collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GcRun:
    """What a run did.

    Attributes:
        started_at: milliseconds since the Unix epoch.
        entries: expired entries that were deleted.
        value_bytes: of their values as compact JSON.
        given_back_bytes: empty pages that the database gave up; the file gets shorter with the next checkpoint.
        seconds: from the first step to the last.
    """

    started_at: int
    entries: int
    value_bytes: int
    given_back_bytes: int
    seconds: float


@dataclass(slots=True)
class GcStats:
    """All runs since the start.

    Attributes:
        runs: that ended well.
        failures: that did not.
        entries: that they deleted, those of failed runs included.
        given_back_bytes: as in GcRun, for all of them.
        last: the last run that ended well; None before the first.
        last_error: why the last run failed; None when it didn't.
        auto_vacuum: "incremental" if the engine gives space back in a run, "full" if it does so at each commit,
            "none" if it can't; None before the first run.
    """

    runs: int = 0
    failures: int = 0
    entries: int = 0
    given_back_bytes: int = 0
    last: GcRun | None = None
    last_error: str | None = None
    auto_vacuum: str | None = None


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store at one moment. Sizes are bytes; counts are of live entries, those of `compressed` of stored rows."""

    entries: int
    value_bytes: int
    agents: int
    tasks: int
    patterns: int
    database_size_bytes: int
    wal_size_bytes: int
    cache_hits: int
    cache_misses: int
    cache_evictions: int
    cache_entries: int
    cache_bytes: int
    checkpoints_busy: int
    reads: dict[str, int]
    """Reads of the database that ran or waited for their turn: entries, pages."""
    free_bytes: int
    compressed_entries: int
    compressed_raw_bytes: int
    compressed_stored_bytes: int
    library_version: str
    """Of the database library."""
    settings: Mapping[str, Any]
    """The settings that this process applies."""
    gc: GcStats

    @property
    def compression_ratio(self) -> float | None:
        """What the compressed values take, as a part of what they would take plain; None while there are none."""
        return self.compressed_stored_bytes / self.compressed_raw_bytes if self.compressed_raw_bytes else None

    @property
    def cache_hit_rate(self) -> float | None:
        """Hits of all lookups since the start, 0 to 1; None before the first lookup."""
        lookups = self.cache_hits + self.cache_misses
        return self.cache_hits / lookups if lookups else None
