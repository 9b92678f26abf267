"""The static embedder, and a real server that embeds with it."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.embeddings import MODEL, EmbeddingServer

from swarm_operator.memory.embedding.endpoint import http_embedder
from swarm_operator.memory.embedding.settings import EmbedderSettings
from swarm_operator.memory.embedding.static import StaticEmbedder, package_folder


@pytest.fixture(scope="session")
def static():
    with ThreadPoolExecutor(max_workers=1) as thread:
        yield StaticEmbedder(package_folder(), thread)


@pytest.fixture
async def server(static):
    async with EmbeddingServer(static).running() as server:
        yield server


class Time:
    """Seconds that pass where somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self):
        return self.now


@pytest.fixture
def passing():
    return Time()


@pytest.fixture
async def opened(server, passing):
    """opened(**settings): an embedder that asks the server."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**settings):
            given = {"url": server.url, "model": MODEL, "width": 256} | settings
            wanted = EmbedderSettings(mode="http", **given)
            return await stack.enter_async_context(
                http_embedder(wanted, sleep=passing.sleep, monotonic=passing.monotonic)
            )

        yield make
