"""File system of the database."""

from __future__ import annotations

import shutil
from pathlib import Path

from swarm_operator.memory.core.errors import from_os
from swarm_operator.memory.core.stats import VolumeStats


def measure(directory: Path) -> VolumeStats:
    """Return size and free space. Space reserved for root is not free.

    Raises:
        StorageError: the file system can't be read.
    """
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        raise from_os(error, "the volume") from error
    return VolumeStats(size_bytes=usage.total, free_bytes=usage.free)
