"""Metrics of restores."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import Counter, Histogram

FAILURES = Counter(
    "swarm_operator_restore_failures",
    "Restores that failed, by the reason of their condition Ready",
    ["reason"],
    registry=None,
)
DURATION = Histogram(
    "swarm_operator_restore_duration_seconds",
    "Seconds from the start of a restore until it was carried out",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
    registry=None,
)


def observe(started_at: str, completed_at: str) -> None:
    """Count a restore that was carried out."""
    taken = datetime.fromisoformat(completed_at) - datetime.fromisoformat(started_at)
    DURATION.observe(taken.total_seconds())
