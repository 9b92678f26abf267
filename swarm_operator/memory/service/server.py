"""Runs the service: opens the store, serves both ports in one event loop, stops in order.

Stopping (SIGTERM, SIGINT): no new connections; requests under way get their grace; then the store commits what it has
taken, moves its log into the database and closes. A second signal cuts the grace short, never the closing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING

import structlog
import uvicorn

import swarm_operator
from swarm_operator.memory.engine import MemoryStore, MemoryStoreError, sqlite
from swarm_operator.memory.service import auth
from swarm_operator.memory.service.app import MemoryApp
from swarm_operator.memory.service.errors import BadTokenFileError
from swarm_operator.memory.service.metrics import MetricsApp, ServiceMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from swarm_operator.memory.engine import StoreConfig
    from swarm_operator.memory.service.settings import ServiceSettings

__all__ = ["DATABASE_NAME", "serve"]

DATABASE_NAME = "swarm-memory.db"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger(__name__)


async def serve(settings: ServiceSettings, config: StoreConfig) -> int:
    """Serve until a signal comes. Returns the process's exit code: 0 after a signal, 1 when it could not go on."""
    stop = asyncio.Event()
    servers: list[tuple[_Server, socket.socket]] = []
    loop = asyncio.get_running_loop()
    # From the first moment on: as process 1 of a container a signal without a handler would be ignored.
    for number in _SIGNALS:
        loop.add_signal_handler(number, _on_signal, number, stop, servers)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        tokens = auth.Tokens(_token_dir(settings))
        with contextlib.ExitStack() as sockets:
            http_socket = sockets.enter_context(_bind(settings.host, settings.http_port))
            metrics_socket = sockets.enter_context(_bind(settings.host, settings.metrics_port))
            metrics = ServiceMetrics()
            async with MemoryStore.open(settings.data_dir / DATABASE_NAME, config, observer=metrics) as store:
                app = MemoryApp(store, tokens=tokens, metrics=metrics, settings=settings)
                servers.append((_Server(app, settings, on_exit=app.stop), http_socket))
                servers.append((_Server(MetricsApp(metrics, metrics.watch(store)), settings), metrics_socket))
                async with app.running():
                    asked = await _run(servers, store, stop)
    except (MemoryStoreError, BadTokenFileError, OSError) as error:
        _log.error("cannot serve", reason=str(error), kind=type(error).__name__)
        return 1
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    _log.info("stopped")
    return 0 if asked else 1


async def _run(servers: list[tuple[_Server, socket.socket]], store: MemoryStore, stop: asyncio.Event) -> bool:
    """Serve until the signal, then stop. False when the writer or a server ended on its own."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(server.serve([sock])) for server, sock in servers]
        tasks.create_task(_announce(servers, store))
        signalled = tasks.create_task(stop.wait())
        await asyncio.wait([signalled, store.stopped, *running], return_when=asyncio.FIRST_COMPLETED)
        asked = signalled.done()
        if not asked:
            _log.error("stopping", reason="the writer or a server has ended unexpectedly")
            signalled.cancel()
        for server, _ in servers:
            server.should_exit = True
    return asked


async def _announce(servers: list[tuple[_Server, socket.socket]], store: MemoryStore) -> None:
    """Say where the service is, once both ports listen."""
    for server, _ in servers:
        await server.listening.wait()
    (_, http_socket), (_, metrics_socket) = servers
    _log.info(
        "serving",
        http=_address(http_socket),
        metrics=_address(metrics_socket),
        database=str(store.path),
        swarm_id=store.config.swarm_id,
        sqlite_version=store.sqlite_version,
        sqlite_wal_reset_bug=sqlite.has_wal_reset_bug(),
        version=swarm_operator.__version__,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: one signal has two servers and a store to stop."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, *, on_exit: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=settings.grace,
            )
        )

        self.listening = asyncio.Event()
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and wait for requests under way, but not for those that have no end."""
        self._on_exit()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _on_signal(number: signal.Signals, stop: asyncio.Event, servers: list[tuple[_Server, socket.socket]]) -> None:
    if stop.is_set():
        for server, _ in servers:
            server.force_exit = True
    else:
        _log.info("stopping", reason=number.name)
        stop.set()


def _token_dir(settings: ServiceSettings) -> Path:
    if settings.token_dir is not None:
        return settings.token_dir
    directory = settings.data_dir / "tokens"
    if auth.generate(directory):
        _log.info("tokens made", client=str(directory / auth.CLIENT_FILE), admin=str(directory / auth.ADMIN_FILE))
    return directory


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: clients are refused, not kept waiting, while the store opens."""
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


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
