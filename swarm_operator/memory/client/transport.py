"""HTTP transport of the client: connections, authentication, retries and checks of responses.

`Transport.send` sends every request. It follows no redirects, and accepts only the expected statuses and media type.
`retrying` describes the retries.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import yarl

from swarm_operator.memory.client.encoding import json_object
from swarm_operator.memory.client.errors import (
    MemoryAuthError,
    MemoryClientError,
    MemoryNotFoundError,
    MemoryUnavailableError,
    Received,
)
from swarm_operator.memory.client.retrying import RetryPolicy
from swarm_operator.memory.client.trust import Trust

JSON: Final = "application/json"
OK: Final = frozenset({200})
WRITTEN: Final = frozenset({200, 201})
CREATED: Final = frozenset({201})
DELETED: Final = frozenset({204})
_REREAD_SECONDS: Final = 10.0
"""Seconds after which the token file is read again. The kubelet renews a pod's token two minutes before it expires."""
_MAX_GROWTH: Final = 4
"""Maximum time of an attempt to connect by TLS, in multiples of the client's `connect_timeout`."""
_MAX_PROBLEM_BYTES: Final = 64 * 1024
_MAX_FOREIGN_BYTES: Final = 200
_T = TypeVar("_T")


class Transport:
    """Sends requests to one service. Its parameters are those of MemoryClient.

    Attributes:
        server: the base URL.
        timeout: seconds for one attempt.
        policy: limits of retries.

    Raises:
        ValueError: `base_url` is not http://HOST:PORT or https://HOST:PORT, perhaps with a path.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None,
        token_file: Path | None,
        trust: Trust,
        timeout: float,
        connect_timeout: float,
        connections: int,
        policy: RetryPolicy,
    ) -> None:
        self.timeout = timeout
        self.server = _checked(base_url)
        self._token = token
        self._token_file = token_file
        self._trust = trust
        self._reread_at = 0.0
        self._connect_timeout = connect_timeout
        self._next_connect_timeout = connect_timeout
        self._connections = connections
        self.policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Create the HTTP session."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._connections))
        # aiohttp resends a PUT when a kept-alive connection breaks, even a conditional one, and has no public switch to
        # turn this off. `request` decides about retries.
        self._session._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        """Close the HTTP session and its connections."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], _T],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        statuses: Collection[int] = OK,
        idempotent: bool = True,
        timeout: float | None = None,
    ) -> _T:
        """Send a request, retry it if that is safe, and return the response's JSON object converted by `read`.

        Args:
            method: the HTTP method.
            path: escaped path, perhaps with a query.
            read: converts the document, which is {} for 204. KeyError, TypeError or ValueError means that another
                server has sent the document.
            headers: additional headers.
            body: JSON.
            statuses: statuses of success.
            idempotent: whether to retry after the response was lost.
            timeout: seconds for one attempt, the client's by default.
        """
        sent = {**(headers or {}), **({} if body is None else {"Content-Type": JSON})}
        timeout = self.timeout if timeout is None else timeout

        async def attempt() -> _T:
            sending = self.send(method, path, headers=sent, body=body, statuses=statuses, timeout=timeout)
            async with sending as response:
                return await self.read(response, read)

        return await self.policy.run(attempt, idempotent=idempotent)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, *, media_type: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a GET, retry it as `request` does until a response begins, and yield the response.

        Args:
            path: escaped path, perhaps with a query.
            media_type: media type of a successful response.
        """
        async with contextlib.AsyncExitStack() as stack:
            yield await self.policy.run(
                lambda: stack.enter_async_context(self.send("GET", path, media_type=media_type)), idempotent=True
            )

    async def find(self, path: str, read: Callable[[dict[str, Any]], _T]) -> _T | None:
        """Send a GET as `request` does. Return None for 404."""
        try:
            return await self.request("GET", path, read)
        except MemoryNotFoundError:
            return None

    async def delete(self, path: str, *, headers: Mapping[str, str] | None = None) -> bool:
        """Send a DELETE as `request` does; with headers it is conditional. Return False for 404."""
        try:
            await self.request("DELETE", path, bool, headers=headers, statuses=DELETED, idempotent=not headers)
        except MemoryNotFoundError:
            return False
        return True

    @contextlib.asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        statuses: Collection[int] = OK,
        media_type: str = JSON,
        timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the response. If the token is refused, read the token file and send once more.

        If the service's certificate is refused, read the file of CA certificates and connect once more.

        Args:
            method: the HTTP method.
            path: path and query, already escaped.
            headers: additional headers.
            body: the request's body. A stream cannot be sent twice.
            statuses: statuses of success.
            media_type: media type of a successful response; 204 has none.
            timeout: seconds until the response is complete; None, for streams, limits only connecting.
            idle_timeout: maximum seconds between two reads of the response.

        Raises:
            MemoryClientError: the response is unexpected, or the connection failed or broke.
        """
        if self._session is None:
            raise RuntimeError("use MemoryClient as a context manager")
        connect_timeout = self._next_connect_timeout
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout, sock_read=idle_timeout)
        url = yarl.URL(self.server + path, encoded=True)  # without `encoded`, yarl decodes %2F
        reread = self._token_file is not None and (body is None or isinstance(body, bytes))
        try:
            while True:
                sent = {**(headers or {}), **self._authorization()}
                async with await self._answer(
                    self._session, method, url, data=body, headers=sent, allow_redirects=False, timeout=limit
                ) as response:
                    self._next_connect_timeout = self._connect_timeout
                    if response.status in statuses and (response.content_type == media_type or response.status == 204):
                        yield response
                        return
                    failure = self._received(response, await _beginning(response)).failure()
                if not (reread and isinstance(failure, MemoryAuthError)):
                    raise failure
                reread, self._token = False, None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            unconnected = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                reason = f"no connection within {connect_timeout:g} s"
                if url.scheme == "https":
                    # A handshake takes CPU time of the service. If all clients of a busy service gave up too early,
                    # none would ever be served. Without TLS the kernel alone accepts a connection.
                    self._next_connect_timeout = min(2 * connect_timeout, _MAX_GROWTH * self._connect_timeout)
            elif isinstance(error, TimeoutError) and timeout is not None:
                reason = f"no answer within {timeout:g} s"
            uncertain = method != "GET" and not unconnected
            raise MemoryUnavailableError(f"{self.server}: {reason}", uncertain=uncertain) from error

    async def _answer(
        self, session: aiohttp.ClientSession, method: str, url: yarl.URL, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the response to a request.

        If the certificate is refused, no part of the request has been sent, so any request may be sent again.
        """
        if url.scheme == "http":
            return await session.request(method, url, **options)
        try:
            return await session.request(method, url, ssl=self._trust.context(), **options)
        except aiohttp.ClientConnectorCertificateError:
            if not self._trust.renewed():
                raise
            return await session.request(method, url, ssl=self._trust.context(), **options)

    async def read(self, response: aiohttp.ClientResponse, read: Callable[[dict[str, Any]], _T]) -> _T:
        """Return the JSON object of a response, converted by `read`.

        Raises:
            MemoryProtocolError: the body is not a JSON object, or `read` failed with KeyError, TypeError or ValueError.
        """
        body = await response.read()
        document = {} if response.status == 204 else json_object(body)
        try:
            if document is None:
                raise ValueError("no JSON object")  # noqa: TRY301 - one place for what is not the service's
            return read(document)
        except (KeyError, TypeError, ValueError) as error:
            raise self.foreign(response, body, f"{type(error).__name__}: {error}") from error

    def foreign(self, response: aiohttp.ClientResponse, body: bytes, reason: str) -> MemoryClientError:
        """Return the error for a response of another server with the expected status and media type."""
        return self._received(response, body).foreign(reason)

    def _received(self, response: aiohttp.ClientResponse, body: bytes) -> Received:
        return Received(
            server=self.server,
            status=response.status,
            media_type=response.content_type,
            body=body,
            retry_after=response.headers.get("Retry-After"),
            location=response.headers.get("Location"),
            possibly_applied=response.method != "GET",
        )

    def _authorization(self) -> dict[str, str]:
        """Return the Authorization header. Read the token file again periodically, because tokens are rotated."""
        now = time.monotonic()
        if self._token_file is not None and (self._token is None or now >= self._reread_at):
            try:
                self._token = self._token_file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                if self._token is None:
                    raise MemoryClientError(f"cannot read the token from {self._token_file}: {error}") from error
            self._reread_at = now + _REREAD_SECONDS
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def url_path(*segments: str) -> str:
    """Return the path of these segments under /v1, escaped."""
    # Dots are escaped, too: proxies and HTTP clients resolve `.` and `..` as path segments (RFC 3986, section 5.2.4).
    return "/".join(["/v1", *(quote(segment, safe="").replace(".", "%2E") for segment in segments)])


def with_query(path: str, /, **parameters: Any) -> str:
    """Return the path with a query. None is omitted; a list or tuple repeats its parameter."""
    pairs = []
    for name, value in parameters.items():
        for each in value if isinstance(value, (list, tuple)) else [value]:
            text = str(each).lower() if isinstance(each, bool) else str(each)
            pairs += [] if each is None else [f"{name}={quote(text, safe='')}"]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _checked(base_url: str) -> str:
    """Return the URL without slashes at its end. Raise ValueError."""
    try:
        url = yarl.URL(base_url)
        valid = url.scheme in {"http", "https"} and url.host and not (url.user or url.query_string or url.fragment)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"base_url: {base_url!r} is not allowed; http://HOST:PORT or https://HOST:PORT is allowed")
    return base_url.rstrip("/")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return a problem document, or the first bytes of a body of unknown length."""
    limit = _MAX_PROBLEM_BYTES if response.status >= 400 else _MAX_FOREIGN_BYTES
    body = bytearray()
    while len(body) < limit and (part := await response.content.read(limit - len(body))):
        body += part
    return bytes(body)
