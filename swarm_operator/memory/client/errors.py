"""Errors of the client, grouped by how the caller can react."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


class MemoryClientError(Exception):
    """Base class of all errors of the client.

    Attributes:
        transient: whether the same call may succeed later.
    """

    transient = False


class MemoryUnavailableError(MemoryClientError):
    """The service did not respond: connection refused, connection broken, or timeout.

    Attributes:
        uncertain: whether the request may have been applied although its response was lost.
    """

    transient = True

    def __init__(self, message: str, *, uncertain: bool) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class MemoryAnswerError(MemoryClientError):
    """The service responded with an error.

    Attributes:
        status: the HTTP status.
        problem: the problem document (RFC 9457); empty if the response has none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail') or problem.get('title') or 'no details'}")
        self.status = status
        self.problem = problem

    @property
    def code(self) -> str:
        """Machine-readable code from the problem's type, such as `disk-full` or `version-conflict`; "" if none."""
        return str(self.problem.get("type", "")).rpartition(":")[2]


class MemoryRequestError(MemoryAnswerError):
    """The request is invalid (4xx); `problem` names the field and the allowed values."""


class MemoryNotFoundError(MemoryRequestError):
    """The record does not exist (404)."""


class MemoryStateError(MemoryRequestError):
    """The record's state does not allow the operation (409).

    Attributes:
        reason: machine-readable reason: `claimed`, `blocked`, `closed`, ...
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.reason: str | None = problem.get("reason")


class MemoryAuthError(MemoryAnswerError):
    """The token is missing or invalid, or does not grant the permission (401, 403)."""


class MemoryConflictError(MemoryAnswerError):
    """A precondition failed (412): another client has written the entry.

    Attributes:
        current_version: the stored version; None if the entry does not exist.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.current_version: int | None = problem.get("current_version")


class MemoryGoneError(MemoryAnswerError):
    """A watch cannot be resumed (410): changes were discarded. List the entries again, then watch from now on.

    Attributes:
        oldest: the oldest position from which a watch can be resumed.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.oldest: int | None = problem.get("oldest")


class MemoryBusyError(MemoryAnswerError):
    """The service is overloaded and did not apply the request (429, or 503 with Retry-After).

    Attributes:
        retry_after: seconds to wait before a retry; 0 if the response does not say.
    """

    transient = True

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: float = 0.0) -> None:
        super().__init__(status, problem)
        self.retry_after = retry_after


class MemoryServerError(MemoryAnswerError):
    """The service failed: its disk is full or broken, or the service has a defect (5xx)."""

    transient = True


_BY_STATUS: Final[Mapping[int, type[MemoryAnswerError]]] = {
    401: MemoryAuthError,
    403: MemoryAuthError,
    404: MemoryNotFoundError,
    409: MemoryStateError,
    410: MemoryGoneError,
    412: MemoryConflictError,
}


def response_error(status: int, problem: Mapping[str, Any], *, retry_after: str | None) -> MemoryAnswerError:
    """Return the error for a response that is not 2xx. `retry_after` is its Retry-After header."""
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    if status == 429 or (status == 503 and seconds is not None):
        return MemoryBusyError(status, problem, retry_after=seconds or 0.0)
    return _BY_STATUS.get(status, MemoryServerError if status >= 500 else MemoryRequestError)(status, problem)
