"""Client of the API server. Objects are JSON dicts.

kubernetes-asyncio supplies configuration, authentication and the connections (see transport); its generated models are
not used, because parsing into them makes clients slow. This module adds the rest: every request has a timeout, and
every failure is a typed error. A request that got 401 is tried once more with a new credential (see credentials).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from swarm_operator.runtime import errors
from swarm_operator.runtime.credentials import TokenSource
from swarm_operator.runtime.kubernetes_asyncio import ConfigException, Configuration
from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.resource import Object, Resource
from swarm_operator.runtime.transport import Transport

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_AUTHORIZATION = "Authorization"

_TURN = 0.005
"""Seconds that decoding a stream may keep the event loop."""
_MAX_OPENING = 32
"""Watches that are being opened at one time. Each connection takes a TLS handshake. A thousand handshakes at once, for
hundreds of namespaces, make each other time out on a busy machine."""
_PAGE = 500  # what client-go's pager and kube-rs ask for


class Client:
    """Requests to one API server. Watches are not counted among the requests, so that they cannot use up the slots.

    Args:
        configuration: what `config.load_config` returned.
        user_agent: who we are in the server's audit log.
        timeout: seconds for one whole request, the wait for its turn included (watches have their own).
        max_requests: number of requests at one time; more wait for their turn.
        may_write: called just before a request that writes is sent. If it returns False, the request fails with
            FencedError. A leader that was stopped and woken after its lease ran out must not write.
        metrics: counts requests.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        user_agent: str = "swarm-operator",
        timeout: float = 30.0,
        max_requests: int = 100,
        may_write: Callable[[], bool] = lambda: True,
        metrics: Metrics | None = None,
    ) -> None:
        self._configuration = configuration
        hook = configuration.refresh_api_key_hook
        self._tokens = hook if isinstance(hook, TokenSource) else None
        self._transport = Transport(configuration)
        self._turns = asyncio.Semaphore(max_requests)
        self._opening = asyncio.Semaphore(_MAX_OPENING)
        self._base = str(configuration.host).rstrip("/")
        self._host = urlsplit(self._base).netloc
        self._user_agent = user_agent
        self._may_write = may_write
        self._requests = (metrics or Metrics()).rest_client_requests
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(10.0, timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object from the server. Raises NotFoundError when there is none."""
        return await self.request("GET", resource.path(namespace=namespace, name=name))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> tuple[list[Object], str]:
        """Read all objects of a kind, page by page.

        Args:
            resource: the kind.
            namespace: empty for all namespaces.
            label_selector: only objects with these labels.
            field_selector: only objects with these fields, of those that the server can select by.
            resource_version: "" reads through to etcd; "0" is whatever the server has cached; a version is
                "not older than". The latter two are served from the cache, in one page.

        Returns:
            The objects, each with the `kind` and `apiVersion` that items of a list lack, and the list's version.

        Raises:
            GoneError: the version, or a continue token on the way, is too old.
        """
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {**selectors, "resourceVersion": resource_version}
        if not resource_version:
            query["limit"] = str(_PAGE)
        items: list[Object] = []
        while True:
            page = await self.request("GET", resource.path(namespace=namespace), query=query)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            metadata = page.get("metadata") or {}
            version, token = metadata.get("resourceVersion"), metadata.get("continue")
            if not version:
                raise errors.UnreachableError(f"the list of {resource.plural} came without a resourceVersion")
            if not token:
                return items, version
            query = {**selectors, "limit": str(_PAGE), "continue": token}

    async def create(self, resource: Resource, obj: Object, *, field_manager: str) -> Object:
        """Create an object. Raises ConflictError with reason AlreadyExists when the name is taken."""
        path = resource.path(namespace=obj["metadata"].get("namespace", ""))
        return await self.request("POST", path, body=obj, query={"fieldManager": field_manager})

    async def update(self, resource: Resource, obj: Object, *, field_manager: str) -> Object:
        """Replace an object. Raises ConflictError when it is no longer at its `metadata.resourceVersion`."""
        metadata = obj["metadata"]
        path = resource.path(namespace=metadata.get("namespace", ""), name=metadata["name"])
        return await self.request("PUT", path, body=obj, query={"fieldManager": field_manager})

    async def apply(
        self,
        resource: Resource,
        obj: Object,
        *,
        field_manager: str,
        subresource: str = "",
        force: bool = True,
    ) -> Object:
        """Apply the fields that `field_manager` wants (server-side apply). Create the object if it does not exist.

        Args:
            resource: the kind.
            obj: the wanted fields, with `apiVersion`, `kind`, name and namespace. Our fields that are no longer in it
                are removed; other managers' fields stay.
            field_manager: who owns these fields.
            subresource: such as "status".
            force: take fields over from other managers; otherwise theirs raise ConflictError.
        """
        metadata = obj["metadata"]
        path = resource.path(
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            subresource=subresource,
        )
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self.request("PATCH", path, body=obj, query=query, content_type=APPLY)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Object, *, field_manager: str
    ) -> Object:
        """Send a JSON merge patch (RFC 7386). A `metadata.resourceVersion` in it makes it conditional."""
        path = resource.path(namespace=namespace, name=name)
        return await self.request("PATCH", path, body=patch, query={"fieldManager": field_manager}, content_type=MERGE)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        propagation: str = "Background",
    ) -> None:
        """Delete the object with this uid. If a newer object has the name, nothing is deleted (ConflictError)."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        await self.request("DELETE", resource.path(namespace=namespace, name=name), body=body)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        resource_version: str,
        timeout_seconds: int,
        idle_seconds: float,
        send_initial_events: bool = False,
    ) -> AsyncIterator[AsyncIterator[Object]]:
        """Stream watch events, each `{"type": ..., "object": ...}`, bookmarks and errors included.

        Args:
            resource: the kind.
            namespace: empty for all namespaces.
            label_selector: only objects with these labels.
            resource_version: events after this version.
            timeout_seconds: the server ends the stream after this long.
            idle_seconds: give up after this time without an event or a bookmark. aiohttp speaks HTTP/1.1, which has no
                ping that would find a half-open connection.
            send_initial_events: begin with what exists, in a state not older than `resource_version` ("" is the
                newest), as ADDED events; a bookmark annotated `k8s.io/initial-events-end` marks their end (WatchList).

        Raises:
            SilentError: it fell silent.
            UnreachableError: the stream broke.
            InvalidError: the server does not send initial events.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        if send_initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=idle_seconds)
        async with self._opening:
            response = await self._send("GET", resource.path(namespace=namespace), query, None, JSON, timeout)
        async with contextlib.aclosing(_decode_lines(response)) as events:
            try:
                if response.status >= 400:
                    raise await _error_of(response)
                yield events
            finally:
                # Abort: a TLS shutdown of an unfinished stream would keep the connection until the peer answers.
                if response.connection is not None and response.connection.protocol is not None:
                    response.connection.protocol.abort()
                response.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Object:
        """Send one request and decode its JSON answer, which has the media type `accept`.

        Raises:
            ApiError: a subclass for the server's answer, or UnreachableError without an answer.
        """
        try:
            async with asyncio.timeout(self._timeout.total), self._turns:
                response = await self._send(method, path, query or {}, body, content_type, self._timeout, accept=accept)
                async with response:
                    if response.status >= 400:
                        raise await _error_of(response)
                    payload = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(method, path, error) from error
        return _decode(method, path, payload)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
        *,
        accept: str = JSON,
    ) -> aiohttp.ClientResponse:
        if method != "GET" and not self._may_write():
            raise errors.FencedError(f"{method} {path}: this process no longer leads")
        for attempt in (1, 2):
            headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self._user_agent}
            try:
                headers.update(await self._authorization())
                response = await self._transport.request(
                    method,
                    self._base + path,
                    query={name: value for name, value in query.items() if value} or None,
                    headers=headers,
                    body=body,
                    timeout=timeout,
                )
            except (aiohttp.ClientError, ConfigException, TimeoutError, OSError) as error:
                self._requests.labels("<error>", method, self._host).inc()
                raise _unreachable(method, path, error) from error
            self._requests.labels(str(response.status), method, self._host).inc()
            # The token may have been rotated since it was read: renew it and try once more, as client-go does.
            if response.status == 401 and attempt == 1:
                if self._tokens:
                    self._tokens.refuse(headers.get(_AUTHORIZATION))
                response.release()
                continue
            break
        return response

    async def _authorization(self) -> dict[str, str]:
        if self._tokens:
            await self._tokens(self._configuration)
        value = self._configuration.api_key.get("BearerToken")
        return {_AUTHORIZATION: value} if value else {}


async def _error_of(response: aiohttp.ClientResponse) -> errors.ApiError:
    try:
        text = await response.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError):
        text = ""  # broke off; the status code suffices
    try:
        status = orjson.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {"message": f"HTTP {response.status}: {text[:500]}"}
    return errors.from_status(response.status, status, retry_after=_seconds(response.headers.get("Retry-After")))


def _decode(method: str, path: str, payload: bytes) -> Object:
    """Decode an answer. An answer that is not a JSON object comes from a proxy between us and the API server."""
    try:
        decoded = orjson.loads(payload or b"{}")
    except ValueError as error:
        raise _unreachable(method, path, error) from error
    if not isinstance(decoded, dict):
        raise errors.UnreachableError(f"{method} {path}: the answer is not an object")
    return decoded


def _seconds(header: str | None) -> float | None:
    # The HTTP-date form is not used by the API server.
    return float(header) if header and header.isdecimal() else None


def _unreachable(method: str, path: str, error: BaseException) -> errors.UnreachableError:
    return errors.UnreachableError(f"{method} {path}: {error or type(error).__name__}")


async def _decode_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[Object, None]:
    """Split a stream into JSON lines. aiohttp's own readline refuses lines that are longer than its buffer."""
    pending: list[bytes] = []
    started = went_on = time.monotonic()
    try:
        async for chunk in response.content.iter_any():
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                pending.append(line)
                whole = b"".join(pending)
                pending.clear()
                if whole.strip():
                    yield orjson.loads(whole)
                # Chunks of a streamed list come one after the other without a wait: the others have their turn here.
                if time.monotonic() - went_on > _TURN:
                    await asyncio.sleep(0)
                    went_on = time.monotonic()
            pending.append(rest)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        elapsed = time.monotonic() - started
        kind = errors.SilentError if isinstance(error, TimeoutError) else errors.UnreachableError
        raise kind(f"watch ended after {elapsed:.0f} s: {error or type(error).__name__}") from error
