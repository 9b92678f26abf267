"""Runs the service: opens the store, serves all ports in one event loop, and shuts down in order.

On SIGTERM or SIGINT new connections are rejected and in-flight requests get the grace period. Then the store commits
accepted writes, checkpoints its log and closes. A second signal ends the grace period early, never the closing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog
import uvicorn
from starlette.types import ASGIApp

import swarm_operator
from swarm_operator.memory.core import MemoryStoreError
from swarm_operator.memory.embedding.choice import open_embedders
from swarm_operator.memory.service.access.seal import Seal, read_or_create_key
from swarm_operator.memory.service.access.service_accounts import ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens, generate
from swarm_operator.memory.service.app import MemoryApp
from swarm_operator.memory.service.certificate import Certificate
from swarm_operator.memory.service.errors import BadCertificateError, BadTokenFileError
from swarm_operator.memory.service.http.acceptor import Acceptor
from swarm_operator.memory.service.http.connections import METRICS_CONNECTIONS, ConnectionLimits, Connections, Reason
from swarm_operator.memory.service.http.direct import Direct
from swarm_operator.memory.service.http.protocol import protocol
from swarm_operator.memory.service.http.tls import TlsProtocol
from swarm_operator.memory.service.metrics_app import MetricsApp
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import driver
from swarm_operator.memory.transfer.backups.new_database import restore_new
from swarm_operator.shared.tokens import ADMIN_FILE, CLIENT_FILE

DATABASE_NAME = "swarm-memory.db"
CURSOR_KEY_NAME = "cursor-key"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GRPC_SERVER = "swarm_operator.memory.service.grpc.server"
_COLLECTED_OBJECTS = 20_000
"""New objects after which Python's garbage collector looks for cycles."""
_SHUTDOWN_POLL = 0.01
"""Seconds between two checks of the in-flight requests of a stopping server."""

_log = structlog.get_logger(__name__)


async def serve(settings: ServiceSettings, config: StoreConfig) -> int:
    """Serve until a signal arrives. Return the exit code: 0 after a signal, 1 after a failure."""
    stop = asyncio.Event()
    force_shutdown: list[Callable[[], None]] = []
    """Callbacks that end the grace period early."""
    loop = asyncio.get_running_loop()
    # Installed first: the kernel ignores signals without a handler for process 1 of a container.
    for number in _SIGNALS:
        loop.add_signal_handler(number, _on_signal, number, stop, force_shutdown)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        metrics = ServiceMetrics()
        tokens = Tokens(
            _token_dir(settings), service_accounts=_service_accounts(settings), seal=_seal(settings),
            reloaded=metrics.tokens_valid.set,
        )  # fmt: skip
        certificate = None
        if settings.tls_dir is not None:
            certificate = Certificate(settings.tls_dir, reloaded=metrics.certificate())
        settings = replace(settings, host=_available(settings.host))
        if settings.restore_from is not None and not await _restored(settings, config.swarm_id, stop):
            return 0
        with contextlib.ExitStack() as sockets:
            http_socket = sockets.enter_context(_bind(settings.host, settings.http_port))
            metrics_socket = sockets.enter_context(_bind(settings.host, settings.metrics_port))
            async with (
                open_embedders(settings.embedder) as embedders,
                SqliteStore.open(
                    settings.data_dir / DATABASE_NAME, config, observer=metrics,
                    embedder=metrics.embedder(embedders.chosen),
                    former_embedder=embedders.of_name,
                ) as store,
            ):  # fmt: skip
                app = MemoryApp(store, tokens=tokens, metrics=metrics, settings=settings)
                direct = Direct(store.callbacks, tokens=tokens, metrics=metrics, max_body_bytes=settings.max_body_bytes)
                stopping = [app.stop]
                api = _Server(
                    app, connections(settings, metrics, "api"), settings.grace, direct, on_exit=stopping,
                    certificate=certificate,
                )  # fmt: skip
                metrics_app = MetricsApp(metrics, metrics.watch(store, store.sqlite_version))
                scrapers = connections(settings, metrics, "metrics", METRICS_CONNECTIONS)
                scraped = _Server(metrics_app, scrapers, settings.grace, certificate=certificate)
                servers = [(api, http_socket), (scraped, metrics_socket)]
                force_shutdown += [server.force_shutdown for server, _ in servers]
                # HTTP is served first: the imports of MCP and gRPC take longer than the rest of the start.
                async with (
                    app.running(),
                    _running(servers) as running,
                    _grpc(store, app, tokens, metrics, settings, certificate) as grpc,
                ):
                    if grpc is not None:
                        stopping.append(grpc.stop)
                        force_shutdown.append(functools.partial(grpc.stop, 0.0))
                    _announce(servers, store, grpc.port if grpc else None, "https" if certificate else "http")
                    if settings.service_accounts is not None:
                        # The verification of tokens takes 0.1 s to load; no request should wait for that.
                        await asyncio.to_thread(importlib.import_module, "jwt")
                    await app.loaded()
                    # A full collection lets no thread run, and takes 50 ms and more if it goes through what was loaded.
                    gc.freeze()
                    # Requests leave few cycles: Python's 700 objects cost them 6 % of their processor time.
                    gc.set_threshold(_COLLECTED_OBJECTS)
                    asked = await _stopped(running, store, stop)
                    # Wait here, so that all protocols share one grace period.
                    await _shut_down(servers, running)
    except (MemoryStoreError, BadTokenFileError, BadCertificateError, OSError) as error:
        _log.error("cannot serve", reason=str(error), kind=type(error).__name__)
        return 1
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    _log.info("stopped")
    return 0 if asked else 1


async def _restored(settings: ServiceSettings, swarm_id: str, stop: asyncio.Event) -> bool:
    """Restore the backup of the settings if no database exists. Return False if a signal arrived meanwhile."""
    assert settings.restore_from is not None  # noqa: S101 - for mypy
    database = settings.data_dir / DATABASE_NAME
    if database.exists():
        _log.info("backup not restored", reason="there is a database", database=str(database))
        return True
    restoring = asyncio.create_task(
        restore_new(
            settings.restore_from, database, swarm_id=swarm_id, options=settings.backups_options,
            credentials=settings.backups_credentials,
        )
    )  # fmt: skip
    signalled = asyncio.create_task(stop.wait())
    await asyncio.wait([restoring, signalled], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if not restoring.done():
        restoring.cancel()
        await asyncio.wait([restoring])
        return False
    manifest = restoring.result()
    _log.info(
        "backup restored", location=settings.restore_from, backup=manifest.name, entries=manifest.entries,
        size=manifest.size, completed_at=manifest.completed_at,
    )  # fmt: skip
    return True


class _GrpcServer(Protocol):
    """Interface of GrpcServer that is used here. The import of GrpcServer itself takes 0.1 s and 15 MiB."""

    @property
    def port(self) -> int:
        """Return the port that the server listens on."""

    def stop(self, grace: float | None = None) -> None:
        """Stop accepting calls. In-flight calls get `grace` seconds."""


@contextlib.asynccontextmanager
async def _grpc(
    store: SqliteStore, app: MemoryApp, tokens: Tokens, metrics: ServiceMetrics, settings: ServiceSettings,
    certificate: Certificate | None,
) -> AsyncIterator[_GrpcServer | None]:  # fmt: skip
    """Serve gRPC inside this context, if enabled."""
    if settings.grpc_port is None:
        yield None
        return
    # gRPC's C core would otherwise write its own lines to the log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    module = await asyncio.to_thread(importlib.import_module, _GRPC_SERVER)
    server = module.GrpcServer(
        store, tokens=tokens, metrics=metrics, settings=settings, quotas=app.quotas, certificate=certificate
    )
    async with server.running():
        yield server


@contextlib.asynccontextmanager
async def _running(servers: Sequence[tuple[_Server, socket.socket]]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Serve HTTP inside this context, by the tasks that it yields. On exit, stop the servers and wait for them."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for server, sock in servers:
            server.listen(sock)
            tasks.append(asyncio.create_task(server.serve([sock]), name="memory-http"))
        yield tasks
    finally:
        await _shut_down(servers, tasks)


async def _shut_down(servers: Sequence[tuple[_Server, socket.socket]], running: list[asyncio.Task[None]]) -> None:
    """Stop the servers and wait until in-flight requests have been answered, or the grace period is over."""
    for server, _ in servers:
        server.should_exit = True
    if running:
        await asyncio.wait(running)
    for task in running:
        task.result()


async def _stopped(running: list[asyncio.Task[None]], store: SqliteStore, stop: asyncio.Event) -> bool:
    """Wait for the signal and return True. Return False if the writer or a server ended unexpectedly before it."""
    signalled = asyncio.create_task(stop.wait(), name="memory-signal")
    await asyncio.wait([signalled, store.stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    if not signalled.done():
        _log.error("stopping", reason="the writer or a server has ended unexpectedly")
        signalled.cancel()
        return False
    return True


def _announce(
    servers: Sequence[tuple[_Server, socket.socket]], store: SqliteStore, grpc_port: int | None, scheme: str
) -> None:
    """Log the addresses of the service. All ports listen."""
    (_, http_socket), (_, metrics_socket) = servers
    _log.info(
        "serving",
        http=_address(scheme, http_socket),
        grpc_port=grpc_port,
        metrics=_address(scheme, metrics_socket),
        database=str(store.path),
        swarm_id=store.swarm_id,
        sqlite_version=store.sqlite_version,
        sqlite_wal_reset_bug=driver.has_wal_reset_bug(),
        version=swarm_operator.__version__,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, because one signal stops two servers and a store."""

    def __init__(
        self, app: ASGIApp, connections: Connections, grace: int, direct: Direct | None = None, *,
        on_exit: Sequence[Callable[[], None]] = (), certificate: Certificate | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=protocol(connections, direct),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=grace,
            )
        )

        self._certificate = certificate
        self._connections = connections
        self._on_exit = on_exit
        self._grace = grace

    def listen(self, sock: socket.socket) -> None:
        """Start listening. uvicorn's own start would accept one connection per turn, like uvloop."""
        config = self.config
        config.load()
        http: Callable[..., asyncio.Protocol] = config.http_protocol_class
        factory: Callable[[], asyncio.Protocol]
        factory = functools.partial(http, config=config, server_state=self.server_state, app_state={})
        if self._certificate is not None:
            factory = functools.partial(TlsProtocol, self._certificate, factory, self._connections)
        self.servers = [Acceptor(sock, factory, backlog=config.backlog)]  # type: ignore[list-item]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Do nothing: the server listens."""
        del sockets
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Check the deadlines of a tenth of the connections. uvicorn calls this ten times a second."""
        self._connections.sweep(time.monotonic(), counter % 10, 10)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end the endless responses and wait for in-flight requests.

        uvicorn's shutdown checks every 0.1 s whether requests have ended, and takes 0.1 s even without requests. During
        this time clients have no server: they wait for the next process.
        """
        for stop in self._on_exit:
            stop()
        self._connections.report(time.monotonic())
        state = self.server_state
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for server in self.servers:
            await server.wait_closed()
        for connection in tuple(state.connections):
            connection.shutdown()
        deadline = time.monotonic() + self._grace
        while (state.connections or state.tasks) and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_SHUTDOWN_POLL)  # uvicorn's protocol removes items from plain sets
        if state.tasks:
            _log.warning("requests cut off", requests=len(state.tasks))
        for connection in tuple(state.connections):
            connection.cut_off()  # type: ignore[union-attr] # see `protocol`
        for task in tuple(state.tasks):
            task.cancel()

    def force_shutdown(self) -> None:
        """Stop waiting for in-flight requests."""
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def connections(settings: ServiceSettings, metrics: ServiceMetrics, port: str, most: int | None = None) -> Connections:
    """Return the connections of a port, with their metrics."""
    limits = ConnectionLimits.of(settings, connections=most)
    found = Connections(limits, counted=metrics.connection_ends(port, Reason), port=port)
    metrics.connections.labels(port).set_function(lambda: len(found))
    return found


def _on_signal(number: signal.Signals, stop: asyncio.Event, force_shutdown: list[Callable[[], None]]) -> None:
    if stop.is_set():
        for each in force_shutdown:
            each()
    else:
        _log.info("stopping", reason=number.name)
        stop.set()


def _token_dir(settings: ServiceSettings) -> Path:
    if settings.token_dir is not None:
        return settings.token_dir
    directory = settings.data_dir / "tokens"
    if generate(directory):
        _log.info("tokens made", client=str(directory / CLIENT_FILE), admin=str(directory / ADMIN_FILE))
    return directory


def _service_accounts(settings: ServiceSettings) -> ServiceAccounts | None:
    return None if settings.service_accounts is None else ServiceAccounts(settings.service_accounts)


def _seal(settings: ServiceSettings) -> Seal:
    """Return the seal of cursors. Its key survives a restart, so that cursors stay valid."""
    try:
        return Seal(read_or_create_key(settings.data_dir / CURSOR_KEY_NAME))
    except OSError as error:  # a full disk must not prevent reads
        _log.warning("cursors are valid until the service stops", reason=str(error))
        return Seal()


def _available(host: str) -> str:
    """Return the host. Without IPv6, "::" becomes all IPv4 addresses, as in Go's net.Listen."""
    return "0.0.0.0" if host == "::" and not socket.has_dualstack_ipv6() else host  # noqa: S104 - asked for by "::"


def _bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet, so that connections are refused while the store opens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and host == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return sock


def _address(scheme: str, sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
