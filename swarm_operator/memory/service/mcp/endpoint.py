"""HTTP endpoint of MCP at `/mcp`; loads the MCP server in the background.

The package `mcp` takes 0.5 s to import. A thread imports it while the other routes are already served, and requests to
`/mcp` wait for the import. The package is not loaded if MCP is disabled.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import structlog
from starlette.types import Message, Receive, Send

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import StoreClosedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.asgi import BodyReader, Forward, parse_query
from swarm_operator.memory.service.errors import BodyTooLargeError, ForbiddenError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import Operation
from swarm_operator.memory.service.mcp import toolsets
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

PATH: Final = "/mcp"
_SERVER: Final = "swarm_operator.memory.service.mcp.server"
_MAX_VALUES: Final = 100_000
"""Maximum values of a body, which pydantic validates one by one."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LOOPBACK_HOST: Final = re.compile(rb"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE)

_log = structlog.get_logger(__name__)


class McpEndpoint:
    """Handles requests to PATH."""

    def __init__(
        self,
        store: Store,
        *,
        tokens: Tokens,
        metrics: ServiceMetrics,
        settings: ServiceSettings,
        bodies: BodyReader,
        quotas: Quotas,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._metrics = metrics
        self._settings = settings
        self._bodies = bodies
        self._quotas = quotas
        self._server: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints of /mcp. Permissions are checked by each tool."""
        return tuple(
            Endpoint(
                Operation(method, PATH, "mcp", "MCP.", {}, writes=False, streams=True, timed=False, subject=PATH),
                self._answer,
            )
            for method in ("GET", "POST", "DELETE")
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load and run the MCP server inside this context; stop the server on exit."""
        task = asyncio.create_task(self._run(), name="memory-mcp")
        try:
            yield
        finally:
            self.stop()
            await task

    async def loaded(self) -> None:
        """Wait until the MCP server runs, or has failed to."""
        await asyncio.wait([self._server])

    def stop(self) -> None:
        """Stop accepting requests and end the endless streams. In-flight calls are still answered."""
        self._stopping.set()

    async def _answer(self, call: Call) -> Forward:
        _check_origin(call.headers, self._settings)
        chosen = parse_query(call.scope["query_string"], (toolsets.QUERY,)).get(toolsets.QUERY)
        call.scope[toolsets.SCOPE_KEY] = self._settings.mcp_toolsets if chosen is None else toolsets.parse(chosen)
        if self._stopping.is_set():
            raise StoreClosedError("the service is stopping")
        return Forward(functools.partial(self._serve, call))

    async def _serve(self, call: Call, receive: Receive, send: Send) -> None:
        if call.operation.method != "POST":
            await self._handle(call, b"", receive, send)
            return
        holder = call.credential.principal
        with self._calling():
            body = await self._bodies.read(call.headers, receive, holder)
            try:
                await self._check(body)
                await self._handle(call, body, _replay(body, receive), send)
            finally:
                self._bodies.release(holder, body)

    async def _handle(self, call: Call, body: bytes, receive: Receive, send: Send) -> None:
        server = await asyncio.shield(self._server)
        if server is None:
            raise RuntimeError("MCP did not start; the service's log has the reason")
        await server.handle(call.credential, call.scope, body, receive, send)

    async def _check(self, body: bytes) -> None:
        """Check that the package `mcp` can validate a body without a long stop of the event loop.

        Raises:
            BodyTooLargeError, InvalidInputError: the body has too many bytes or values.
        """
        if len(body) > self._settings.mcp_max_body_bytes:
            raise BodyTooLargeError(f"a body for {PATH} has at most {self._settings.mcp_max_body_bytes} bytes")
        if len(body) > LARGE_BYTES:
            await run_on_thread(functools.partial(strict_json.check_values, "body", body, most=_MAX_VALUES))

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Delay the shutdown while this context is entered."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _run(self) -> None:
        try:
            module = await asyncio.to_thread(importlib.import_module, _SERVER)
            peers = Peers(self._tokens.directory, self._quotas.syncs)
            async with module.run_server(
                self._store, peers=peers, metrics=self._metrics, settings=self._settings, quotas=self._quotas
            ) as server:
                self._server.set_result(server)
                await self._stopping.wait()
                server.end_streams()
                # The HTTP server cancels calls that exceed its grace period, which bounds this wait.
                await self._idle.wait()
        except Exception:  # noqa: BLE001 - the other routes continue to be served
            _log.exception("MCP does not run")
        finally:
            if not self._server.done():
                self._server.set_result(None)


def _check_origin(headers: Mapping[bytes, bytes], settings: ServiceSettings) -> None:
    """Raise ForbiddenError unless a page's origin is allowed: DNS rebinding lets any page reach any address.

    Cross-origin requests of a page always carry Origin; agent hosts send none. On the loopback interface, Host must
    also name the loopback interface. On other interfaces Host may be any name: of a Service, a pod or an ingress.

    Raises:
        ForbiddenError: the Origin or Host is not allowed; for Origin the message names the setting.
    """
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in settings.mcp_allowed_origins:
        raise ForbiddenError("this Origin may not use /mcp; --mcp-allowed-origins names those that may")
    if settings.host in _LOOPBACK and _LOOPBACK_HOST.fullmatch(headers.get(b"host", b"")) is None:
        raise ForbiddenError("this Host is not the loopback interface, which the service listens on")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return an ASGI `receive` function that replays a body and then calls the original."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replaying() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return replaying
