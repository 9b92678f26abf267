"""The settings of a store: defaults, units, effects."""

from __future__ import annotations

from dataclasses import dataclass

from swarm_operator.memory.core.errors import ConfigError

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """How a store behaves. Every default is fit for production.

    Raises:
        ConfigError: a value is out of its range; the message names the field.
    """

    swarm_id: str = "default"
    """Whose memory this is. Reported in the statistics; it does not select anything."""

    cache_size: int = 1000
    """Entries that the cache holds at most. 1 to 10,000,000."""

    cache_memory_mb: int = 50
    """MiB that the cache's entries take at most, by their real sizes. 1 to 65,536."""

    enable_wal: bool = True
    """True: write-ahead log; readers run beside the writer. False: rollback journal (DELETE), for file systems without
    shared memory; reads then take turns with writes on the one connection, so nothing ever waits for a file lock."""

    compression_threshold: int = 10_240
    """Values longer than this, in bytes of compact JSON, are stored as LZ4 frames where that makes them smaller. 0 is
    never. Short values gain next to nothing. What is stored already stays as it is until it is written again."""

    gc_interval: float = 300.0
    """Seconds between two collections of expired entries. Expired entries are never returned, collected or not."""

    enable_vacuum: bool = True
    """True: after each collection the pages that hold nothing are given back to the file system, in short steps. False:
    they stay in the file for later entries."""

    full_text: bool = True
    """True: the words of keys and values are found by searches; each write then indexes them in its own transaction,
    which takes it about half as much time again. False: searches by text are refused. Switching it on for a file that
    was written without it indexes every entry at the start, see indexing.prepare."""

    change_log_entries: int = 100_000
    """Changes that watches can go back, at most. 1 to 100,000,000; each takes about 60 bytes of the file."""

    change_log_seconds: float = 86_400.0
    """Seconds that watches can go back, at most; older changes go with each collection."""

    max_batch: int = 256
    """Entries that are committed together at most, or one request with more. Larger batches spend fewer fsyncs and take
    longer each."""

    max_batch_bytes: int = 32 * MIB
    """Bytes of values in one batch at most; a single larger value is a batch of its own."""

    max_queue: int = 32_768
    """Entries that wait for the writer at most, about half a second's work; the next request fails with
    OverloadedError."""

    max_queue_bytes: int = 64 * MIB
    """Bytes of values that wait for the writer at most. One value is always let in when nothing waits."""

    max_value_bytes: int = 16 * MIB
    """The longest value, as compact JSON."""

    max_page_bytes: int = 16 * MIB
    """Bytes of values in one page of a list at most; the page ends early, and its cursor goes on from there."""

    checkpoint_bytes: int = 16 * MIB
    """Bytes written to the log after which the writer moves it into the database (PASSIVE: it waits for no reader)."""

    wal_limit_bytes: int = 64 * MIB
    """The size of the log file above which the writer cuts it (TRUNCATE), waiting at most busy_timeout_ms for readers.
    The file is never left larger than this for long."""

    busy_timeout_ms: int = 2000
    """How long SQLite waits for a lock that a program outside this process holds."""

    probe_interval: float = 2.0
    """Seconds between trial writes after the disk has failed one; the first that succeeds makes the store ready."""

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"{name}: a number from {least} to {most}, not {value!r}")
        if not 1 <= len(self.swarm_id.encode()) <= 255:
            raise ConfigError("swarm_id: a string of 1 to 255 bytes")


_RANGES = (
    ("cache_size", 1, 10_000_000),
    ("cache_memory_mb", 1, 65_536),
    ("compression_threshold", 0, 2**31 - 1),
    ("gc_interval", 0.001, 1e10),
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
    ("probe_interval", 0.001, 3600),
)
