"""ASGI application of the service: routes each request to its endpoint and sends the response.

    find the endpoint -> authenticate -> read the body -> call the handler -> time, count, send

Handlers only raise; this module turns their errors into problem responses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

import structlog
from starlette.types import Message, Receive, Scope, Send

from swarm_operator.memory.core.errors import OverloadedError, StoreClosedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service.access.rights import ADMIN, AuthorizedStore, Credential, Principal
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.asgi import (
    BodyReader,
    Reply,
    Stream,
    check_content_type,
    combined,
    disconnected,
    percent_decode,
)
from swarm_operator.memory.service.errors import ClientGoneError
from swarm_operator.memory.service.http import openapi
from swarm_operator.memory.service.http.endpoint import Answer, Call, Context
from swarm_operator.memory.service.http.failures import failure_reply
from swarm_operator.memory.service.http.router import OTHER, Match, Router
from swarm_operator.memory.service.mcp.endpoint import McpEndpoint
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry import tracing
from swarm_operator.memory.service.telemetry.backup_metrics import BackupMetrics
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.errors import BackupConflictError
from swarm_operator.memory.transfer.backups.jobs import BackupJobs
from swarm_operator.memory.transfer.backups.location import folder_of, open_destination
from swarm_operator.memory.transfer.restores.jobs import RestoreJobs

_ANYBODY: Final = Credential(Principal("anybody", writes=False, namespaces=()), lambda: True)
"""Caller of an operation that needs no token; it has no read or write permission."""
JOBS_FILE: Final = "backup-jobs.json"
"""Name of the file with the outcomes of backups, in the data directory."""
_WITH_BODY: Final = frozenset({"PUT", "POST", "PATCH"})
_END: Final[Message] = {"type": "http.response.body", "body": b""}

_log = structlog.get_logger(__name__)


class MemoryApp:
    """ASGI application for HTTP on the service's port."""

    def __init__(self, store: Store, *, tokens: Tokens, metrics: ServiceMetrics, settings: ServiceSettings) -> None:
        self.quotas = Quotas(settings)
        """Quotas of all protocols."""
        metrics.registry.register(self.quotas)
        metrics.watches.set_function(lambda: self.quotas.watches.held)
        bodies = BodyReader(limit=settings.max_body_bytes, quota=self.quotas.bodies, timeout=settings.body_timeout)
        self._backups = _backups(store, settings, metrics, self.quotas)
        self._restores = _restores(store, settings, self._backups, self.quotas)
        self._context = Context(
            settings=settings, metrics=metrics, bodies=bodies, quotas=self.quotas, restores=self._restores,
            backups=self._backups,
        )  # fmt: skip
        endpoints = openapi.ENDPOINTS
        self._mcp = None
        if settings.mcp:
            self._mcp = McpEndpoint(
                store, tokens=tokens, metrics=metrics, settings=settings, bodies=bodies, quotas=self.quotas
            )
            endpoints = (*endpoints, *self._mcp.endpoints)
        self._router = Router(endpoints)
        metrics.measure(endpoint.operation.name for endpoint in endpoints if endpoint.operation.timed)
        self._store = store
        self._tokens = tokens
        self._metrics = metrics
        self._endless: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        method: str = scope["method"]
        match = self._router.find(method, scope["raw_path"], scope["path"])
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if len(headers) != len(scope["headers"]):
            headers = combined(scope["headers"])
        header = _request_id(headers)
        route, sender = OTHER, None
        try:
            credential = self._authenticate(match, scope["path"], headers)
            route = match.route
            answer = await self._call(match, credential, scope, headers, receive)
            if not isinstance(answer, Reply):
                sender = _Sender(send, header, self._metrics, method, route)
                if isinstance(answer, Stream):
                    started = time.perf_counter()
                    await self._stream(answer, receive, sender)
                    if match.endpoint is not None and match.endpoint.operation.timed:
                        self._metrics.operations[match.endpoint.operation.name].observe(time.perf_counter() - started)
                else:
                    await answer.app(receive, sender)
                return
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - unexpected errors are logged and answered with 500
            if sender is not None and sender.started:
                # The missing end of the body tells the client that the response is incomplete.
                self._metrics.refused(describe(error).code)
                _log.warning("answer cut off", method=method, route=route, reason=str(error), exc_info=error)
                return
            answer = failure_reply(error, method=method, route=route, metrics=self._metrics)
        self._metrics.answered(method, route, answer.status)
        if header is not None:
            answer.headers = _with_header(answer.headers, header)
        await answer.send(send)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background work of the application. Requests must be served inside this context."""
        async with contextlib.AsyncExitStack() as stack:
            if self._backups is not None:
                await self._backups.open()
                stack.push_async_callback(self._backups.close)
            await self._restores.open()
            stack.push_async_callback(self._restores.close)
            if self._mcp is not None:
                await stack.enter_async_context(self._mcp.running())
            yield

    async def loaded(self) -> None:
        """Wait for what `running` loads beside the first requests."""
        if self._mcp is not None:
            await self._mcp.loaded()

    def stop(self) -> None:
        """End the endless responses: watches and MCP streams."""
        for task in self._endless:
            task.cancel()
        if self._mcp is not None:
            self._mcp.stop()

    def _authenticate(self, match: Match, path: str, headers: dict[bytes, bytes]) -> Credential:
        """Return the caller's credential.

        Raises:
            UnauthorizedError, ForbiddenError: no valid token, or the path requires an admin.
        """
        if match.open:
            return _ANYBODY
        credential = self._tokens.authenticate(headers.get(b"authorization"))
        if path == "/admin" or path.startswith("/admin/"):
            credential.principal.check_admin()
        return credential

    async def _call(
        self, match: Match, credential: Credential, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> Answer:
        """Return the response of an endpoint.

        Raises:
            RequestError, MemoryStoreError: the request was rejected or failed.
        """
        endpoint = match.endpoint
        if endpoint is None:
            assert match.error is not None  # noqa: S101 - for mypy
            raise match.error
        operation = endpoint.operation
        if operation.writes is not False and operation.method != "GET":
            credential.principal.check_writer()
        if operation.body is not None:
            check_content_type(headers)
        values = [percent_decode(name, value) for name, value in match.parameters]
        body = b""
        if operation.method in _WITH_BODY and not operation.streams and (operation.body or not operation.admin):
            body = await self._context.bodies.read(headers, receive, credential.principal)
        try:
            started = time.perf_counter()
            store = AuthorizedStore(self._store, credential)
            call = Call(operation, values, headers, body, store, credential, self._context, scope, receive)
            if len(body) > LARGE_BYTES and not endpoint.parses:
                await call.parse()
            answer = await endpoint.handler(call)
        finally:
            self._context.bodies.release(credential.principal, body)
        if operation.timed and not isinstance(answer, Stream):
            self._metrics.operations[operation.name].observe(time.perf_counter() - started)
        return answer

    async def _stream(self, stream: Stream, receive: Receive, send: _Sender) -> None:
        """Send a stream until the stream ends or the client disconnects. An endless stream ends when the service stops.

        Raises:
            Exception: an error of the stream, before or after the first chunk.
        """
        sending = asyncio.create_task(_send_chunks(stream, send), name="memory-stream")
        gone = asyncio.create_task(disconnected(receive), name="memory-stream-gone")
        if stream.endless:
            self._endless.add(sending)
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._endless.discard(sending)
            gone.cancel()
            sending.cancel()
            await asyncio.wait([sending])
        if sending.cancelled():
            if gone.done() and not gone.cancelled():
                raise ClientGoneError
            if not send.started:
                raise StoreClosedError("the service is stopping")
            await send(_END)
        else:
            sending.result()


def _backups(store: Store, settings: ServiceSettings, metrics: ServiceMetrics, quotas: Quotas) -> BackupJobs | None:
    """Return the backups at the destination in the settings. Raise DestinationConfigError."""
    if settings.backups is None:
        return None
    destination = open_destination(
        settings.backups, options=settings.backups_options, credentials=settings.backups_credentials
    )
    return BackupJobs(
        Catalog(
            destination.below(folder_of(store.swarm_id)), source=store, scratch=settings.scratch or settings.data_dir
        ),
        settings.data_dir / JOBS_FILE,
        slot=lambda: quotas.backups.holding(ADMIN),
        observer=BackupMetrics(metrics.registry),
    )


def _restores(store: Store, settings: ServiceSettings, backups: BackupJobs | None, quotas: Quotas) -> RestoreJobs:
    """Return the restores into the store."""

    @contextlib.contextmanager
    def slot() -> Iterator[None]:
        if backups is not None and backups.running is not None:
            raise BackupConflictError(
                "running", f"the backup {backups.running} is running; a restore waits for its end"
            )
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(quotas.restores.holding(ADMIN))
                stack.enter_context(quotas.backups.holding(ADMIN))
            except OverloadedError:
                raise BackupConflictError("running", "another backup or restore is running; one at a time") from None
            yield

    def open_catalog(url: str) -> Catalog:
        options, credentials = settings.backups_options, settings.backups_credentials
        destination = open_destination(url, options=options, credentials=credentials)
        return Catalog(destination, scratch=settings.scratch or settings.data_dir)

    catalog = None if backups is None else backups.catalog
    return RestoreJobs(store, catalog=catalog, open_catalog=open_catalog, directory=settings.data_dir, slot=slot)


class _Sender:
    """Sends a response: adds the request ID and counts the response when it starts."""

    def __init__(
        self, send: Send, header: tuple[bytes, bytes] | None, metrics: ServiceMetrics, method: str, route: str
    ) -> None:
        self.started = False
        self._send = send
        self._header = header
        self._metrics = metrics
        self._method = method
        self._route = route

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._metrics.answered(self._method, self._route, message["status"])
            if self._header is not None:
                message = {**message, "headers": list(_with_header(message["headers"], self._header))}
        await self._send(message)


def _request_id(headers: dict[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """Return the header with the request ID, or None if the client sent none."""
    traceparent, given_id = headers.get(b"traceparent"), headers.get(b"x-request-id")
    if traceparent is None and given_id is None:
        return None
    current = tracing.bind((traceparent or b"").decode("latin-1"), (given_id or b"").decode("latin-1"))
    return None if current is None else (b"x-request-id", current.encode())


def _with_header(
    headers: Iterable[tuple[bytes, bytes]], header: tuple[bytes, bytes]
) -> tuple[tuple[bytes, bytes], ...]:
    return (*(each for each in headers if each[0] != header[0]), header)


async def _send_chunks(stream: Stream, send: Send) -> None:
    async with contextlib.aclosing(stream.chunks) as chunks:
        chunk = await anext(chunks, b"")
        await send({"type": "http.response.start", "status": stream.status, "headers": list(stream.headers)})
        while chunk:
            async with asyncio.timeout(stream.send_timeout):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(chunks, b"")
    await send(_END)
