"""The official client on the service's real port, in both of the protocol's eras."""

import asyncio
import contextlib
import json
from dataclasses import dataclass

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TOKEN = "client-0123456789abcdef"
ADMIN_TOKEN = "admin-0123456789abcdef"
SESSIONS, ALONE = "legacy", "2026-07-28"
"""Eras: with sessions, and with requests that stand alone."""


@dataclass
class Connected:
    """A connected client."""

    client: Client

    async def call(self, name, /, **arguments):
        """The answer of a tool that must succeed."""
        result = await self.client.call_tool(name, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is None, "a host that shows both would show a model everything twice"
        (content,) = result.content
        return json.loads(content.text)

    async def fail(self, name, /, **arguments):
        """The error of a tool that must fail."""
        result = await self.client.call_tool(name, arguments)
        assert result.is_error, result.content
        assert result.structured_content is None
        return json.loads(result.content[0].text)["error"]

    async def tools(self):
        """The tools that are listed, by their names."""
        return {tool.name: tool for tool in (await self.client.list_tools()).tools}

    async def read(self, uri):
        """The document at an address, and its bytes."""
        result = await self.client.read_resource(uri)
        (content,) = result.contents
        assert (content.uri, content.mime_type) == (uri, "application/json")
        return json.loads(content.text)


@contextlib.asynccontextmanager
async def connect(port, *, era=SESSIONS, token=TOKEN, headers=None, query="", **options):
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    # Without TLS: to read the authorities of each client takes as long as a test.
    async with (
        httpx2.AsyncClient(verify=False, headers={**authorization, **(headers or {})}, timeout=30) as http,
        Client(
            streamable_http_client(f"http://127.0.0.1:{port}/mcp{query}", http_client=http), mode=era, **options
        ) as client,
    ):
        yield Connected(client)


@contextlib.asynccontextmanager
async def staying(port, **options):
    """As connect, for fixtures: a client must be left in the task that entered it, which a fixture can't guarantee."""
    connected, over = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def stay():
        async with connect(port, **options) as client:
            connected.set_result(client)
            await over.wait()

    task = asyncio.create_task(stay())
    await asyncio.wait([task, connected], return_when=asyncio.FIRST_COMPLETED)
    yield connected.result() if connected.done() else await task
    over.set()
    await task


@pytest.fixture
def connecting():
    """connecting(port, era=..., token=...) is a context manager that gives a Connected."""
    return connect


@pytest.fixture
async def service(start_service, clock):
    async with start_service(clock=clock, mcp=True) as running:
        yield running


@pytest.fixture(params=[SESSIONS, ALONE])
def era(request):
    return request.param


@pytest.fixture
async def mcp(service, era):
    async with staying(service.port, era=era) as client:
        yield client


@pytest.fixture
async def admin(service, era):
    async with staying(service.port, era=era, token=ADMIN_TOKEN) as client:
        yield client
