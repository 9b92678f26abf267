"""Errors of the API server and of reconcilers. Each is either transient (retry) or terminal (report and stop)."""

from __future__ import annotations

from typing import Any, NamedTuple


class TerminalError(Exception):
    """Raised by a reconciler when trying again cannot help until the object changes.

    The controller counts it, logs it and does not requeue (controller-runtime's `reconcile.TerminalError`).
    """


class Cause(NamedTuple):
    """One entry of a Status' `details.causes`."""

    field: str
    message: str
    reason: str


class ApiError(Exception):
    """A request that the API server refused, or that never got an answer.

    Attributes:
        status: HTTP status code; 0 when there was no answer.
        reason: the `reason` of the returned `metav1.Status`, such as `AlreadyExists`; may be empty.
        message: the server's message, for people.
        retry_after: seconds that the server asked us to wait; None when it did not ask.
        causes: what exactly is wrong: the field errors of a 422, or the reason of a 403.
    """

    transient = False

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
        causes: tuple[Cause, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes

    @property
    def version_too_large(self) -> bool:
        """Return whether the server does not know the requested resourceVersion yet: it is behind, or was restored."""
        return any(cause.reason == "ResourceVersionTooLarge" for cause in self.causes)


class BadRequestError(ApiError):
    """400: the request is malformed."""


class UnauthorizedError(ApiError):
    """401: the token is missing, wrong or expired."""

    transient = True


class ForbiddenError(ApiError):
    """403: RBAC, admission or a quota refuses this. Transient, since a grant may come at any time."""

    transient = True

    @property
    def namespace_terminating(self) -> bool:
        """Return whether the namespace is being deleted: then nothing can be created in it."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)


class NotFoundError(ApiError):
    """404: no such object, or no such kind (a CRD that is not there)."""


class ConflictError(ApiError):
    """409: the object has changed since it was read, or another field manager owns a field, or it exists already."""

    transient = True


class GoneError(ApiError):
    """410: the resourceVersion is too old to watch or to list from; list again."""

    transient = True


class InvalidError(ApiError):
    """422: the object fails validation; `causes` names the fields."""


class TooManyRequestsError(ApiError):
    """429: API Priority and Fairness refuses for now; `retry_after` is the time to wait."""

    transient = True


class ServerError(ApiError):
    """5xx: the server, or something behind it, failed."""

    transient = True


class UnreachableError(ApiError):
    """No answer: the connection failed, broke or timed out. The request may or may not have taken effect."""

    transient = True


class SilentError(UnreachableError):
    """A stream is open, but was silent for so long that it counts as dead."""


class FencedError(ApiError):
    """Not sent: this process was the leader and is no longer. It is about to end."""

    transient = True


class NotSyncedError(ApiError):
    """Not read: the first list of the kind is not in the cache yet. Declare it: see Controller.reads."""

    transient = True


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: TooManyRequestsError,
}


def from_status(code: int, status: dict[str, Any], *, retry_after: float | None = None) -> ApiError:
    """Make the typed error for a `metav1.Status` object, or for whatever else came with HTTP status `code`.

    Args:
        code: HTTP status code, or the `code` of an ERROR watch event.
        status: the decoded body; fields that are missing are left empty.
        retry_after: seconds from the `Retry-After` header, which wins over `details.retryAfterSeconds`.
    """
    details = status.get("details") or {}
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    error = _BY_STATUS.get(code, ServerError if code >= 500 else ApiError)
    return error(
        status.get("message") or f"HTTP {code}",
        status=code,
        reason=status.get("reason") or "",
        retry_after=retry_after,
        causes=tuple(
            Cause(cause.get("field", ""), cause.get("message", ""), cause.get("reason", ""))
            for cause in details.get("causes") or ()
        ),
    )
