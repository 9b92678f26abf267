"""Metrics and log lines of backups at the service's destination."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarm_operator.memory.core.errors import CorruptDatabaseError, DiskFullError, MemoryStoreError, StorageIOError
from swarm_operator.memory.swarm.times import from_text
from swarm_operator.memory.transfer.backups.errors import REASONS
from swarm_operator.memory.transfer.backups.jobs import Failure
from swarm_operator.memory.transfer.backups.manifest import Manifest

_SECONDS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_REASONS: Final = (*REASONS, DiskFullError.code, StorageIOError.code, CorruptDatabaseError.code, MemoryStoreError.code)
_OTHER: Final = "other"

_log = structlog.get_logger(__name__)


class BackupMetrics(Collector):
    """Observer of jobs. As a collector, it yields the age and the size of the newest verified backup."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._newest: Manifest | None = None
        self._seconds = Histogram(
            "swarm_memory_backup_duration_seconds",
            "Time from the request to the verified backup.",
            buckets=_SECONDS,
            registry=registry,
        )
        failures = Counter(
            "swarm_memory_backup_failures_total",
            "Failed backups and verifications.",
            ["reason"],
            registry=registry,
        )
        self._failures = {reason: failures.labels(reason) for reason in (*_REASONS, _OTHER)}
        registry.register(self)

    def completed(self, manifest: Manifest, *, seconds: float, made: bool) -> None:
        """Count a backup that was verified, or made and verified if `made`."""
        if made:
            self._seconds.observe(seconds)
        self._take(manifest)
        _log.info(
            "backup completed" if made else "backup verified",
            backup=manifest.name, size=manifest.size, entries=manifest.entries, seconds=round(seconds, 3),
        )  # fmt: skip

    def failed(self, name: str, failure: Failure, error: BaseException) -> None:
        """Count and log a job that failed."""
        self._failures.get(failure.code, self._failures[_OTHER]).inc()
        defect = error if failure.code == MemoryStoreError.code else None
        _log.error("backup failed", backup=name, code=failure.code, reason=failure.detail, exc_info=defect)

    def stored(self, manifests: Sequence[Manifest]) -> None:
        """Store the newest of all verified backups."""
        self._newest = None
        for manifest in manifests:
            self._take(manifest)

    def collect(self) -> Iterator[Metric]:
        """Yield the age and the size of the newest verified backup; nothing if none is known."""
        newest = self._newest
        if newest is None:
            return
        verified = from_text(newest.verified_at) or 0
        yield GaugeMetricFamily(
            "swarm_memory_backup_age_seconds",
            "Time since the last verification of a backup.",
            time.time() - verified / 1000,
        )
        yield GaugeMetricFamily("swarm_memory_backup_size_bytes", "Size of the last verified backup.", newest.size)

    def _take(self, manifest: Manifest) -> None:
        if self._newest is None or (manifest.verified_at or "") >= (self._newest.verified_at or ""):
            self._newest = manifest
