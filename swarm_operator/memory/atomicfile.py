"""Atomic creation of files: the service writes backups with it, the client downloads them with it.

The data is written to a hidden file with a unique name in the target's directory. A lock (flock) on the hidden file
tells files that are being written from files of killed processes. A hard link publishes the complete file: unlike a
rename, a link never replaces an existing file.
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
"""Suffix of the hidden files."""
_SIDECAR_SUFFIXES: Final = ("-journal", "-wal", "-shm", ".lock")
"""Suffixes of the files that SQLite and SqliteStore create beside a database."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class AtomicFile:
    """A file being written. `create` opens it; `publish` or `discard` ends it.

    Attributes:
        path: the hidden file; created empty, with mode 0600.
        target: the path of the published file.
    """

    def __init__(self, path: Path, target: Path, descriptor: int, *, replace: bool) -> None:
        self.path = path
        self.target = target
        self._descriptor: int | None = descriptor
        self._replace = replace

    @classmethod
    def create(cls, target: Path, *, replace: bool = False) -> AtomicFile:
        """Create the hidden file. This call is fast; `remove_stale`, to be called first, may be slow.

        Args:
            target: the path of the published file.
            replace: whether `publish` replaces a file of that path.

        Raises:
            FileExistsError: the target exists; it is not changed.
            OSError: the directory is missing or can't be written.
        """
        if not replace and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        while True:
            path = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}{SUFFIX}")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Between open and flock, `remove_stale` in another process may have locked and removed the file.
            if path.exists():
                return cls(path, target, descriptor, replace=replace)
            os.close(descriptor)

    def publish(self) -> None:
        """Flush the file to disk and publish it at the target. After an error the target does not exist.

        Raises:
            FileExistsError: another process has created the target; it is not changed.
            OSError: the disk failed.
        """
        assert self._descriptor is not None  # noqa: S101 - for mypy
        os.fsync(self._descriptor)
        if self._replace:
            self.path.rename(self.target)
        else:
            self._link()
        self.discard()
        sync_directory(self.target.parent)

    def _link(self) -> None:
        try:
            os.link(self.path, self.target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # The file system has no hard links: the check and the rename are not atomic.
            if os.path.lexists(self.target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.target)) from None
            self.path.rename(self.target)

    def discard(self) -> None:
        """Remove the hidden file. Do nothing after `publish`."""
        if self._descriptor is None:
            return
        try:
            _remove(self.path)
        finally:
            os.close(self._descriptor)
            self._descriptor = None


def remove_stale(directory: Path) -> int:
    """Remove the hidden files that killed processes left in a directory. Return their number."""
    removed = 0
    for path in directory.glob(f".*{SUFFIX}"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # owned by another user, or removed meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
            removed += 1
        except OSError:  # locked: still being written
            continue
        finally:
            os.close(descriptor)
    return removed


def _remove(path: Path) -> None:
    # The hidden file is removed last: `remove_stale` finds the sidecar files by its name.
    for name in (*(f"{path.name}{suffix}" for suffix in _SIDECAR_SUFFIXES), path.name):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()


def sync_directory(directory: Path) -> None:
    """Make the directory entry durable (fsync)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
