"""Directory for copies of databases and staged items. A migration removes the directories of killed ones.

A lock (flock) on a file in the directory shows that the directory is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "swarm-memory-migration-"
_LOCK: Final = "lock"


@contextlib.contextmanager
def scratch_directory(parent: Path | None) -> Iterator[Path]:
    """Make a directory, and remove it on exit.

    Args:
        parent: parent directory; None: the system's directory for temporary files.

    Raises:
        OSError: the directory can't be created.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_stale(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
