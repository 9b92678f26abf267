"""One process opens the database: an exclusive flock on a file beside it.

flock belongs to the open file, so the kernel releases it when the process dies, however it dies. The file stays where
it is: deleting it would let two processes lock two files of the same name.
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
    """The exclusive right to open one database, from `acquire` to `release`."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting, and write who holds it into the file.

        Raises:
            DatabaseInUseError: another process has it; the message gives its pid and host.
            ReadOnlyError: the directory can't be written.
            StorageIOError: the file can't be opened for another reason.
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
        # What it says is for people only, so a disk without room for it is no reason to refuse to read.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Does nothing when it isn't held."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> str:
    try:
        facts = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {facts['pid']} on host {facts['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # the holder is between opening and writing
        return "another process"
