"""Errors that the service raises before it calls the store. `problems` maps them to responses."""

from __future__ import annotations

from typing import Any, ClassVar


class RequestError(Exception):
    """Request error that is answered with a 4xx status, or with 502 if another server caused the error.

    Attributes:
        status: HTTP status.
        code: last part of the problem's type.
        headers: additional response headers.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"

    def __init__(self, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.headers = headers


class UnauthorizedError(RequestError):
    """The token is missing or unknown. The response does not distinguish the two cases."""

    status = 401
    code = "unauthorized"


class ForbiddenError(RequestError):
    """The token is valid but lacks the permission."""

    status = 403
    code = "forbidden"


class NotFoundError(RequestError):
    """The entry or the path does not exist."""

    status = 404
    code = "not-found"


class WrongMethodError(RequestError):
    """The path exists but does not support the method."""

    status = 405
    code = "method-not-allowed"


class BodyTimeoutError(RequestError):
    """The client stopped sending the body."""

    status = 408
    code = "body-timeout"


class BodyTooLargeError(RequestError):
    """The body is over the limit."""

    status = 413
    code = "body-too-large"


class UnsupportedEncodingError(RequestError):
    """The body is compressed."""

    status = 415
    code = "unsupported-encoding"


class UnsupportedMediaTypeError(RequestError):
    """The Content-Type of the body is a format that the operation does not read."""

    status = 415
    code = "unsupported-media-type"


class MalformedRequestError(RequestError):
    """The request is not HTTP/1.1 as in RFC 9112."""

    code = "malformed-request"


class HeadTimeoutError(RequestError):
    """The client did not send the complete head of a request in time."""

    status = 408
    code = "head-timeout"


class HeadTooLargeError(RequestError):
    """The request line and the header fields together, or the trailer fields, are over the limit."""

    status = 431
    code = "head-too-large"


class TooManyConnectionsError(RequestError):
    """All connections are in use; this connection was kept for probes only."""

    status = 503
    code = "too-many-connections"


class PeerError(RequestError):
    """A peer that this service called did not respond or rejected the request.

    Attributes:
        transient: whether the same request may succeed later.
    """

    status = 502
    code = "peer"

    def __init__(self, detail: str, *, transient: bool) -> None:
        super().__init__(detail)
        self.transient = transient


class ClientGoneError(Exception):
    """The client disconnected before its request was complete. No response is sent."""


class BadTokenFileError(Exception):
    """A token file is missing, empty or invalid. The message names the file, never its content."""


class BadCertificateError(Exception):
    """The files of the certificate are missing or invalid, or do not match. The message never has their content."""


class ImportFailedError(RequestError):
    """An import ended early. Entries written before the error are kept.

    Attributes:
        cause: error of the line or of the store.
        members: progress of the import; added to the problem of the cause.
    """

    def __init__(self, cause: Exception, members: dict[str, Any]) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.members = members
