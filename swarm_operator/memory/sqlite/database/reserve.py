"""Reserve file, deleted when the disk is full: deletes, checkpoints and vacuum need free space.

SQLite appends to the log even for a delete. Without free space, nothing could be deleted from a full volume.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Reserve:
    """Reserve of one database.

    Args:
        database: the database file; the reserve is beside it.
        size: bytes of the reserve; 0: no reserve.
    """

    def __init__(self, database: Path, size: int) -> None:
        self._path = database.with_name(database.name + "-reserve")
        self._size = size
        self.given_up = False
        """True after the reserve was released, until it is held again."""

    def hold(self) -> bool:
        """Create the file if the same amount stays free. Return whether the reserve is held; True for size 0."""
        try:
            if self._held() or self._take():
                self.given_up = False
                return True
        except OSError:  # the disk is full, or the file system does not support it
            self._path.unlink(missing_ok=True)
        return False

    def give_up(self) -> bool:
        """Delete the file. Return False if the reserve was not held."""
        try:
            self._path.unlink()
        except OSError:
            return False
        self.given_up = True
        return True

    def _held(self) -> bool:
        return self._size == 0 or (self._path.exists() and self._path.stat().st_blocks * 512 >= self._size)

    def _take(self) -> bool:
        if shutil.disk_usage(self._path.parent).free < 2 * self._size:
            return False
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
        finally:
            os.close(descriptor)
        return True
