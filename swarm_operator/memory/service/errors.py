"""What the service itself refuses, before the engine is asked. `problems` turns all of it into answers."""

from __future__ import annotations

from typing import Any, ClassVar


class RequestError(Exception):
    """A request that is answered with a 4xx, or for another server's sake with a 502.

    Attributes:
        status: the HTTP status.
        code: the last part of the problem's type.
        headers: to send along.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"

    def __init__(self, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.headers = headers


class UnauthorizedError(RequestError):
    """No token, or not one of ours. The answer doesn't say which."""

    status = 401
    code = "unauthorized"


class ForbiddenError(RequestError):
    """A valid token, of one who may not do this."""

    status = 403
    code = "forbidden"


class NotFoundError(RequestError):
    """No such entry, or no such path."""

    status = 404
    code = "not-found"


class WrongMethodError(RequestError):
    """The path exists, the method doesn't."""

    status = 405
    code = "method-not-allowed"


class BodyTimeoutError(RequestError):
    """The body stopped arriving."""

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


class PeerError(RequestError):
    """Another memory, which this one asked, did not answer or refused.

    Attributes:
        transient: whether the same request may succeed later.
    """

    status = 502
    code = "peer"

    def __init__(self, detail: str, *, transient: bool) -> None:
        super().__init__(detail)
        self.transient = transient


class ClientGoneError(Exception):
    """The client hung up before its request was complete. There is nobody to answer."""


class BadTokenFileError(Exception):
    """A token file is missing, empty or not a token. The message names the file, never its content."""


class ImportFailedError(RequestError):
    """An import ended early. What was written before the error stays.

    Attributes:
        cause: the error of the line, or of the store.
        members: how far the import came; added to the problem of the cause.
    """

    def __init__(self, cause: Exception, members: dict[str, Any]) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.members = members
