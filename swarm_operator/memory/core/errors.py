"""Errors that a store raises. Each class states whether a retry can succeed (`transient`).

Engines translate the errors of their database libraries into these errors.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final


class MemoryStoreError(Exception):
    """Base class of all errors that the store raises."""

    code: ClassVar[str] = "internal"
    """Stable identifier for logs, metrics and problem types; a released code never changes."""

    transient: ClassVar[bool] = False
    """True if the same call may succeed later."""

    def __copy__(self) -> MemoryStoreError:
        """Return a new error with the same attributes. Exceptions collect tracebacks, so each caller gets a copy."""
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        twin.__dict__.update(self.__dict__)
        return twin


class ConfigError(MemoryStoreError):
    """A setting is out of range. The message names the setting and what is allowed."""

    code = "config"


class InvalidInputError(MemoryStoreError):
    """The caller's input is invalid. Nothing was read or written.

    Attributes:
        field: the invalid field, as named in the request: `key`, `tags[3]`, `ttl`.
        allowed: phrase that describes the allowed input.
    """

    code = "invalid-input"

    def __init__(self, field: str, allowed: str) -> None:
        super().__init__(f"{field}: {allowed}")
        self.field = field
        self.allowed = allowed


class VersionConflictError(MemoryStoreError):
    """A compare-and-set found a different version than the caller expected. Nothing was written.

    Attributes:
        current_version: the stored version; None if the entry does not exist.
    """

    code = "version-conflict"

    def __init__(self, current_version: int | None) -> None:
        super().__init__(
            "there is no such entry" if current_version is None else f"the entry has version {current_version}"
        )
        self.current_version = current_version


class DuplicateError(MemoryStoreError):
    """Another entry of the namespace has almost the same vector, and the write's rule is to refuse. Nothing changed.

    Attributes:
        key: key of the other entry.
        cosine: cosine of the angle between the two vectors.
    """

    code = "duplicate"

    def __init__(self, key: str, cosine: float) -> None:
        super().__init__(key, cosine)
        self.key = key
        self.cosine = cosine

    def __str__(self) -> str:
        """Return the message."""
        return (
            f"on_duplicate: the entry {self.key!r} has almost the same meaning (cosine {self.cosine}); "
            "use that entry, or write with on_duplicate: keep"
        )


class BatchItemError(MemoryStoreError):
    """A write of an atomic batch failed. Nothing of the batch was written.

    Attributes:
        index: index of the write, from 0.
        cause: error of the write.
    """

    code = "batch-item"

    def __init__(self, index: int, cause: MemoryStoreError) -> None:
        super().__init__(f"operations[{index}]: {cause}")
        self.index = index
        self.cause = cause

    def __copy__(self) -> BatchItemError:
        """Return a new error with the same attributes."""
        return BatchItemError(self.index, self.cause)


class MissedChangesError(MemoryStoreError):
    """Changes after the requested position have been discarded. List the entries again, then watch from now.

    Attributes:
        since: the requested position.
        oldest: the oldest position from which a watch can resume.
    """

    code = "gone"

    def __init__(self, since: int, oldest: int) -> None:
        super().__init__(since, oldest)
        self.since = since
        self.oldest = oldest

    def __str__(self) -> str:
        """Return the message."""
        return f"no watch can go on from {self.since}; the oldest position is {self.oldest}"


class OverloadedError(MemoryStoreError):
    """A queue of writes or searches is full. Nothing was read or written; retry with backoff."""

    code = "overloaded"
    transient = True


class StoreClosedError(MemoryStoreError):
    """The store is closing or closed. Nothing was written."""

    code = "closed"


class RestoringError(MemoryStoreError):
    """Writes wait for the end of a restore. Nothing was written; reads work."""

    code = "restoring"
    transient = True


class DeletingError(MemoryStoreError):
    """Writes are refused: the store's final backup is being made or was made. Nothing was written; reads work."""

    code = "deleting"
    transient = True


class UpgradingError(MemoryStoreError):
    """Writes are refused: this release has changed the database's schema and is not ready yet. Reads work."""

    code = "upgrading"
    transient = True


class EmbeddingError(MemoryStoreError):
    """The embedder failed to make a vector. Searches with a vector of their own work."""

    code = "embedding"
    transient = True


class InternalStoreError(MemoryStoreError):
    """A defect of the store; report the message to the developers. The transaction was rolled back."""


class StorageError(MemoryStoreError):
    """The disk or the database file failed. The transaction was rolled back as far as the engine can tell.

    A write that failed with StorageIOError may exist after a crash: the state of the disk after a failed fsync is
    unknown. The write is either applied completely or not at all.
    """

    code = "storage"
    transient = True


class DiskFullError(StorageError):
    """The volume is full, or the file has reached its page limit. Reads still work."""

    code = "disk-full"


class ReadOnlyError(StorageError):
    """The file or its file system is not writable. Reads still work."""

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
    """A value is corrupt: its checksum or length is wrong, or it is no text. Other entries are not affected.

    The entry can still be overwritten or deleted.
    """

    code = "corrupt-value"
    transient = False


class DatabaseInUseError(MemoryStoreError):
    """Another process has this database open. The message names the process."""

    code = "in-use"


class ForeignDatabaseError(MemoryStoreError):
    """The file is not a swarm memory database. The file was not changed."""

    code = "foreign-database"


class NewerSchemaError(MemoryStoreError):
    """A newer release wrote this file. The file was not changed."""

    code = "newer-schema"


_BY_ERRNO: Final[dict[int, type[StorageError]]] = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EACCES: ReadOnlyError,
    errno.EPERM: ReadOnlyError,
    errno.EROFS: ReadOnlyError,
}


def from_os(error: OSError, what: str) -> StorageError:
    """Return the store's error for an OSError about a file that belongs to the store."""
    kind = _BY_ERRNO.get(error.errno or 0, StorageIOError)
    return kind(f"{what}: {error.strerror or error}")
