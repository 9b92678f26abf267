"""Maps errors to problems, which each protocol renders in its own format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from swarm_operator.memory.core.errors import (
    BatchItemError,
    BusyError,
    DeletingError,
    DiskFullError,
    DuplicateError,
    EmbeddingError,
    InvalidInputError,
    MemoryStoreError,
    MissedChangesError,
    OverloadedError,
    RestoringError,
    StorageError,
    StoreClosedError,
    UpgradingError,
    VersionConflictError,
)
from swarm_operator.memory.service.errors import ImportFailedError, PeerError, RequestError, UnauthorizedError
from swarm_operator.memory.swarm.errors import RecordNotFoundError, RecordStateError
from swarm_operator.memory.transfer.backups.errors import (
    BackupConflictError,
    BackupDamagedError,
    BackupNotFoundError,
    DestinationError,
)

_STATUS: Final[tuple[tuple[type[MemoryStoreError], int], ...]] = (
    (InvalidInputError, 400),
    (RecordNotFoundError, 404),
    (BackupNotFoundError, 404),
    (RecordStateError, 409),
    (BackupConflictError, 409),
    (BackupDamagedError, 409),
    (DestinationError, 502),
    (DuplicateError, 409),
    (MissedChangesError, 410),
    (VersionConflictError, 412),
    (OverloadedError, 429),
    (DiskFullError, 507),
    (EmbeddingError, 503),
    (StorageError, 503),
    (StoreClosedError, 503),
    (RestoringError, 503),
    (DeletingError, 503),
    (UpgradingError, 503),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Error as reported to a caller.

    Attributes:
        status: HTTP status.
        code: kind of the problem; stable once released.
        detail: human-readable message.
        members: additional details, such as the invalid field; JSON values.
        headers: additional HTTP response headers.
        transient: whether the same request may succeed later.
    """

    status: int
    code: str
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    transient: bool = False


DEFECT: Final = Problem(500, "internal", "a defect of the service; its log has the details")


def describe(error: Exception) -> Problem:
    """Return the problem for an error; DEFECT for an error that is neither a RequestError nor a MemoryStoreError."""
    match error:
        case UnauthorizedError():
            return Problem(
                401, error.code, "a valid bearer token is required", headers=((b"www-authenticate", b"Bearer"),)
            )
        case ImportFailedError():
            cause = describe(error.cause)
            members = {**cause.members, **error.members}
            return replace(cause, members=members, headers=(*cause.headers, (b"connection", b"close")))
        case RequestError():
            transient = isinstance(error, PeerError) and error.transient
            return Problem(error.status, error.code, str(error), headers=error.headers, transient=transient)
        case BatchItemError():
            cause = describe(error.cause)
            return replace(cause, detail=str(error), members={**cause.members, "index": error.index}, headers=())
        case MemoryStoreError():
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
            if status == 500:
                return DEFECT
            transient = (error.transient or isinstance(error, StoreClosedError)) and status != 507
            return Problem(status, error.code, str(error), _members(error), _headers(error), transient)
        case _:
            return DEFECT


def _members(error: MemoryStoreError) -> dict[str, Any]:
    match error:
        case InvalidInputError():
            return {"field": error.field, "allowed": error.allowed}
        case DuplicateError():
            return {"key": error.key, "cosine": error.cosine}
        case MissedChangesError():
            return {"oldest": error.oldest}
        case RecordStateError() | BackupConflictError():
            return {"reason": error.reason}
        case VersionConflictError() if error.current_version is not None:
            return {"current_version": error.current_version}
    return {}


def _headers(error: MemoryStoreError) -> tuple[tuple[bytes, bytes], ...]:
    match error:
        case VersionConflictError() if error.current_version is not None:
            return ((b"etag", b'"%d"' % error.current_version),)
        case (
            OverloadedError()
            | BusyError()
            | StoreClosedError()
            | RestoringError()
            | DeletingError()
            | UpgradingError()
            | EmbeddingError()
        ):
            return ((b"retry-after", b"1"),)
    return ()
