"""Everything but the hot routes, on Starlette: lists, namespaces, statistics, health."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service import cursors, documents
from swarm_operator.memory.service.asgi import Reply, parse_query
from swarm_operator.memory.service.errors import NotFoundError, RequestError, WrongMethodError
from swarm_operator.memory.service.http.endpoint import decimal, switch
from swarm_operator.memory.service.http.operation import CURSOR, LIMIT, SWITCH, Answer, Operation, page_of, reference
from swarm_operator.memory.service.http.routes import backup, search
from swarm_operator.memory.service.http.schemas import NAMESPACE, PREFIX
from swarm_operator.memory.service.json_schema import number, object_of, text, whole
from swarm_operator.memory.service.problems import problem, reply_to
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Swarm
from swarm_operator.memory.swarm.cleanup import DEFAULT_MAX_AGE, MOST_AGE

_STATUS: Final = object_of({"status": text()}, ("status",))
_LIST: Final = Operation(
    "GET",
    "/v1/entries",
    "list",
    "List a namespace's entries in the order of their keys.",
    {200: Answer("A page.", page_of("entries", reference("ListedEntry")))},
    query={"namespace": NAMESPACE, "prefix": PREFIX, "limit": LIMIT, "cursor": CURSOR},
    needed=("namespace",),
)
_DELETE_RANGE: Final = Operation(
    "DELETE",
    "/v1/entries",
    "delete-range",
    "Delete a namespace's entries whose keys start so; an empty prefix is all.",
    {200: Answer("How many there were.", object_of({"deleted": whole()}, ("deleted",)))},
    query={"namespace": NAMESPACE, "prefix": PREFIX},
    needed=("namespace", "prefix"),
)
_NAMESPACES: Final = Operation(
    "GET",
    "/v1/namespaces",
    "namespaces",
    "List the namespaces that have entries.",
    {
        200: Answer(
            "A page.",
            page_of(
                "namespaces",
                object_of(
                    {"namespace": text(), "entries": whole(), "bytes": whole()}, ("namespace", "entries", "bytes")
                ),
            ),
        )
    },
    query={"limit": LIMIT, "cursor": CURSOR},
)
_STATS: Final = Operation(
    "GET",
    "/v1/stats",
    "stats",
    "Counts, sizes, the cache, the settings. Takes a token for all namespaces.",
    {200: Answer("The statistics.", {"type": "object"})},
)
_GC: Final = Operation(
    "POST",
    "/admin/gc",
    "gc",
    "Collect what has expired.",
    {200: Answer("What was collected.", {"type": "object"})},
    admin=True,
)
_CLEANUP: Final = Operation(
    "POST",
    "/admin/cleanup",
    "cleanup",
    "Delete old records, or only count them.",
    {200: Answer("How many of each kind.", {"type": "object"})},
    query={
        "max_age": number("Seconds.", least=0, most=MOST_AGE, default=DEFAULT_MAX_AGE),
        "keep_patterns": {**SWITCH, "default": True},
        "keep_consensus": {**SWITCH, "default": True},
        "dry_run": SWITCH,
    },
    admin=True,
)
_HEALTHZ: Final = Operation(
    "GET", "/healthz", "healthz", "Whether the process is worth keeping.", {200: Answer("It is.", _STATUS)}, open=True
)
_READYZ: Final = Operation(
    "GET", "/readyz", "readyz", "Whether to send requests here.", {200: Answer("Do.", _STATUS)}, open=True
)
OPERATIONS: Final = (
    _LIST,
    _DELETE_RANGE,
    search.OPERATION,
    _NAMESPACES,
    _STATS,
    _GC,
    _CLEANUP,
    backup.OPERATION,
    _HEALTHZ,
    _READYZ,
)
PATHS: Final = {operation.path.encode(): operation.path for operation in OPERATIONS}
"""Route names for the metrics."""


def create_routes(store: Store, metrics: ServiceMetrics, *more: Route) -> Starlette:
    """The Starlette application."""
    handlers = _Handlers(store, metrics)
    app = Starlette(
        routes=[
            Route(operation.path, getattr(handlers, operation.name.replace("-", "_")), methods=[operation.method])
            for operation in OPERATIONS
            if operation is not backup.OPERATION
        ]
        + [Route(backup.PATH, backup.BackupRoute(store, metrics)), *more],
        exception_handlers={
            HTTPException: _on_http_exception,
            RequestError: handlers.on_error,
            MemoryStoreError: handlers.on_error,
            Exception: _on_defect,
        },
    )
    app.router.redirect_slashes = False  # a path with a slash more is another path
    return app


class _Handlers:
    def __init__(self, store: Store, metrics: ServiceMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._observe = {
            operation.name: metrics.operations[operation.name].observe for operation in OPERATIONS if not operation.open
        }

    async def list(self, request: Request) -> Response:
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], _LIST.parameters)
        if "namespace" not in query:
            raise InvalidInputError("namespace", "given: /v1/entries?namespace=...")
        prefix = query.get("prefix", "")
        after = cursors.decode(query.get("cursor"))
        if after is not None and not after.startswith(prefix):
            raise InvalidInputError("cursor", "used with the prefix that it came from")
        page = await self._store.list(query["namespace"], prefix=prefix, after=after, limit=cursors.page_size(query))
        body = documents.entries_page(page.entries, cursors.encode(page.next_key))
        self._observe["list"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def delete_range(self, request: Request) -> Response:
        """Delete a namespace's entries. Both parameters are asked for: a forgotten prefix must not mean everything."""
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], _DELETE_RANGE.parameters)
        for name in _DELETE_RANGE.needed:
            if name not in query:
                raise InvalidInputError(
                    name, "given: DELETE /v1/entries?namespace=...&prefix=...; an empty prefix is all"
                )
        deleted = await self._store.delete_range(query["namespace"], prefix=query["prefix"])
        self._observe["delete-range"](time.perf_counter() - started)
        return Response(orjson.dumps({"deleted": deleted}), media_type="application/json")

    async def search(self, request: Request) -> Response:
        started = time.perf_counter()
        body = await search.answer(self._store, request.scope["query_string"])
        self._observe["search"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def namespaces(self, request: Request) -> Response:
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], _NAMESPACES.parameters)
        after = cursors.decode(query.get("cursor"))
        page = await self._store.namespaces(after=after, limit=cursors.page_size(query))
        body = documents.namespaces_page(page.namespaces, cursors.encode(page.next_name))
        self._observe["namespaces"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def stats(self, request: Request) -> Response:
        started = time.perf_counter()
        parse_query(request.scope["query_string"], ())
        body = documents.statistics(self._store, await self._store.stats())
        self._observe["stats"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def gc(self, request: Request) -> Response:
        """Collect now. Who asks while a collection runs gets the one after it, shared with all who ask meanwhile."""
        started = time.perf_counter()
        parse_query(request.scope["query_string"], ())
        body = documents.collection(await self._store.collect_garbage())
        self._observe["gc"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def cleanup(self, request: Request) -> Response:
        """Delete old records, or only count them."""
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], _CLEANUP.parameters)
        kept = {name: switch(query, name) for name in ("keep_patterns", "keep_consensus", "dry_run")}
        options = {name: value for name, value in kept.items() if value is not None}
        done = await Swarm(self._store).cleanup(max_age=decimal(query, "max_age", DEFAULT_MAX_AGE), **options)
        body = orjson.dumps({**asdict(done), "total": done.total})
        self._observe["cleanup"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def healthz(self, _: Request) -> Response:
        """Whether the process is worth keeping: only a restart brings a dead writer back."""
        if self._store.alive:
            return _status(200, "ok")
        return _status(503, "the writer has stopped")

    async def readyz(self, _: Request) -> Response:
        """Whether to send requests here."""
        if not self._store.alive:
            return _status(503, "the writer has stopped")
        if (fault := self._store.fault) is not None:
            return _status(503, f"the last write failed: {fault.code}: {fault}")
        return _status(200, "ok")

    async def on_error(self, _: Request, error: Exception) -> Response:
        """Answer what went wrong on purpose."""
        assert isinstance(error, RequestError | MemoryStoreError)  # noqa: S101 - for mypy; the table above says so
        self._metrics.refused(error.code)
        return _to_response(reply_to(error))


def _status(status: int, reason: str) -> Response:
    return Response(orjson.dumps({"status": reason}), status, media_type="application/json")


def _to_response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers.extend(reply.headers)
    return response


async def _on_defect(_: Request, __: Exception) -> Response:
    """Answer; Starlette raises the error again afterwards, and app logs it."""
    return _to_response(problem(500, "internal", "a defect of the service; its log has the details"))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 405:
        # Starlette's own names the first route's methods only.
        methods = {operation.method for operation in OPERATIONS if operation.path == request.url.path} or {"GET"}
        allow = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))).encode()
        return _to_response(reply_to(WrongMethodError(f"{request.url.path} has no such method", (b"allow", allow))))
    return _to_response(reply_to(NotFoundError("there is no such path")))
