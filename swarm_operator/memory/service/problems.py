"""Errors as RFC 9457 problem details: one table from what went wrong to the answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import orjson

from swarm_operator.memory.core.errors import (
    BatchItemError,
    BusyError,
    DiskFullError,
    InvalidInputError,
    MemoryStoreError,
    MissedChangesError,
    OverloadedError,
    StorageError,
    StoreClosedError,
    VersionConflictError,
)
from swarm_operator.memory.service.asgi import Reply, etag
from swarm_operator.memory.service.errors import RequestError, UnauthorizedError
from swarm_operator.memory.service.telemetry import tracing
from swarm_operator.memory.swarm import RecordNotFoundError, RecordStateError

_MEDIA_TYPE: Final = (b"content-type", b"application/problem+json")
_RETRY: Final = (b"retry-after", b"1")
_STATUS: Final[tuple[tuple[type[MemoryStoreError], int], ...]] = (
    (InvalidInputError, 400),
    (RecordNotFoundError, 404),
    (VersionConflictError, 412),
    (OverloadedError, 429),
    (DiskFullError, 507),
    (StorageError, 503),
    (StoreClosedError, 503),
)


def problem(
    status: int, code: str, detail: str, *headers: tuple[bytes, bytes], **members: Any
) -> Reply:  # fmt: skip
    """A problem document.

    Args:
        status: the HTTP status.
        code: names the kind of problem, in `type`; it never changes once released.
        detail: for people.
        headers: to send along.
        members: extension members; those that are None are left out.
    """
    document = {
        "type": f"urn:swarm-memory:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **{name: value for name, value in members.items() if value is not None},
    }
    return Reply(status, orjson.dumps(document), (*_common(), *headers))


def reply_to(error: RequestError | MemoryStoreError) -> Reply:
    """The answer to a request that failed so."""
    if isinstance(error, UnauthorizedError):
        return problem(401, error.code, "a valid bearer token is required", (b"www-authenticate", b"Bearer"))
    if isinstance(error, RequestError):
        return problem(error.status, error.code, str(error), *error.headers)
    if isinstance(error, BatchItemError):
        cause = reply_to(error.cause)
        document = {**orjson.loads(cause.body), "detail": str(error), "index": error.index}
        return Reply(cause.status, orjson.dumps(document), _common())
    if isinstance(error, MissedChangesError):
        return problem(410, error.code, str(error), oldest=error.oldest)
    if isinstance(error, InvalidInputError):
        return problem(400, error.code, str(error), field=error.field, allowed=error.allowed)
    if isinstance(error, RecordStateError):
        return problem(409, error.code, str(error), reason=error.reason)
    if isinstance(error, VersionConflictError):
        current = error.current_version
        headers = () if current is None else (etag(current),)
        return problem(412, error.code, str(error), *headers, current_version=current)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        return problem(500, "internal", "a defect of the service; its log has the details")
    retry = isinstance(error, OverloadedError | BusyError | StoreClosedError)
    return problem(status, error.code, str(error), *((_RETRY,) if retry else ()))


def _common() -> tuple[tuple[bytes, bytes], ...]:
    # It is refusals that people ask about, so each can be found again.
    return _MEDIA_TYPE, (b"x-request-id", tracing.request_id().encode())
