"""Everything but the hot routes, on Starlette: lists, namespaces, statistics, health."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from swarm_operator.memory.engine.errors import InvalidInputError, MemoryStoreError
from swarm_operator.memory.engine.records import Swarm
from swarm_operator.memory.engine.records.cleanup import DEFAULT_MAX_AGE
from swarm_operator.memory.service import backup, cursors, rendering, searching
from swarm_operator.memory.service.asgi import Reply, parse_query
from swarm_operator.memory.service.errors import NotFoundError, RequestError, WrongMethodError
from swarm_operator.memory.service.problems import problem, reply_to
from swarm_operator.memory.service.records.endpoint import decimal, switch

if TYPE_CHECKING:
    from starlette.requests import Request

    from swarm_operator.memory.engine import MemoryStore
    from swarm_operator.memory.service.metrics import ServiceMetrics

__all__ = ["OPEN_PATHS", "PATHS", "create_routes"]

OPEN_PATHS: Final = frozenset({b"/healthz", b"/readyz"})
"""Paths that need no token."""
PATHS: Final = {
    path: path.decode()
    for path in (
        b"/v1/entries",
        b"/v1/search",
        b"/v1/namespaces",
        b"/v1/stats",
        b"/admin/gc",
        b"/admin/cleanup",
        backup.PATH.encode(),
        *sorted(OPEN_PATHS),
    )
}
"""Route names for the metrics."""
_OPERATIONS: Final = ("list", "delete-range", "search", "namespaces", "stats", "gc", "cleanup")


def create_routes(store: MemoryStore, metrics: ServiceMetrics) -> Starlette:
    """The Starlette application."""
    handlers = _Handlers(store, metrics)
    app = Starlette(
        routes=[
            Route("/v1/entries", handlers.list, methods=["GET"]),
            Route("/v1/entries", handlers.delete_range, methods=["DELETE"]),
            Route("/v1/search", handlers.search, methods=["GET"]),
            Route("/v1/namespaces", handlers.namespaces, methods=["GET"]),
            Route("/v1/stats", handlers.stats, methods=["GET"]),
            Route("/admin/gc", handlers.gc, methods=["POST"]),
            Route("/admin/cleanup", handlers.cleanup, methods=["POST"]),
            Route(backup.PATH, backup.BackupRoute(store, metrics)),
            Route("/healthz", handlers.healthz, methods=["GET"]),
            Route("/readyz", handlers.readyz, methods=["GET"]),
        ],
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
    def __init__(self, store: MemoryStore, metrics: ServiceMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._observe = {name: metrics.operations[name].observe for name in _OPERATIONS}

    async def list(self, request: Request) -> Response:
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], ("namespace", "prefix", "limit", "cursor"))
        if "namespace" not in query:
            raise InvalidInputError("namespace", "given: /v1/entries?namespace=...")
        prefix = query.get("prefix", "")
        after = cursors.decode(query.get("cursor"))
        if after is not None and not after.startswith(prefix):
            raise InvalidInputError("cursor", "used with the prefix that it came from")
        page = await self._store.list(query["namespace"], prefix=prefix, after=after, limit=cursors.limit(query))
        body = rendering.entries_page(page.entries, cursors.encode(page.next_key))
        self._observe["list"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def delete_range(self, request: Request) -> Response:
        """Delete a namespace's entries. Both parameters are asked for: a forgotten prefix must not mean everything."""
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], ("namespace", "prefix"))
        for name in ("namespace", "prefix"):
            if name not in query:
                raise InvalidInputError(
                    name, "given: DELETE /v1/entries?namespace=...&prefix=...; an empty prefix is all"
                )
        deleted = await self._store.delete_range(query["namespace"], prefix=query["prefix"])
        self._observe["delete-range"](time.perf_counter() - started)
        return Response(orjson.dumps({"deleted": deleted}), media_type="application/json")

    async def search(self, request: Request) -> Response:
        started = time.perf_counter()
        body = await searching.answer(self._store, request.scope["query_string"])
        self._observe["search"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def namespaces(self, request: Request) -> Response:
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], ("limit", "cursor"))
        after = cursors.decode(query.get("cursor"))
        page = await self._store.namespaces(after=after, limit=cursors.limit(query))
        body = rendering.namespaces_page(page.namespaces, cursors.encode(page.next_name))
        self._observe["namespaces"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def stats(self, request: Request) -> Response:
        started = time.perf_counter()
        parse_query(request.scope["query_string"], ())
        body = rendering.statistics(self._store, await self._store.stats())
        self._observe["stats"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def gc(self, request: Request) -> Response:
        """Collect now. Who asks while a collection runs gets the one after it, shared with all who ask meanwhile."""
        started = time.perf_counter()
        parse_query(request.scope["query_string"], ())
        body = rendering.collection(await self._store.collect_garbage())
        self._observe["gc"](time.perf_counter() - started)
        return Response(body, media_type="application/json")

    async def cleanup(self, request: Request) -> Response:
        """Delete old records, or only count them."""
        started = time.perf_counter()
        query = parse_query(request.scope["query_string"], ("max_age", "keep_patterns", "keep_consensus", "dry_run"))
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
        allow = (error.headers or {}).get("Allow", "GET").encode()
        return _to_response(reply_to(WrongMethodError(f"{request.url.path} has no such method", (b"allow", allow))))
    return _to_response(reply_to(NotFoundError("there is no such path")))
