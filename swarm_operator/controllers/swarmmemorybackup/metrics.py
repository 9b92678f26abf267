"""Metrics of backups."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import Counter, Histogram

from swarm_operator.memory.client import BackupState

FAILURES = Counter(
    "swarm_operator_backup_failures",
    "Backups that failed, by the reason of their condition Ready",
    ["reason"],
    registry=None,
)
DURATION = Histogram(
    "swarm_operator_backup_duration_seconds",
    "Seconds from the request of a backup until it was verified",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
    registry=None,
)
SIZE = Histogram(
    "swarm_operator_backup_size_bytes",
    "Bytes of verified backups",
    buckets=tuple(4.0**exponent for exponent in range(6, 20)),
    registry=None,
)


def observe(state: BackupState) -> None:
    """Count a backup that was verified."""
    started = state.raw.get("started_at")
    if started and state.verified_at:
        taken = state.verified_at - datetime.fromisoformat(started)
        DURATION.observe(taken.total_seconds())
    if state.size is not None:
        SIZE.observe(state.size)
