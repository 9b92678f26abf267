"""A file that gets its name when it is whole: backups, as the service makes them and as the client fetches them.

It grows under a hidden name beside its place, which no other file takes. While it grows it is locked (flock), so what
a process has left behind that was killed is told from what one is still at work on. It is given its name by a hard
link, which, unlike a rename, never replaces a file that is there already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

SUFFIX: Final = ".swarm-partial"
"""What the hidden names end with."""
_BESIDE: Final = ("-journal", "-wal", "-shm", ".lock")
"""What SQLite, and who opens it as a store, puts beside a file that is being written."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class AtomicFile:
    """A file in the making. Made by `create`; ends with `publish` or `discard`.

    Attributes:
        path: where it grows; there from the start on, empty, and its owner's only.
        target: where it will be.
    """

    def __init__(self, path: Path, target: Path, descriptor: int) -> None:
        self.path = path
        self.target = target
        self._descriptor: int | None = descriptor

    @classmethod
    def create(cls, target: Path) -> AtomicFile:
        """Begin one. It is quick; `remove_stale`, which goes before, may not be.

        Raises:
            FileExistsError: the target is there; it stays as it is.
            OSError: the directory is missing or can't be written.
        """
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        while True:
            path = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}{SUFFIX}")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Between the two lines above another process may have taken it for one that was left behind.
            if path.exists():
                return cls(path, target, descriptor)
            os.close(descriptor)

    def publish(self) -> None:
        """Put it on disk under its name. It is there, whole, when this returns; after an error it is not.

        Raises:
            FileExistsError: there is a file of that name by now; it stays as it is.
            OSError: the disk failed.
        """
        assert self._descriptor is not None  # noqa: S101 - for mypy
        os.fsync(self._descriptor)
        try:
            os.link(self.path, self.target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # A file system without hard links: the check and the rename are two steps here.
            if os.path.lexists(self.target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.target)) from None
            self.path.rename(self.target)
        self.discard()
        _sync_directory(self.target.parent)

    def discard(self) -> None:
        """Remove what has grown. Does nothing after `publish`."""
        if self._descriptor is None:
            return
        try:
            _remove(self.path)
        finally:
            os.close(self._descriptor)
            self._descriptor = None


def remove_stale(directory: Path) -> int:
    """Remove what processes have left behind that were killed at work there; says how many."""
    removed = 0
    for path in directory.glob(f".*{SUFFIX}"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # another user's, or gone meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            removed += 1
        except OSError:  # at work
            continue
        finally:
            os.close(descriptor)
    return removed


def _remove(path: Path) -> None:
    # The file itself goes last: it is by its name that the others are found.
    for name in (*(f"{path.name}{suffix}" for suffix in _BESIDE), path.name):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()


def _sync_directory(directory: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
