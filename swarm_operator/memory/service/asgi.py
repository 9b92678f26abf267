"""HTTP helpers on plain ASGI: strict paths and queries, bounded bodies, entity tags, responses.

The request and response objects of a framework would cost as much time as the operation itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.types import Receive, Send

from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError
from swarm_operator.memory.service.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    UnsupportedEncodingError,
    UnsupportedMediaTypeError,
)
from swarm_operator.memory.service.problems import Problem
from swarm_operator.memory.service.quotas import Holder, Quota, largest_request, too_large
from swarm_operator.memory.service.telemetry.tracing import request_id

JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,18}")
_UNTOLD_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "application/octet-stream", "text/plain"})
"""Default content types of HTTP clients (curl -d, aiohttp, fetch), which do not describe the body."""
_DRAIN_FACTOR = 4


@dataclass(slots=True)
class Reply:
    """Response with a complete body."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send) -> None:
        """Send the response."""
        headers = list(self.headers)
        if self.status not in {204, 304}:
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def encode(self, fields: Iterable[tuple[bytes, bytes]], *, close: bool = False) -> bytes:
        """Return the bytes of the HTTP/1.1 response, with further header fields before those of the response."""
        headers = [*fields, *self.headers, (b"content-length", b"%d" % len(self.body))]
        if close:
            headers.append((b"connection", b"close"))
        line = b"HTTP/1.1 %d %b\r\n" % (self.status, HTTPStatus(self.status).phrase.encode())
        return b"".join([line, *(b"%b: %b\r\n" % header for header in headers), b"\r\n", self.body])


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield


@dataclass(slots=True)
class Stream:
    """Response that is sent in chunks. An error before the first chunk is sent as a problem response.

    Attributes:
        status: HTTP status.
        chunks: chunks of the body; closed when the client disconnects.
        headers: response headers; read when the first chunk is available.
        endless: whether the stream ends only when the service stops or the client disconnects.
        send_timeout: maximum seconds to send a chunk to the client; None: no limit.
    """

    status: int
    chunks: AsyncGenerator[bytes, None] = field(default_factory=_nothing)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    endless: bool = False
    send_timeout: float | None = None


@dataclass(slots=True)
class Forward:
    """Response that another ASGI application sends."""

    app: Callable[[Receive, Send], Awaitable[None]]


def problem_reply(problem: Problem) -> Reply:
    """Return a response with RFC 9457 problem details and the request ID."""
    document = {
        "type": f"urn:swarm-memory:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    headers = (_PROBLEM, (b"x-request-id", request_id().encode()), *problem.headers)
    return Reply(problem.status, orjson.dumps(document), headers)


async def disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def percent_decode(field: str, raw: bytes) -> str:
    """Return a decoded part of a URL. Unlike urllib, invalid encoding raises an error.

    Raises:
        InvalidInputError: a `%` lacks two hexadecimal digits, or the bytes are not UTF-8.
    """
    if b"%" in raw:
        decoded = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
        if len(raw) - len(decoded) != 2 * raw.count(b"%"):
            raise InvalidInputError(field, "percent-encoding: % and two hexadecimal digits; % itself is %25")
        raw = decoded
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidInputError(field, "UTF-8, percent-encoded") from None


def parse_query(raw: bytes, allowed: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of a query string; + is decoded as a space, as in forms.

    Raises:
        InvalidInputError: a parameter is unknown, repeated or badly encoded.
    """
    return {name: values[0] for name, values in parse_query_lists(raw, allowed).items()}


def parse_query_lists(
    raw: bytes, allowed: tuple[str, ...], *, repeated: frozenset[str] = frozenset()
) -> dict[str, list[str]]:
    """Return the parameters with all their values in order. Only `repeated` ones may recur. Raises as `parse_query`."""
    found: dict[str, list[str]] = {}
    for part in raw.split(b"&") if raw else ():
        name_raw, _, value_raw = part.partition(b"=")
        name = percent_decode("query", name_raw.replace(b"+", b" "))
        if name not in allowed:
            raise InvalidInputError(f"query parameter {name[:64]!r}", f"one of {', '.join(allowed)}")
        if name in found and name not in repeated:
            raise InvalidInputError(name, "at most once")
        found.setdefault(name, []).append(percent_decode(name, value_raw.replace(b"+", b" ")))
    return found


def etag(version: int) -> tuple[bytes, bytes]:
    """Return the ETag header of a version: the number in quotes."""
    return b"etag", b'"%d"' % version


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Condition of an If-Match header (RFC 9110, section 13.1.1).

    Attributes:
        versions: versions that the entry may have; None: any.
    """

    versions: frozenset[int] | None

    @classmethod
    def parse(cls, header: bytes) -> IfMatch:
        """Return the condition. Weak tags, and tags that no entry has, match nothing.

        Raises:
            InvalidInputError: the header is neither `*` nor a list of entity tags.
        """
        text = header.decode("latin-1").strip()
        if text == "*":
            return cls(None)
        tags = _TAG.findall(text)
        if not tags or _TAG.sub("", text).strip(" \t,"):
            raise InvalidInputError("If-Match", 'versions in quotes, as their ETag gave them: "3", or *')
        return cls(frozenset(int(tag) for weak, tag in tags if not weak and _VERSION.fullmatch(tag)))

    def matches(self, version: int | None) -> bool:
        """Return whether an entry with this version meets the condition; None for a missing entry."""
        return version is not None and (self.versions is None or version in self.versions)


def if_none_match(header: bytes | None, version: int) -> bool:
    """Return whether If-None-Match names this version, so that the response can be 304."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.decode("latin-1").split(",")]
    return f'"{version}"' in tags or tags == ["*"]


class BodyReader:
    """Reads request bodies with a limit for each body and a limit for all bodies together.

    Args:
        limit: maximum bytes of one body; see quotas.largest_request.
        quota: limits the bytes of large bodies. Bytes count when they arrive; Content-Length reserves nothing.
        timeout: maximum seconds between two parts of a body.
    """

    _SMALL = 64 * 1024
    """Bodies up to this size (bytes) are not counted in the quota: the number of open connections bounds them."""

    def __init__(self, *, limit: int, quota: Quota, timeout: float) -> None:
        self.limit = limit
        self._quota = quota
        self._timeout = timeout

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, holder: Holder) -> bytes:
        """Return the complete body. The holder holds its bytes until `release`.

        Raises:
            BodyTooLargeError, BodyTimeoutError, UnsupportedEncodingError: see `errors`.
            OverloadedError: too many large bodies are in flight.
            ClientGoneError: the client disconnected.
        """
        _check_encoding(headers)
        # The server has validated Content-Length and enforces it.
        announced = int(headers.get(b"content-length", b"0"))
        if announced > self.limit or (announced > self._SMALL and announced > largest_request(holder, self.limit)):
            await self._drain(announced, receive)
            raise too_large(holder, self.limit)
        message = await self._next(receive)
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False) and len(body) <= self._SMALL:
            return body
        return await self._read_large(announced, message, receive, holder)

    def release(self, holder: Holder, body: bytes) -> None:
        """Release the bytes of a body that `read` returned."""
        if len(body) > self._SMALL:
            self._quota.give_back(holder, len(body))

    async def stream(self, headers: Mapping[bytes, bytes], receive: Receive) -> AsyncIterator[bytes]:
        """Yield the parts of the body as they arrive, without a size limit. The caller must bound what it keeps.

        Raises:
            BodyTimeoutError, UnsupportedEncodingError, ClientGoneError: see `read`.
        """
        _check_encoding(headers)
        more = True
        while more:
            message = await self._next(receive)
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def _read_large(self, announced: int, message: Any, receive: Receive, holder: Holder) -> bytes:
        chunks: list[bytes] = []
        size = held = 0
        try:
            while True:
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                held = self._hold(holder, size, held)
                if not message.get("more_body", False):
                    return b"".join(chunks)
                message = await self._next(receive)
        except BaseException as error:
            chunks.clear()
            if held:
                self._quota.give_back(holder, held)
            if isinstance(error, BodyTooLargeError | OverloadedError):
                await self._drain(max(announced, size), receive, more=message.get("more_body", False))
            raise

    def _hold(self, holder: Holder, size: int, held: int) -> int:
        """Hold the received bytes of a body instead of the amount held before. Return the new amount."""
        if size > largest_request(holder, self.limit):
            raise too_large(holder, self.limit)
        if size <= self._SMALL:
            return 0
        self._quota.take(holder, size - held, mine=held)
        return size

    async def _drain(self, announced: int, receive: Receive, *, more: bool = True) -> None:
        """Read and discard the rest of a rejected request's body, up to _DRAIN_FACTOR times the limit.

        A client that is still sending when the connection closes would see a reset instead of the response.
        """
        most = _DRAIN_FACTOR * self.limit
        received = 0
        while more and announced <= most and received <= most:
            message = await self._next(receive)
            more = message.get("more_body", False)
            received += len(message.get("body", b""))

    async def _next(self, receive: Receive) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                message = await receive()
        except TimeoutError:
            raise BodyTimeoutError(
                f"no part of the body arrived for {self._timeout:g} seconds", (b"connection", b"close")
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message


def combined(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return header fields by name. Values of a repeated name are joined by commas (RFC 9110, section 5.3).

    So a repeated field that must not be a list, such as Authorization, is invalid: none of its values is selected.
    """
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """Check that Content-Type does not name another format than JSON.

    Raises:
        UnsupportedMediaTypeError: Content-Type names another format.
    """
    sent = headers.get(b"content-type")
    if sent is None or sent == JSON[1]:
        return
    media_type = sent.partition(b";")[0].strip().lower().decode("latin-1")
    if "json" not in media_type and media_type not in _UNTOLD_TYPES:
        raise UnsupportedMediaTypeError(
            f"Content-Type: {media_type[:64]} is not read; send application/json", (b"accept", JSON[1])
        )


def _check_encoding(headers: Mapping[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedEncodingError("send the body without Content-Encoding", (b"accept-encoding", b"identity"))


def check_members(field: str, document: dict[str, Any], allowed: frozenset[str]) -> None:
    """Raise InvalidInputError for a member that is not allowed: a misspelt member must not be ignored silently."""
    if unknown := document.keys() - allowed:
        raise InvalidInputError(
            f"{field}: unknown member {min(unknown)[:64]!r}", f"one of {', '.join(sorted(allowed))}"
        )
