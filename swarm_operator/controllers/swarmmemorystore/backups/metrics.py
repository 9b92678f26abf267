"""Metrics of a store's backups."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from prometheus_client import Gauge

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
from swarm_operator.runtime.resource import Key

LAST_VERIFIED = Gauge(
    "swarm_operator_last_verified_backup_timestamp_seconds",
    "When the newest verified backup of a store was verified, in seconds since the Unix epoch",
    ["namespace", "store"],
    registry=None,
)


def report(store: Key, backup: SwarmMemoryBackup | None) -> None:
    """Report the newest verified backup of a store."""
    if backup is not None and backup.status.verified_at is not None:
        LAST_VERIFIED.labels(*store).set(datetime.fromisoformat(backup.status.verified_at).timestamp())
    else:
        forget(store)


def forget(store: Key) -> None:
    """Stop reporting a store."""
    with suppress(KeyError):
        LAST_VERIFIED.remove(*store)
