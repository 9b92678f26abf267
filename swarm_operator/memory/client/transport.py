"""HTTP transport of the client: connections, authentication, retries and errors. Every request passes `Transport.send`.

Failed requests are retried at most `retries` times, with exponential backoff:
- The service did nothing (429, or 503 with Retry-After), or the connection could not be made: always retried.
- The response was lost (a timeout or a broken connection): retried if the request is idempotent. Reads, unconditional
  puts and unconditional deletes are. A retried put may increase the version by two. A retried delete may return False
  although the first attempt deleted the entry. Conditional writes are not retried.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import yarl

from swarm_operator.memory.client.errors import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClientError,
    MemoryNotFoundError,
    MemoryUnavailableError,
    response_error,
)

_MAX_PAUSE: Final = 5.0
"""Maximum seconds between two attempts."""


class Transport:
    """Sends requests to one service. Its parameters are those of MemoryClient."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None,
        token_file: Path | None,
        timeout: float,
        retries: int,
        backoff: float,
        connections: int,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self.retries = retries
        self.timeout = timeout
        self._base = base_url.rstrip("/")
        self._token = token
        self._token_file = token_file
        self._backoff = backoff
        self._connections = connections
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Create the HTTP session."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._connections))
        # aiohttp resends a PUT when a kept-alive connection breaks, even a conditional one, and has no public switch to
        # turn this off. `request` decides what is retried.
        self._session._retry_connection = False  # noqa: SLF001

    async def close(self) -> None:
        """Close the HTTP session and its connections."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        idempotent: bool = True,
        allow_not_found: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Send a request, retry it where that is safe, and return the JSON object of the response.

        `path` is escaped and may have a query; `body` is JSON. `idempotent`: whether to retry after the response was
        lost. `allow_not_found`: whether to return None for 404 instead of raising. `timeout`: seconds for one attempt,
        the client's by default.
        """
        sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        timeout = self.timeout if timeout is None else timeout
        attempt = 0
        while True:
            try:
                async with self.send(method, path, headers=sent, body=body, timeout=timeout) as response:
                    return json_object(await response.read())
            except MemoryNotFoundError:
                if allow_not_found:
                    return None
                raise
            except MemoryBusyError as error:
                if attempt >= self.retries:
                    raise
                retry_after = error.retry_after
            except MemoryUnavailableError as error:
                if attempt >= self.retries or (error.uncertain and not idempotent):
                    raise
                retry_after = 0.0
            await self.pause(attempt, retry_after)
            attempt += 1

    @contextlib.asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        possibly_applied: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the response. If the token is refused, read the token file and send once more.

        Args:
            method: the HTTP method.
            path: path and query, already escaped.
            headers: additional headers.
            body: the request's body. A stream cannot be sent twice.
            timeout: seconds until the response is complete; None, for streams, limits only connecting.
            idle_timeout: maximum seconds between two reads of the response.
            possibly_applied: whether a request whose response was lost may have changed something.

        Raises:
            MemoryClientError: the status is not 2xx, or the connection failed or broke.
        """
        if self._session is None:
            raise RuntimeError("use MemoryClient as a context manager")
        connect_timeout = self.timeout if timeout is None else None
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout, sock_read=idle_timeout)
        url = yarl.URL(self._base + path, encoded=True)  # without `encoded`, yarl decodes %2F
        reread = self._token_file is not None and (body is None or isinstance(body, bytes))
        try:
            while True:
                sent = {**(headers or {}), **self._authorization()}
                async with self._session.request(
                    method, url, data=body, headers=sent, allow_redirects=False, timeout=limit
                ) as response:
                    if response.status < 300:
                        yield response
                        return
                    problem = json_object(await response.read())
                failure = response_error(response.status, problem, retry_after=response.headers.get("Retry-After"))
                if not (reread and isinstance(failure, MemoryAuthError)):
                    raise failure
                reread, self._token = False, None
        except aiohttp.InvalidURL as error:
            raise MemoryClientError(f"{self._base} is not a URL") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, TimeoutError) and timeout is not None:
                reason = f"no answer within {timeout:g} s"
            uncertain = possibly_applied and not isinstance(error, aiohttp.ClientConnectorError)
            raise MemoryUnavailableError(f"{self._base}: {reason}", uncertain=uncertain) from error

    async def pause(self, attempt: int, retry_after: float = 0.0) -> None:
        """Wait before a retry: exponential backoff with jitter, at least `retry_after` seconds, at most 5 s."""
        backoff = min(self._backoff * 2**attempt, _MAX_PAUSE)
        jittered = random.uniform(backoff / 2, backoff)  # noqa: S311 - not for cryptography
        await self._sleep(max(jittered, min(retry_after, _MAX_PAUSE)))

    def _authorization(self) -> dict[str, str]:
        """Return the Authorization header; read the token file if there is no token yet."""
        if self._token is None and self._token_file is not None:
            try:
                self._token = self._token_file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise MemoryClientError(f"cannot read the token from {self._token_file}: {error}") from error
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


def to_json(document: Any) -> bytes:
    """Encode a JSON document.

    Raises:
        ValueError: it contains NaN or an infinity.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def json_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Return {} for any other body."""
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
