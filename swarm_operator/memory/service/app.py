"""The service's ASGI application: authentication, counting and errors around the routes.

request -> token -> /v1/entries/{namespace}/{key}: entries (plain ASGI)
                 -> /v1/batch: batch (plain ASGI)
                 -> /v1/agents, /v1/tasks, ...: records (plain ASGI)
                 -> /v1/watch: watching (plain ASGI)
                 -> /mcp: mcp (plain ASGI), when it is switched on
                 -> /v1/export, /v1/import: transfer (plain ASGI)
                 -> /openapi.json: openapi, where all of these are listed
                 -> everything else: routes (Starlette)
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog
from starlette.types import Message, Receive, Scope, Send

from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.principal import acting
from swarm_operator.memory.service.access.store import GuardedStore
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.asgi import BodyReader, header_map
from swarm_operator.memory.service.errors import ClientGoneError, RequestError, UnauthorizedError
from swarm_operator.memory.service.http import openapi
from swarm_operator.memory.service.http.routes import batch, transfer, watch
from swarm_operator.memory.service.http.routes.admin import PATHS, create_routes
from swarm_operator.memory.service.http.routes.entries import PREFIX, ROUTE, EntryRoutes
from swarm_operator.memory.service.http.routes.records import OPERATIONS as RECORD_OPERATIONS
from swarm_operator.memory.service.http.routes.records import RecordRoutes
from swarm_operator.memory.service.mcp.endpoint import PATH as MCP_PATH
from swarm_operator.memory.service.mcp.endpoint import ROUTE as MCP_ROUTE
from swarm_operator.memory.service.mcp.endpoint import McpEndpoint
from swarm_operator.memory.service.problems import problem, reply_to
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry import tracing
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.service.watch_slots import WatchSlots

_OTHER = "other"
_PATHS = {**PATHS, openapi.PATH: openapi.PATH.decode()}

_log = structlog.get_logger(__name__)


class MemoryApp:
    """Answers HTTP on the service's port."""

    def __init__(self, store: Store, *, tokens: Tokens, metrics: ServiceMetrics, settings: ServiceSettings) -> None:
        guarded = GuardedStore(store)
        bodies = BodyReader(
            limit=settings.max_body_bytes, total=settings.max_held_body_bytes, timeout=settings.body_timeout
        )
        self._entries = EntryRoutes(guarded, metrics, bodies)
        self._batch = batch.BatchRoute(guarded, metrics, bodies)
        metrics.measure(RECORD_OPERATIONS)
        observers = {name: histogram.observe for name, histogram in metrics.operations.items()}
        self._records = RecordRoutes(guarded, bodies, observers)
        self._transfer = transfer.TransferRoutes(guarded, metrics, bodies)
        self.watch_slots = WatchSlots(settings.max_watches, metrics.watches)
        """Of all protocols."""
        self._watch = watch.WatchRoute(guarded, tokens, metrics, settings, self.watch_slots)
        self._routes = create_routes(guarded, metrics, openapi.ROUTE)
        self._mcp = (
            McpEndpoint(store, tokens=tokens, metrics=metrics, settings=settings, bodies=bodies)
            if settings.mcp
            else None
        )
        self._tokens = tokens
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method: str = scope["method"]
        path: bytes = scope["raw_path"]
        route = _OTHER
        counted: _Counted | None = None
        try:
            headers = header_map(scope)
            send = _identified(headers, send)
            if path not in openapi.OPEN_PATHS:
                self._authorize(scope["path"], headers)
            if path.startswith(PREFIX):
                route = ROUTE
                reply = await self._entries.answer(method, path, headers, receive)
            elif path == batch.PATH:
                route = batch.ROUTE
                reply = await self._batch.answer(method, headers, receive)
            elif self._records.knows(path):
                endpoint, record_id = self._records.find(method, path)
                route = endpoint.operation.path
                reply = await self._records.answer(endpoint, record_id, scope["query_string"], headers, receive)
            elif path == watch.PATH:
                route = watch.ROUTE
                await self._watch.serve(method, scope["query_string"], headers, receive, send)
                return
            elif path == MCP_PATH and self._mcp is not None:
                route = MCP_ROUTE
                await self._mcp.serve(method, headers, scope, receive, send)
                return
            elif path == transfer.EXPORT:
                route = path.decode()
                await self._transfer.export(method, scope["query_string"], receive, send)
                return
            elif path == transfer.IMPORT:
                route = path.decode()
                await self._transfer.import_(method, scope["query_string"], headers, receive, send)
                return
            else:
                route = _PATHS.get(path, _OTHER)
                counted = _Counted(self._metrics, method, route, send)
                await self._routes(scope, receive, counted)
                return
        except ClientGoneError:
            return
        except (RequestError, MemoryStoreError) as error:
            reply = reply_to(error)
            self._metrics.refused(error.code)
            if reply.status == 500:
                _log.error("request failed", method=method, route=route, exc_info=error)
        except Exception:  # noqa: BLE001 - the last line of defence: logged with its traceback, answered with a 500
            reply = problem(500, "internal", "a defect of the service; its log has the details")
            self._metrics.refused("internal")
            _log.exception("request failed", method=method, route=route)
            if counted is not None and counted.started:
                return
        self._metrics.answered(method, route, reply.status)
        await reply.send(send)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what runs beside requests; serve inside of this."""
        if self._mcp is None:
            yield
        else:
            async with self._mcp.running():
                yield

    def stop(self) -> None:
        """End what would not end by itself: watches, and MCP's streams."""
        self._watch.stop()
        if self._mcp is not None:
            self._mcp.stop()

    def _authorize(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Let it pass or raise. The path is the decoded one, which the router takes: `/%61dmin/gc` is `/admin/gc`."""
        principal = self._tokens.principal(headers.get(b"authorization"))
        if principal is None:
            raise UnauthorizedError("no valid token")
        if path == "/admin" or path.startswith("/admin/"):
            principal.check_admin()
        acting.set(principal)  # for this task, which is the request's


def _identified(headers: dict[bytes, bytes], send: Send) -> Send:
    """Have the answer carry the request's id, if it brought one."""
    traceparent, given_id = headers.get(b"traceparent"), headers.get(b"x-request-id")
    if traceparent is None and given_id is None:
        return send
    current = tracing.bind((traceparent or b"").decode("latin-1"), (given_id or b"").decode("latin-1"))
    if current is None:
        return send
    header = (b"x-request-id", current.encode())

    async def identified(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [each for each in message["headers"] if each[0] != header[0]]
            message = {**message, "headers": [*others, header]}
        await send(message)

    return identified


class _Counted:
    """Counts the answer that Starlette sends."""

    def __init__(self, metrics: ServiceMetrics, method: str, route: str, send: Send) -> None:
        self._metrics = metrics
        self._method = method
        self._route = route
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._metrics.answered(self._method, self._route, message["status"])
        await self._send(message)
