"""Errors of the client, grouped by how the caller can react."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from swarm_operator.memory.client.encoding import json_object

_PROBLEM: Final = "application/problem+json"
_SHOWN_BYTES: Final = 80
_GATEWAY: Final = frozenset({502, 503, 504})
"""Statuses by which a proxy reports that the service did not respond."""


class MemoryClientError(Exception):
    """Base class of all errors of the client.

    Attributes:
        transient: whether the same call may succeed later.
    """

    transient: ClassVar[bool] = False


class MemoryUnavailableError(MemoryClientError):
    """The service did not respond: connection refused, connection broken, timeout, or a proxy's 502, 503 or 504.

    Attributes:
        uncertain: whether the request may have been applied although its response was lost.
    """

    transient = True

    def __init__(self, message: str, *, uncertain: bool) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class MemoryProtocolError(MemoryUnavailableError):
    """Something else responded in the service's place, such as a proxy: a redirect, a page, another document.

    The message has the status, the media type and the first bytes. The client does not retry the request.
    """

    transient = False


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


class MemoryDuplicateError(MemoryRequestError):
    """Another entry of the namespace has almost the same meaning, and the write said `refuse` (409).

    Attributes:
        key: key of the other entry.
        cosine: cosine of the angle between the vectors.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.key = str(problem.get("key"))
        self.cosine: float | None = problem.get("cosine")


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
_BY_TYPE: Final[Mapping[str, type[MemoryAnswerError]]] = {"urn:swarm-memory:problem:duplicate": MemoryDuplicateError}
_ONLY_OURS: Final = frozenset({404, 409, 410, 412})
"""Statuses about stored data, accepted only with a problem document of the service."""


@dataclass(frozen=True, slots=True)
class Received:
    """A received response, for messages of errors.

    Attributes:
        server: base URL of the service.
        status: the HTTP status.
        media_type: the media type.
        body: the body, or its first bytes.
        retry_after: the Retry-After header.
        location: the Location header.
        possibly_applied: whether the request may have changed something.
    """

    server: str
    status: int
    media_type: str
    body: bytes
    retry_after: str | None
    location: str | None
    possibly_applied: bool

    def foreign(self, reason: str = "") -> MemoryProtocolError:
        """Return the error for a response of another server. `reason` explains it if the media type does not."""
        where = f" to {self.location[:200]}" if self.location else ""
        why = f" ({reason})" if reason else ""
        return MemoryProtocolError(
            f"{self.server}: {self._summary()}{where} is not a response of the memory service{why}; "
            "base_url must be the address of the service itself",
            uncertain=self.possibly_applied,
        )

    def failure(self) -> MemoryClientError:
        """Return the error for an unexpected response."""
        if self.status < 400:
            return self.foreign()
        ours = self.media_type == _PROBLEM
        problem: Mapping[str, Any] = (json_object(self.body) if ours else None) or {"detail": self._summary()}
        retry_after = self.retry_after
        seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
        if self.status == 429 or (ours and self.status == 503 and seconds is not None):
            return MemoryBusyError(self.status, problem, retry_after=seconds or 0.0)
        if not ours and self.status in _GATEWAY:
            return MemoryUnavailableError(f"{self.server}: {self._summary()}", uncertain=self.possibly_applied)
        if not ours and self.status in _ONLY_OURS:
            return self.foreign()
        kind = _BY_STATUS.get(self.status, MemoryServerError if self.status >= 500 else MemoryRequestError)
        return _BY_TYPE.get(str(problem.get("type")), kind)(self.status, problem)

    def _summary(self) -> str:
        """Return status, media type and first bytes."""
        return f"{self.status} {self.media_type} {self.body[:_SHOWN_BYTES]!r}"
