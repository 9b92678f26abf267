"""Metrics of the store: its counts and sizes, read once per scrape."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.stats import StoreStats
from swarm_operator.memory.core.store import Store

_log = structlog.get_logger(__name__)


class StoreCollector(Collector):
    """Collector of the store's statistics as of the last refresh."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stats: StoreStats | None = None

    async def refresh(self) -> None:
        """Read the statistics of the store. If this fails, the series are absent from the scrape, never zero."""
        try:
            self._stats = await self._store.stats()
        except MemoryStoreError as error:
            self._stats = None
            _log.warning("no statistics for this scrape", code=error.code, reason=str(error))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the store."""
        yield GaugeMetricFamily(
            "swarm_memory_writable", "1 while writes reach the disk, 0 after one has failed.", self._store.fault is None
        )
        stats = self._stats
        if stats is None:
            return
        yield GaugeMetricFamily("swarm_memory_entries_total", "Live entries.", stats.entries)
        yield GaugeMetricFamily("swarm_memory_value_bytes", "Bytes of the live entries' values.", stats.value_bytes)
        yield GaugeMetricFamily("swarm_memory_db_size_bytes", "Size of the database.", stats.database_size_bytes)
        yield GaugeMetricFamily("swarm_memory_free_bytes", "Bytes of the database's empty pages.", stats.free_bytes)
        ratio = 1.0 if stats.compression_ratio is None else stats.compression_ratio
        yield GaugeMetricFamily(
            "swarm_memory_compression_ratio", "Stored bytes of compressed values / their length; 1 without any.", ratio
        )
        yield GaugeMetricFamily("swarm_memory_compressed_entries", "Compressed values.", stats.compressed_entries)
        yield GaugeMetricFamily("swarm_memory_wal_size_bytes", "Size of the write-ahead log.", stats.wal_size_bytes)
        size, free = stats.volume.size_bytes, stats.volume.free_bytes
        yield GaugeMetricFamily("swarm_memory_volume_size_bytes", "Size of the database's file system.", size)
        yield GaugeMetricFamily(
            "swarm_memory_volume_free_bytes", "Free bytes of the file system for the service.", free
        )
        yield GaugeMetricFamily("swarm_memory_cache_entries", "Entries in the cache.", stats.cache_entries)
        yield GaugeMetricFamily("swarm_memory_cache_bytes", "Size of the cached entries.", stats.cache_bytes)
        yield CounterMetricFamily("swarm_memory_cache_hits", "Lookups that the cache answered.", stats.cache_hits)
        yield CounterMetricFamily(
            "swarm_memory_cache_misses", "Lookups that the cache did not answer.", stats.cache_misses
        )
        yield CounterMetricFamily(
            "swarm_memory_cache_evictions", "Entries removed at the cache's limits.", stats.cache_evictions
        )
        yield CounterMetricFamily(
            "swarm_memory_gc_given_back_bytes",
            "Bytes that collections returned to the file system.",
            stats.gc.given_back_bytes,
        )
        yield GaugeMetricFamily("swarm_memory_index_lag", "Changes that the index of words lacks.", stats.index.lag)
        yield GaugeMetricFamily(
            "swarm_memory_index_rebuilding", "1 while the index of words is rebuilt.", stats.index.rebuilding
        )
        yield GaugeMetricFamily("swarm_memory_vectors", "Entries that have a vector.", stats.vectors.entries)
        yield GaugeMetricFamily(
            "swarm_memory_vectors_lag", "Changes whose entries are not embedded yet.", stats.vectors.lag
        )
        yield GaugeMetricFamily(
            "swarm_memory_vectors_rebuilding", "1 while all entries are embedded again.", stats.vectors.rebuilding
        )
        readers = GaugeMetricFamily(
            "swarm_memory_readers", "Running and waiting reads of the database.", labels=["kind"]
        )
        for kind, count in stats.reads.items():
            readers.add_metric([kind], count)
        yield readers
        yield CounterMetricFamily(
            "swarm_memory_checkpoints_busy",
            "Checkpoints that a reader prevented from finishing.",
            stats.checkpoints_busy,
        )
