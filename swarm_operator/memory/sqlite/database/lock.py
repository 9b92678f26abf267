"""Process lock: an exclusive flock on a file beside the database, so that only one process opens the database.

The kernel releases the flock when the process ends for any reason. The lock file is never deleted: otherwise two
processes could lock two files of the same name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from swarm_operator.memory.core.errors import DatabaseInUseError, ReadOnlyError, StorageIOError


class ProcessLock:
    """Exclusive lock on one database, held from `acquire` to `release`."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquire the lock without waiting. Write the pid and host of this process into the lock file.

        Raises:
            DatabaseInUseError: another process holds the lock; the message contains its pid and host.
            ReadOnlyError: the directory is not writable.
            StorageIOError: opening the lock file failed for another reason.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            kind = ReadOnlyError if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else StorageIOError
            raise kind(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise DatabaseInUseError(
                f"{self.path.with_suffix('')} is already open in {holder}; one process at a time may open it"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StorageIOError(f"{self.path}: {error.strerror}") from error
        # The content is only informative: a full disk must not prevent reads.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. Do nothing if the lock is not held."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> str:
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {facts['pid']} on host {facts['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # the holder has not written its pid yet
        return "another process"
