"""What the client raises: by what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MemoryAnswerError",
    "MemoryAuthError",
    "MemoryBusyError",
    "MemoryClientError",
    "MemoryConflictError",
    "MemoryGoneError",
    "MemoryNotFoundError",
    "MemoryRequestError",
    "MemoryServerError",
    "MemoryStateError",
    "MemoryUnavailableError",
    "answer_error",
]


class MemoryClientError(Exception):
    """The base of everything that the client raises.

    Attributes:
        transient: whether the same call may succeed later.
    """

    transient = False


class MemoryUnavailableError(MemoryClientError):
    """No answer: refused, broken or timed out.

    Attributes:
        uncertain: True when the request may have been carried out although its answer is lost.
    """

    transient = True

    def __init__(self, message: str, *, uncertain: bool) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class MemoryAnswerError(MemoryClientError):
    """The service answered with an error.

    Attributes:
        status: the HTTP status.
        problem: the problem document (RFC 9457); empty when there was none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail') or problem.get('title') or 'no details'}")
        self.status = status
        self.problem = problem

    @property
    def code(self) -> str:
        """The word for programs at the end of the problem's type: `disk-full`, `version-conflict`; "" without one."""
        return str(self.problem.get("type", "")).rpartition(":")[2]


class MemoryRequestError(MemoryAnswerError):
    """The request is wrong (4xx); `problem` names the field and what is allowed."""


class MemoryNotFoundError(MemoryRequestError):
    """There is no such record (404)."""


class MemoryStateError(MemoryRequestError):
    """The record is in a state in which this can't be done (409).

    Attributes:
        reason: a word for programs: `claimed`, `blocked`, `closed`, ...
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.reason: str | None = problem.get("reason")


class MemoryAuthError(MemoryAnswerError):
    """The token is missing or not valid (401, 403)."""


class MemoryConflictError(MemoryAnswerError):
    """A condition was not met (412): somebody else has written.

    Attributes:
        current_version: the version that is stored; None when there is no such entry.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.current_version: int | None = problem.get("current_version")


class MemoryGoneError(MemoryAnswerError):
    """A watch can't go on from where it was (410): changes are gone. List anew, then watch from now on.

    Attributes:
        oldest: the first position that could be gone on from.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        self.oldest: int | None = problem.get("oldest")


class MemoryBusyError(MemoryAnswerError):
    """The service refused for now and did nothing (429, or 503 with Retry-After)."""

    transient = True


class MemoryServerError(MemoryAnswerError):
    """The service could not do it: its disk is full or broken, or it has a defect (5xx)."""

    transient = True


def answer_error(status: int, problem: Mapping[str, Any], *, refused: bool) -> MemoryAnswerError:
    """The error for an answer that is none of success. `refused`: the service has said that it did nothing."""
    if status in {401, 403}:
        return MemoryAuthError(status, problem)
    if status == 410:
        return MemoryGoneError(status, problem)
    if status == 412:
        return MemoryConflictError(status, problem)
    if status == 429 or (status == 503 and refused):
        return MemoryBusyError(status, problem)
    if status >= 500:
        return MemoryServerError(status, problem)
    if status == 404:
        return MemoryNotFoundError(status, problem)
    if status == 409:
        return MemoryStateError(status, problem)
    return MemoryRequestError(status, problem)
