"""File that takes up space, to be given up when the disk is full: deletes, checkpoints and vacuum need some.

SQLite appends to the log also when it deletes. Without room for that, nothing could be deleted from a full volume.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Reserve:
    """Reserve of one database.

    Args:
        database: the database file; the reserve is beside it.
        size: bytes to take up; 0: no reserve.
    """

    def __init__(self, database: Path, size: int) -> None:
        self._path = database.with_name(database.name + "-reserve")
        self._size = size
        self.given_up = False
        """Whether the reserve was given up and is not held again."""

    def hold(self) -> bool:
        """Take up the space if as much is left after that. Return whether it is held; True if there is to be none."""
        try:
            if self._held() or self._take():
                self.given_up = False
                return True
        except OSError:  # full after all, or a file system that cannot do it
            self._path.unlink(missing_ok=True)
        return False

    def give_up(self) -> bool:
        """Free the space. Return False if none was held."""
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
