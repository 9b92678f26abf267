"""The hive mind of a SwarmCluster: a second memory, for what the swarm decides and knows together."""

from __future__ import annotations

from typing import Any

from swarm_operator.api.quantity import Interval, StorageSize
from swarm_operator.api.v1alpha1.common import ApiModel, Int64, rule

HIVE_MIND_SUFFIX = "-hivemind"
"""A cluster's hive mind is named after it."""


class HiveMindSpec(ApiModel):
    """Wanted state of a hive mind."""

    enabled: bool = False
    """Make a SwarmMemoryStore `NAME-hivemind` for consensus, the queen's lease and collective memory. Setting it back
    to false keeps the store and its data."""
    database_size: StorageSize = "10Gi"
    """Size of the store's volume. It can grow, if the storage class allows."""
    backup_enabled: bool = False
    """Make backups of it by backupInterval: at the destination of memory.sqliteConfig.backup, or on its own volume."""
    backup_interval: Interval = "1h"
    """Time between two backups."""


class HiveMindStatus(ApiModel):
    """Observed state of the hive mind."""

    available: bool
    """Whether its store is Ready."""
    used: Int64 | None = None
    """Size of its database, in bytes."""
    entry_count: Int64 | None = None
    """Number of entries in it."""


def enough_room_for_name(longest: int) -> dict[str, Any]:
    """Return the rule of a SwarmCluster that the name of its hive mind fits.

    Args:
        longest: largest number of characters of a cluster's name.
    """
    return rule(
        "!has(self.spec.hiveMind) || !has(self.spec.hiveMind.enabled) || !self.spec.hiveMind.enabled"
        f" || size(self.metadata.name) <= {longest}",
        f"needs a cluster whose metadata.name has at most {longest} characters: Services and pods are named after it",
        ".spec.hiveMind.enabled",
    )
