"""Errors that a store raises. Each class says whether a retry can help (`transient`).

Errors of a database library never leave its engine: the engine translates them.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final


class MemoryStoreError(Exception):
    """The base of everything the store raises on purpose."""

    code: ClassVar[str] = "internal"
    """A word for logs, metrics and problem types; it never changes once released."""

    transient: ClassVar[bool] = False
    """True when the same call may succeed later without anyone changing it."""

    def __copy__(self) -> MemoryStoreError:
        """Another error that says the same: exceptions collect tracebacks, so each caller gets one of its own."""
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        twin.__dict__.update(self.__dict__)
        return twin


class ConfigError(MemoryStoreError):
    """A setting is out of its range. The message names the setting and what is allowed."""

    code = "config"


class InvalidInputError(MemoryStoreError):
    """The caller's input breaks a limit. Nothing was read or written.

    Attributes:
        field: the part of the request that is wrong, as the caller spells it: `key`, `tags[3]`, `ttl`.
        allowed: what would have been accepted, as a phrase.
    """

    code = "invalid-input"

    def __init__(self, field: str, allowed: str) -> None:
        super().__init__(f"{field}: {allowed}")
        self.field = field
        self.allowed = allowed


class VersionConflictError(MemoryStoreError):
    """A compare-and-set found another version than the caller expected. Nothing was written.

    Attributes:
        current_version: the version that is stored now; None when there is no such entry.
    """

    code = "version-conflict"

    def __init__(self, current_version: int | None) -> None:
        super().__init__(
            "there is no such entry" if current_version is None else f"the entry has version {current_version}"
        )
        self.current_version = current_version


class BatchItemError(MemoryStoreError):
    """One write of an atomic batch failed, and with it the batch. Nothing was written.

    Attributes:
        index: which one, from 0.
        cause: why.
    """

    code = "batch-item"

    def __init__(self, index: int, cause: MemoryStoreError) -> None:
        super().__init__(f"operations[{index}]: {cause}")
        self.index = index
        self.cause = cause

    def __copy__(self) -> BatchItemError:
        """Another error that says the same."""
        return BatchItemError(self.index, self.cause)


class MissedChangesError(MemoryStoreError):
    """Changes after the position asked for are gone from the feed. List anew, then watch from the present on.

    Attributes:
        since: the position.
        oldest: the first that can be gone on from.
    """

    code = "gone"

    def __init__(self, since: int, oldest: int) -> None:
        super().__init__(since, oldest)
        self.since = since
        self.oldest = oldest

    def __str__(self) -> str:
        """In words."""
        return f"no watch can go on from {self.since}; the oldest position is {self.oldest}"


class OverloadedError(MemoryStoreError):
    """The write queue is full. Nothing was written; come back after a pause."""

    code = "overloaded"
    transient = True


class StoreClosedError(MemoryStoreError):
    """The store is closing or closed. Nothing was written."""

    code = "closed"


class InternalStoreError(MemoryStoreError):
    """A defect of the store: the message is for its authors. The transaction was rolled back."""


class StorageError(MemoryStoreError):
    """The disk or the database file failed. The transaction was rolled back as far as the engine can tell.

    A write that fails with StorageIOError may be found after a crash: nobody can know what a failed fsync left behind.
    The write is either applied completely or not at all.
    """

    code = "storage"
    transient = True


class DiskFullError(StorageError):
    """The volume (or the file's page limit) has no room. Reads go on."""

    code = "disk-full"


class ReadOnlyError(StorageError):
    """The file or its file system can't be written. Reads go on."""

    code = "read-only"


class StorageIOError(StorageError):
    """The operating system reported an I/O error."""

    code = "io-error"


class BusyError(StorageError):
    """Another program, for example a database shell, holds a lock on the file."""

    code = "busy"


class CorruptDatabaseError(StorageError):
    """The database file is damaged. Restore a backup."""

    code = "corrupt"
    transient = False


class CorruptValueError(StorageError):
    """A compressed value is damaged: its checksum or its length is wrong. Other entries are not concerned.

    The entry can still be overwritten or deleted.
    """

    code = "corrupt-value"
    transient = False


class DatabaseInUseError(MemoryStoreError):
    """Another process has this database open. The message names it."""

    code = "in-use"


class ForeignDatabaseError(MemoryStoreError):
    """The file is not a swarm memory. It was not touched."""

    code = "foreign-database"


class NewerSchemaError(MemoryStoreError):
    """A newer release wrote this file. It was not touched."""

    code = "newer-schema"


_BY_ERRNO: Final[dict[int, type[StorageError]]] = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EACCES: ReadOnlyError,
    errno.EPERM: ReadOnlyError,
    errno.EROFS: ReadOnlyError,
}


def from_os(error: OSError, what: str) -> StorageError:
    """The store's error for what the operating system says of a file beside the database."""
    kind = _BY_ERRNO.get(error.errno or 0, StorageIOError)
    return kind(f"{what}: {error.strerror or error}")
