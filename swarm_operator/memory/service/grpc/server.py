"""gRPC server: authentication, health, reflection, and the order of start and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection
from prometheus_client import Counter

from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service.access.rights import Credential
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.certificate import Certificate, Pair
from swarm_operator.memory.service.errors import BodyTimeoutError, UnauthorizedError
from swarm_operator.memory.service.grpc import memory_pb2_grpc
from swarm_operator.memory.service.grpc.admission import Admission
from swarm_operator.memory.service.grpc.health import Health
from swarm_operator.memory.service.grpc.pause import Pause
from swarm_operator.memory.service.grpc.servicer import OPERATIONS, SERVICE, MemoryServicer
from swarm_operator.memory.service.grpc.statuses import refusal, status_of
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.readiness import unready
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry import tracing
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

_STREAMS: Final = 1024
"""Maximum concurrent streams of a connection, above the limit of calls: for a further stream the client waits."""
_IDLE_MS: Final = 300_000
"""Milliseconds without a call after which a connection is closed; the client reconnects for its next call."""
_HANDSHAKE_MS: Final = 10_000
"""Milliseconds for the TLS handshake and the first bytes of HTTP/2 of a new connection."""
_PING_MS: Final = 60_000
"""Milliseconds between two pings of a client with calls: a disconnected client must not hold its calls."""
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
        quotas: Quotas,
        certificate: Certificate | None = None,
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
        self._certificate = certificate
        admission = Admission(quotas, settings)
        self._servicer = MemoryServicer(
            store, metrics=metrics, handled=handled, settings=settings, quotas=quotas, admission=admission
        )
        self._health = Health()
        self._server = grpc.aio.server(
            interceptors=[_Admission(tokens, handled, admission, self._health, settings.body_timeout)],
            options=(
                ("grpc.max_concurrent_streams", _STREAMS),
                ("grpc.max_allowed_incoming_connections", settings.max_grpc_connections),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                ("grpc.keepalive_time_ms", _PING_MS),
                # The window of a stream must not grow before its message is read.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.max_receive_message_length", settings.max_grpc_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second process must not share the port silently
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        memory_pb2_grpc.add_MemoryServicer_to_server(self._servicer, self._server)  # type: ignore[no-untyped-call]
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
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._certificate is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(self._certificate))
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
            self._health.stop()
            grace = self._settings.grace if grace is None else grace
            self._ending = asyncio.create_task(self._server.stop(grace), name="memory-grpc-stop")

    async def _report_health(self) -> None:
        while True:
            ready = unready(self._store) is None
            for service in ("", SERVICE):
                await self._health.set(service, ready=ready)
            await asyncio.sleep(_POLL_INTERVAL)


def _credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """Return credentials that use the current certificate for each handshake. gRPC allows TLS 1.2 and 1.3."""
    served = certificate.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Return the certificate if it has changed. gRPC's own threads call this."""
        nonlocal served
        if served is (found := certificate.current()):
            return None
        served = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(_configuration(served), fetch)


def _configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])


class _Admission(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Admits health checks and calls with a valid token. No message is read before its call is admitted.

    Each handler takes a stream of requests, also for unary calls: for a unary handler the core reads the message, of up
    to 16 MiB, before the handler runs.
    """

    def __init__(
        self, tokens: Tokens, handled: Counter, admission: Admission, health_: Health, reflection_seconds: float
    ) -> None:
        self._tokens = tokens
        self._handled = handled
        self._admission = admission
        self._health = health_
        self._reflection_seconds = reflection_seconds

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the handler of the call, or a handler that rejects the call."""
        method: str = handler_call_details.method
        if method.startswith(f"/{health.SERVICE_NAME}/"):
            return self._health.handler(method)
        metadata = dict(handler_call_details.invocation_metadata)
        tracing.bind(metadata.get("traceparent", ""), metadata.get("x-request-id", ""))
        offered = metadata.get("authorization", "")
        try:
            # Metadata is ASCII except for keys that end in -bin.
            credential = self._tokens.authenticate(
                offered.encode("latin-1", "replace") if isinstance(offered, str) else None
            )
        except UnauthorizedError as error:
            return grpc.stream_unary_rpc_method_handler(functools.partial(self._refuse, error))
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if not method.startswith(f"/{SERVICE}/"):
            call = functools.partial(self._reflect, credential, handler)
            return grpc.stream_stream_rpc_method_handler(call, None, handler.response_serializer)
        kind = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        call = handler.unary_stream if handler.response_streaming else handler.unary_unary
        return kind(functools.partial(call, credential), None, handler.response_serializer)

    async def _reflect(self, credential: Credential, handler: Any, requests: Any, context: Any) -> AsyncIterator[Any]:
        """Yield the responses of reflection. Its requests are read as they arrive, so the call has a deadline."""
        pause = self._admission.pause_of(credential.principal)
        try:
            self._admission.enter_stream(credential.principal, context)
            await asyncio.sleep(pause.seconds)
        except OverloadedError as error:
            await self._refuse(error, None, context)
        try:
            async with asyncio.timeout(self._reflection_seconds):
                async for response in handler.stream_stream(
                    _parsed(requests, handler.request_deserializer, pause), context
                ):
                    yield response
        except InvalidInputError as error:
            await self._refuse(error, None, context)
        except TimeoutError:
            late = BodyTimeoutError(f"reflection takes at most {self._reflection_seconds:g} seconds")
            await self._refuse(late, None, context)

    async def _refuse(self, error: Exception, _: Any, context: Any) -> None:
        problem = describe(error)
        self._handled.labels(SERVICE, "", status_of(problem).name).inc()
        await context.abort(*refusal(problem))


async def _parsed(requests: AsyncIterator[bytes], parse: Callable[[bytes], Any], pause: Pause) -> AsyncIterator[Any]:
    """Yield the requests of reflection. Raise InvalidInputError: gRPC itself would answer UNKNOWN."""
    async for raw in requests:
        if len(raw) > LARGE_BYTES:
            pause.extend(len(raw))
            raise InvalidInputError("message", f"at most {LARGE_BYTES} bytes: a request of reflection is a name")
        try:
            request = parse(raw)
        except DecodeError:
            raise InvalidInputError("message", "as reflection.proto describes it") from None
        yield request
