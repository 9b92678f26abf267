"""Errors of backups. Their codes are the reasons of failures in documents and metrics."""

from __future__ import annotations

from typing import ClassVar

from swarm_operator.memory.core.errors import MemoryStoreError


class BackupNotFoundError(MemoryStoreError):
    """No complete backup has this name."""

    code = "backup-not-found"


class BackupConflictError(MemoryStoreError):
    """The state of the service does not allow the operation. Nothing was done.

    Attributes:
        reason: machine-readable reason: `running` or `no-destination`.
    """

    code = "backup-conflict"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __copy__(self) -> BackupConflictError:
        """Return a new error with the same attributes."""
        return BackupConflictError(self.reason, str(self))


class BackupDamagedError(MemoryStoreError):
    """The stored backup differs from its manifest, or is not an intact database."""

    code = "backup-damaged"


class ForeignBackupError(MemoryStoreError):
    """The backup belongs to another swarm."""

    code = "backup-of-another-swarm"


class DatabaseExistsError(MemoryStoreError):
    """A database exists at the path of the new one. It was not changed."""

    code = "database-exists"


class BackupInterruptedError(MemoryStoreError):
    """The service stopped before the backup was complete."""

    code = "interrupted"
    transient = True


class SafetyBackupError(MemoryStoreError):
    """The backup of the data that a restore replaced failed. The data are kept."""

    code = "safety-backup-failed"
    transient = True


class DestinationError(MemoryStoreError):
    """The destination of backups failed. The message names the destination and never a credential."""

    code: ClassVar[str] = "destination-failed"
    transient = True


class DestinationConfigError(DestinationError):
    """The URL, the options or the credentials of the destination are not valid."""

    code = "destination-invalid"
    transient = False


class DestinationDeniedError(DestinationError):
    """The destination refused the credentials or the permission."""

    code = "destination-denied"


class DestinationMissingError(DestinationError):
    """The folder, the bucket or the container does not exist."""

    code = "destination-missing"


class DestinationFullError(DestinationError):
    """The destination has no room left."""

    code = "destination-full"


class DestinationUnreachableError(DestinationError):
    """The destination did not answer, or the connection broke, and retries did not help."""

    code = "destination-unreachable"


REASONS = (
    BackupDamagedError.code, ForeignBackupError.code, BackupInterruptedError.code, DestinationError.code,
    DestinationConfigError.code, DestinationDeniedError.code, DestinationMissingError.code, DestinationFullError.code,
    DestinationUnreachableError.code,
)  # fmt: skip
"""Reasons of failed backups that this module defines. Others are codes of core.errors, such as `disk-full`."""
