"""Settings of a store, with their defaults, units and effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self

from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.shared import limits

MIB = 1024 * 1024

LIVE: Final = frozenset(
    {"cache_size", "cache_memory_mb", "compression_threshold", "gc_interval", "enable_vacuum", "search_language"}
)
"""Settings that can be changed while the store is in use. The others are fixed when the store is opened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """Configuration of a store. The defaults are suitable for production.

    Raises:
        ConfigError: a value is out of range; the message names the field.
    """

    swarm_id: str = "default"
    """ID of the swarm that owns the store. Only reported in the statistics."""

    cache_size: int = 1000
    """Maximum number of cached entries. 1 to 10,000,000."""

    cache_memory_mb: int = 50
    """Maximum total size of cached entries in MiB, by actual memory use. 1 to 65,536."""

    enable_wal: bool = True
    """True: write-ahead log (WAL); reads run concurrently with writes. False: rollback journal (DELETE), for file
    systems without shared memory. Reads and writes then alternate on one connection and never wait for a file lock."""

    compression_threshold: int = 10_240
    """Values longer than this number of bytes of compact JSON are stored as LZ4 frames if that saves space. 0: never.
    Short values hardly shrink. Existing values change only when they are written again."""

    gc_interval: float = 300.0
    """Seconds between garbage collections. Expired entries are never returned, even before collection."""

    enable_vacuum: bool = True
    """True: each collection returns empty pages to the file system, in short steps. False: empty pages stay in the file
    for later entries."""

    full_text: bool = True
    """True: searches find words of keys and values. The index of words follows the changes (see search.indexer). False:
    text searches are rejected. If an existing file has no index, it is built in the background after the start."""

    search_language: str = limits.SEARCH_LANGUAGES[0]
    """Language whose endings searches ignore: with english, `retries` finds `retried`. none: words are found as they
    are written. If it changes, the index of words is rebuilt in the background."""

    search_wait: float = 0.25
    """Maximum seconds that a search with a text waits until the index has all earlier commits. After that time its
    result is marked as not fresh. 0: searches do not wait."""

    max_searches: int = 1
    """Maximum number of concurrent searches with a text, each with its own thread and connection. 1 to 64. All searches
    take turns in short slices. More than the number of spare processors slow down all other work."""

    max_waiting_searches: int = 128
    """Maximum number of searches with a text that wait for their first turn; one owner may have a quarter of it.
    Further searches fail with OverloadedError."""

    change_log_entries: int = 100_000
    """Maximum number of past changes available to watches. 1 to 100,000,000; about 60 bytes of the file per change."""

    change_log_seconds: float = 86_400.0
    """Maximum age in seconds of changes available to watches. Each collection deletes older changes."""

    max_batch: int = 256
    """Maximum number of entries per commit. A single request with more entries is committed alone. Larger batches need
    fewer fsyncs but take longer."""

    max_batch_bytes: int = 32 * MIB
    """Maximum bytes of values per commit. A single larger value is committed alone."""

    max_queue: int = 32_768
    """Maximum number of queued entries, about 0.5 s of writes. Further requests fail with OverloadedError."""

    max_queue_bytes: int = 64 * MIB
    """Maximum bytes of queued values. An empty queue accepts a value of any size."""

    max_value_bytes: int = 16 * MIB
    """Maximum bytes of a value as compact JSON."""

    max_page_bytes: int = 16 * MIB
    """Maximum bytes of values per list page. A page that reaches the limit ends early and returns a cursor."""

    checkpoint_bytes: int = 16 * MIB
    """Bytes written to the WAL between checkpoints. These checkpoints are PASSIVE: they wait for no reader."""

    wal_limit_bytes: int = 64 * MIB
    """WAL size in bytes above which the writer truncates the WAL (TRUNCATE checkpoint). The writer waits at most
    busy_timeout_ms for readers. The WAL exceeds this size only briefly."""

    busy_timeout_ms: int = 2000
    """Milliseconds that SQLite waits for a lock held by another process."""

    reserve_bytes: int = 0
    """Size of a reserve file beside the database, in bytes. When the disk is full, the file is deleted, so that entries
    can still be deleted. It is created again when twice its size is free; until then only deletes succeed. 0: no
    reserve."""

    final_backup: str | None = None
    """Name of the final backup, after which the store is deleted. Writes are refused from the start of this backup,
    even after a restart. None: no final backup; a refusal of writes ends with the process."""

    keep_former: bool = False
    """True: before a change of its schema the database is copied, if there is room, and writes are refused until
    `confirm_upgrade` is called. An earlier release can then put the copy back. False: a downgrade is impossible."""

    probe_interval: float = 2.0
    """Seconds between trial writes after a failed write. The first successful trial makes the store ready."""

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"{name}: a number from {least} to {most}, not {value!r}")
        if self.search_language not in limits.SEARCH_LANGUAGES:
            allowed = ", ".join(limits.SEARCH_LANGUAGES)
            raise ConfigError(f"search_language: one of {allowed}, not {self.search_language!r}")
        if not 1 <= len(self.swarm_id.encode()) <= 255:
            raise ConfigError("swarm_id: a string of 1 to 255 bytes")

    def changed(self, **settings: Any) -> Self:
        """Return the configuration with other values of some settings of LIVE.

        Raises:
            ConfigError: a value is out of range, or a setting cannot be changed.
        """
        for name in settings.keys() - LIVE:
            raise ConfigError(f"{name}: cannot be changed while the store is in use; {', '.join(sorted(LIVE))} can")
        return replace(self, **settings)


_RANGES = (
    ("cache_size", *limits.CACHE_SIZE),
    ("cache_memory_mb", *limits.CACHE_MEMORY_MB),
    ("compression_threshold", *limits.COMPRESSION_THRESHOLD),
    ("gc_interval", 0.001, 1e10),
    ("search_wait", 0.0, 60.0),
    ("max_searches", 1, 64),
    ("max_waiting_searches", 1, 1_000_000),
    ("change_log_entries", 1, 100_000_000),
    ("change_log_seconds", 0.0, 1e10),
    ("max_batch", 1, 10_000),
    ("max_batch_bytes", 1, 1024 * MIB),
    ("max_queue", 1, 1_000_000),
    ("max_queue_bytes", 1, 65_536 * MIB),
    ("max_value_bytes", 1, 512 * MIB),
    ("max_page_bytes", 1, 1024 * MIB),
    ("checkpoint_bytes", 4096, 1024 * MIB),
    ("wal_limit_bytes", 4096, 65_536 * MIB),
    ("busy_timeout_ms", 0, 60_000),
    ("reserve_bytes", 0, 1024 * MIB),
    ("probe_interval", 0.001, 3600),
)
