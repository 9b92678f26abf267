"""gRPC server: authentication, health, reflection, and the order of start and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import Counter

from swarm_operator.memory.core.slots import Slots
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.errors import UnauthorizedError
from swarm_operator.memory.service.grpc import memory_pb2_grpc
from swarm_operator.memory.service.grpc.servicer import OPERATIONS, SERVICE, MemoryServicer
from swarm_operator.memory.service.grpc.statuses import refusal, status_of
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry import tracing
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

_MAX_CALLS: Final = 256
"""Concurrent calls, including watches; more get RESOURCE_EXHAUSTED. Each call may hold a message of maximum size."""
_POLL_INTERVAL: Final = 1.0
"""Seconds between two readiness checks of the store."""


class GrpcServer:
    """Serves swarm.memory.v1 while `running` is entered. Create the server on the event loop."""

    def __init__(
        self,
        store: Store,
        *,
        tokens: Tokens,
        metrics: ServiceMetrics,
        settings: ServiceSettings,
        slots: Slots,
    ) -> None:
        handled = Counter(
            "grpc_server_handled_total",
            "Calls that have ended, by method and status.",
            ["grpc_service", "grpc_method", "grpc_code"],
            registry=metrics.registry,
        )
        for method in (*OPERATIONS, "Watch"):
            handled.labels(SERVICE, method, grpc.StatusCode.OK.name)
        self._store = store
        self._settings = settings
        self._servicer = MemoryServicer(store, metrics=metrics, handled=handled, settings=settings, slots=slots)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[_Authentication(tokens, handled)],
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=(
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second process must not share the port silently
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        memory_pb2_grpc.add_MemoryServicer_to_server(self._servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._ending: asyncio.Task[None] | None = None
        self.port = 0
        """Port that the server listens on."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside this context. On exit, stop the server and wait until it has shut down.

        Raises:
            OSError: the port is in use.
        """
        host, port = self._settings.host, self._settings.grpc_port
        try:
            self.port = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {host} port {port} for gRPC: {error}") from error
        await self._server.start()
        telling = asyncio.create_task(self._report_health(), name="memory-grpc-health")
        try:
            yield
        finally:
            telling.cancel()
            self.stop()
            assert self._ending is not None  # noqa: S101 - for mypy
            await self._ending

    def stop(self, grace: float | None = None) -> None:
        """Stop accepting calls. In-flight calls get the grace period (default: the service's); watches end at once."""
        if self._ending is None or grace is not None:
            self._servicer.stop()
            grace = self._settings.grace if grace is None else grace
            self._ending = asyncio.create_task(self._server.stop(grace), name="memory-grpc-stop")

    async def _report_health(self) -> None:
        while True:
            ready = self._store.alive and self._store.fault is None
            kinds = health_pb2.HealthCheckResponse
            status = kinds.SERVING if ready else kinds.NOT_SERVING
            for service in ("", SERVICE):
                await self._health.set(service, status)
            await asyncio.sleep(_POLL_INTERVAL)


class _Authentication(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Admits health checks and calls with a valid token. Passes the caller's credential to calls of the memory."""

    def __init__(self, tokens: Tokens, handled: Counter) -> None:
        self._tokens = tokens
        self._handled = handled

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of the call, or a handler that rejects the call."""
        method: str = handler_call_details.method
        if method.startswith(f"/{health.SERVICE_NAME}/"):
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata)
        tracing.bind(metadata.get("traceparent", ""), metadata.get("x-request-id", ""))
        offered = metadata.get("authorization", "")
        try:
            # Metadata is ASCII except for keys that end in -bin.
            credential = self._tokens.authenticate(
                offered.encode("latin-1", "replace") if isinstance(offered, str) else None
            )
        except UnauthorizedError:
            # A stream handler for every call: its message, of up to 16 MiB, is then not read.
            return grpc.stream_unary_rpc_method_handler(self._refuse)
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(f"/{SERVICE}/"):
            return handler
        kind = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        call = handler.unary_stream if handler.response_streaming else handler.unary_unary
        return kind(functools.partial(call, credential), handler.request_deserializer, handler.response_serializer)

    async def _refuse(self, _: Any, context: Any) -> None:
        problem = describe(UnauthorizedError("no valid token"))
        self._handled.labels(SERVICE, "", status_of(problem).name).inc()
        await context.abort(*refusal(problem))
