"""File system that the database is on."""

from __future__ import annotations

import shutil
from pathlib import Path

from swarm_operator.memory.core.errors import from_os
from swarm_operator.memory.core.stats import VolumeStats


def measure(directory: Path) -> VolumeStats:
    """Return size and free space. What only root may take up is not free.

    Raises:
        StorageError: the file system does not answer.
    """
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        raise from_os(error, "the volume") from error
    return VolumeStats(size_bytes=usage.total, free_bytes=usage.free)
