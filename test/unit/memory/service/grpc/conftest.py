"""The gRPC server on a real port, in this process, and a channel to it."""

import contextlib
import json
from dataclasses import dataclass

import grpc
import pytest

from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc.memory_pb2 import Problem
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.grpc.statuses import PROBLEM_KEY
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.sqlite import SqliteStore

TOKEN = "client-0123456789abcdef"
ADMIN_TOKEN = "admin-0123456789abcdef"
READER_TOKEN = "reader-0123456789abcdef"
TEAM_TOKEN = "team-0123456789abcdef"


def _with_token(details, token):
    return details._replace(metadata=grpc.aio.Metadata(("authorization", f"Bearer {token}")))


class UnaryWithToken(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends a token along with each call."""

    def __init__(self, token):
        self._token = token

    async def intercept_unary_unary(self, continuation, client_call_details, request):
        return await continuation(_with_token(client_call_details, self._token), request)


class StreamWithToken(grpc.aio.UnaryStreamClientInterceptor):
    """The same for streams: the package takes an interceptor for one kind of call only."""

    def __init__(self, token):
        self._token = token

    async def intercept_unary_stream(self, continuation, client_call_details, request):
        return await continuation(_with_token(client_call_details, self._token), request)


@dataclass
class Grpc:
    """A server, and stubs of a client with the token."""

    server: GrpcServer
    store: SqliteStore
    metrics: ServiceMetrics
    quotas: Quotas
    channel: grpc.aio.Channel
    memory: MemoryStub

    async def problem(self, call):
        """The status of a call that must fail, and its problem."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        trailers = dict(caught.value.trailing_metadata())
        problem = Problem.FromString(trailers[PROBLEM_KEY])
        assert problem.message == caught.value.details()
        return caught.value.code(), problem

    def handled(self, method, code):
        labels = {"grpc_service": "swarm.memory.v1.Memory", "grpc_method": method, "grpc_code": code}
        return self.metrics.registry.get_sample_value("grpc_server_handled_total", labels)


def channel_to(port, token=TOKEN, **options):
    """A channel, with a token unless that is None."""
    interceptors = [UnaryWithToken(token), StreamWithToken(token)] if token else []
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors, options=list(options.items()))


@contextlib.asynccontextmanager
async def running(directory, clock, *, certificate=None, **settings):
    tokens = directory / "tokens"
    tokens.mkdir()
    (tokens / "client-token").write_text(TOKEN)
    (tokens / "admin-token").write_text(ADMIN_TOKEN)
    further = [{"name": "reader", "token": READER_TOKEN, "access": "read"},
               {"name": "team", "token": TEAM_TOKEN, "access": "write", "namespaces": ["team"]}]  # fmt: skip
    (tokens / "tokens.json").write_text(json.dumps({"tokens": further}))
    metrics = ServiceMetrics()
    chosen = ServiceSettings(grpc_port=0, **settings)
    async with SqliteStore.open(directory / "swarm-memory.db", clock=clock, observer=metrics) as store:
        quotas = Quotas(chosen)
        server = GrpcServer(
            store, tokens=Tokens(tokens), metrics=metrics, settings=chosen, quotas=quotas, certificate=certificate
        )
        async with server.running(), channel_to(server.port) as channel:
            yield Grpc(server, store, metrics, quotas, channel, MemoryStub(channel))


@pytest.fixture
def start_grpc(tmp_path, clock):
    """start_grpc(max_watches=...) is a context manager that gives a Grpc."""
    return lambda **settings: running(tmp_path, clock, **settings)


@pytest.fixture
async def served(start_grpc):
    async with start_grpc() as started:
        yield started


@pytest.fixture
def connecting():
    """connecting(port, token=...) is a channel."""
    return channel_to
