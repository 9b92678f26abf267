"""The dispatcher: how answers that are streams begin, end and fail."""

import asyncio

import orjson
import pytest
from unit.memory.conftest import TOKEN

from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.app import MemoryApp
from swarm_operator.memory.service.asgi import Stream
from swarm_operator.memory.service.http.endpoint import Endpoint
from swarm_operator.memory.service.http.operation import Operation
from swarm_operator.memory.service.http.router import Router
from swarm_operator.memory.service.http.routes import entries
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

SCOPE = {
    "type": "http", "method": "GET", "path": "/v1/stream", "raw_path": b"/v1/stream", "query_string": b"",
    "headers": [(b"authorization", b"Bearer " + TOKEN.encode())],
}  # fmt: skip


class Client:
    """One request to an application whose only other path answers with a stream."""

    def __init__(self, service, chunks, *, endless=False):
        self.sent = []
        self.gone = asyncio.Event()
        self.begun = asyncio.Event()
        self.app = MemoryApp(
            service.store, tokens=Tokens(service.tokens), metrics=ServiceMetrics(), settings=ServiceSettings()
        )

        async def answer(_):
            return Stream(200, chunks, endless=endless)

        operation = Operation("GET", "/v1/stream", "stream", "A stream.", {}, streams=True, timed=False)
        self.app._router = Router([*entries.ENDPOINTS, Endpoint(operation, answer)])

    async def run(self):
        await self.app(SCOPE, self._receive, self._send)

    async def _receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)
        self.begun.set()

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self):
        return bool(self.sent) and not self.sent[-1].get("more_body", False) and len(self.sent) > 1


async def test_a_stream_is_sent_and_ended(service):
    async def chunks():
        yield b"a"
        yield b"b"

    client = Client(service, chunks())
    await client.run()
    assert (client.sent[0]["status"], client.body, client.ended) == (200, b"ab", True)


async def test_an_error_before_the_first_chunk_is_a_problem(service):
    async def chunks():
        raise OverloadedError("too much")
        yield b""

    client = Client(service, chunks())
    await client.run()
    assert client.sent[0]["status"] == 429
    assert orjson.loads(client.body)["detail"] == "too much"


@pytest.mark.parametrize("error", [OverloadedError("too much"), ValueError("a defect")])
async def test_an_error_behind_the_first_chunk_cuts_the_answer_off(service, error):
    async def chunks():
        yield b"a"
        raise error

    client = Client(service, chunks())
    await client.run()
    assert (client.sent[0]["status"], client.body) == (200, b"a")
    assert client.sent[-1]["more_body"]


async def test_a_stream_whose_client_has_gone_is_closed(service):
    closed = asyncio.Event()

    async def chunks():
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            closed.set()

    client = Client(service, chunks())
    running = asyncio.create_task(client.run())
    await client.begun.wait()
    client.gone.set()
    await running
    assert closed.is_set()


@pytest.mark.parametrize("begun", [True, False])
async def test_an_endless_stream_ends_when_the_service_stops(service, begun):
    waiting = asyncio.Event()

    async def chunks():
        if begun:
            yield b"a"
        waiting.set()
        await asyncio.Event().wait()
        yield b"never"

    client = Client(service, chunks(), endless=True)
    running = asyncio.create_task(client.run())
    await waiting.wait()
    client.app.stop()
    await running
    assert client.ended
    assert client.sent[0]["status"] == (200 if begun else 503)
