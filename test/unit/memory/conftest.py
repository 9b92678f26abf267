"""A clock that tests move, stores on real files, and the service behind a real socket."""

import asyncio
import contextlib
import signal
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
import uvicorn
from support.memory_process import Process

from swarm_operator.memory.service.access.service_accounts import ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.app import MemoryApp
from swarm_operator.memory.service.certificate import Certificate
from swarm_operator.memory.service.http.acceptor import Acceptor
from swarm_operator.memory.service.http.connections import METRICS_CONNECTIONS, Connections
from swarm_operator.memory.service.http.direct import Direct
from swarm_operator.memory.service.http.protocol import protocol
from swarm_operator.memory.service.http.tls import TlsProtocol
from swarm_operator.memory.service.metrics_app import MetricsApp
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.server import connections
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig

TOKEN = "client-0123456789abcdef"
ADMIN_TOKEN = "admin-0123456789abcdef"


class FakeClock:
    """Seconds since the epoch that only move when they are told to."""

    def __init__(self):
        self.seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds

    def advance(self, seconds):
        self.seconds += seconds


@dataclass
class Recorder:
    """An observer that remembers."""

    batches: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    expired_entries: int = 0
    collections: int = 0
    recoveries: asyncio.Event = field(default_factory=asyncio.Event)
    former: list = field(default_factory=list)
    searches: list = field(default_factory=list)

    def committed(self, *, requests, seconds):
        assert seconds >= 0
        self.batches.append(requests)

    def failed(self, *, code, reason):
        self.failures.append((code, reason))

    def expired(self, *, entries):
        self.expired_entries += entries

    def collected(self, *, seconds):
        assert seconds >= 0
        self.collections += 1

    def recovered(self):
        self.recoveries.set()

    def searched(self, mode, *, slices):
        self.searches.append((mode, slices))

    def former_database(self, outcome):
        self.former.append(outcome)


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return orjson.loads(self.body)


async def exchange(port, request, tls=None):
    """Send bytes, read the whole answer; the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        # A server may answer and close before it has read everything.
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        raw = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {
        name.decode().lower(): value.decode().strip() for name, _, value in (x.partition(b":") for x in lines[1:])
    }
    return Answer(int(lines[0].split()[1]), headers, body)


@dataclass
class Service:
    """The service in this process."""

    port: int
    metrics_port: int
    store: SqliteStore
    tokens: Path
    quotas: Quotas
    connections: Connections
    tls: ssl.SSLContext | None = None
    """The context of a client, if the service has a certificate."""

    async def call(self, method, path, body=None, *, token=TOKEN, port=None, **headers):
        """One request. `body` is bytes, or a document that is sent as JSON; header_name="..." sends header-name."""
        if body is not None and not isinstance(body, bytes):
            body = orjson.dumps(body)
        lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
        if token is not None:
            lines.append(b"Authorization: Bearer " + token.encode())
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
        return await exchange(port or self.port, b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""), self.tls)

    async def put(self, path, value, **members):
        answer = await self.call("PUT", f"/v1/entries/{path}", {"value": value, **members})
        assert answer.status in {200, 201}, answer
        return answer

    async def metrics(self):
        answer = await self.call("GET", "/metrics", token=None, port=self.metrics_port)
        assert answer.status == 200
        return answer.body.decode()


@contextlib.asynccontextmanager
async def listening(app, connections, direct=None, certificate=None):
    """The service's HTTP protocol on a free port, without its server's ticking: deadlines pass when a test sweeps."""
    config = uvicorn.Config(
        app, http=protocol(connections, direct), ws="none", lifespan="off", log_config=None, server_header=False
    )
    config.load()
    state = uvicorn.server.ServerState()
    # Of sockets whose protocol is not named asyncio lets Nagle's algorithm hold up answers for 40 ms; uvloop does not.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))

    def http():
        return config.http_protocol_class(config=config, server_state=state, app_state={})

    server = Acceptor(
        sock, http if certificate is None else lambda: TlsProtocol(certificate, http, connections), backlog=2048
    )
    try:
        yield sock.getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks)
        await server.wait_closed()
        sock.close()


@contextlib.asynccontextmanager
async def running_service(
    directory, *, clock=None, config=None, seal=None, direct=True, token_clock=time.time, authority=None,
    embedder=None, **settings
):  # fmt: skip
    """`direct`: whether plain requests take the direct path; `token_clock`: the time by which tokens expire;
    `authority`: signs a certificate for TLS."""
    tokens = directory / "tokens"
    tokens.mkdir(exist_ok=True)
    (tokens / "client-token").write_text(TOKEN + "\n")
    (tokens / "admin-token").write_text(ADMIN_TOKEN)
    certificate = None if authority is None else Certificate(authority.pair(directory / "tls"))
    metrics = ServiceMetrics()
    clocks = {} if clock is None else {"clock": clock}
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            SqliteStore.open(
                directory / "swarm-memory.db", config, observer=metrics, embedder=metrics.embedder(embedder), **clocks
            )
        )
        chosen = ServiceSettings(data_dir=directory, **settings)
        accounts = None if chosen.service_accounts is None else ServiceAccounts(chosen.service_accounts)
        valid = Tokens(tokens, service_accounts=accounts, seal=seal, clock=token_clock)
        app = MemoryApp(store, tokens=valid, metrics=metrics, settings=chosen)
        await stack.enter_async_context(app.running())
        api = connections(chosen, metrics, "api")
        path = Direct(store.callbacks, tokens=valid, metrics=metrics, max_body_bytes=chosen.max_body_bytes)
        port = await stack.enter_async_context(listening(app, api, path if direct else None, certificate))
        page = MetricsApp(metrics, metrics.watch(store, store.sqlite_version), max_age=0)
        scrapers = connections(chosen, metrics, "metrics", METRICS_CONNECTIONS)
        metrics_port = await stack.enter_async_context(listening(page, scrapers, None, certificate))
        trusting = None if authority is None else authority.client()
        yield Service(port, metrics_port, store, tokens, app.quotas, api, trusting)


@pytest.fixture(autouse=True)
def _patient_searches(monkeypatch):
    """A search finds what was written before, also on a machine that stalls: it waits for longer by default."""
    monkeypatch.setitem(StoreConfig.__init__.__kwdefaults__, "search_wait", 60.0)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def store(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "store.db", clock=clock) as opened:
        yield opened


@pytest.fixture(params=["wal", "rollback journal"])
async def either_store(request, tmp_path, clock):
    """A store in each journal mode."""
    config = StoreConfig(enable_wal=request.param == "wal")
    async with SqliteStore.open(tmp_path / "store.db", config, clock=clock) as opened:
        yield opened


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def start_service(tmp_path):
    """start_service(clock=..., config=..., max_body_bytes=...) is a context manager that gives a Service."""

    def start(**options):
        return running_service(tmp_path, **options)

    return start


@pytest.fixture
async def service(start_service, clock):
    async with start_service(clock=clock) as running:
        yield running


@pytest.fixture
async def start_process(tmp_path):
    """start_process(*flags, limits=...) starts `swarm-memory serve` on tmp_path/data; all are killed at the end.

    It is for tests of how a process begins, or that limit one: the others fork_process.
    """
    started = []

    async def start(*arguments, data_dir=tmp_path / "data", **options):
        process = await Process.start(data_dir, *arguments, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.stop(signal.SIGKILL)


@pytest.fixture
async def fork_process(tmp_path, zygote):
    """fork_process(*flags) does as start_process, ten times as fast: the process need not import its modules."""
    started = []

    async def start(*arguments, data_dir=tmp_path / "data"):
        ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
        forked = await zygote.fork("serve", "--data-dir", str(data_dir), *ports, *arguments)
        process = await Process.announced(forked, data_dir)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.stop(signal.SIGKILL)
