"""A server compatible with OpenAI's POST /v1/embeddings, which embeds with the static model."""

from __future__ import annotations

import array
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from swarm_operator.memory.core.embedding import Embedder

MODEL = "static"


class EmbeddingServer:
    """The server.

    Attributes:
        url: what clients are given.
        asked: the texts of each request.
        key: the key that requests need; None: none.
        most: number of texts that a request may have.
        longest: number of characters that a text may have.
        faults: what answers the next requests in place of the server, one after the other.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.url = ""
        self.asked: list[list[str]] = []
        self.key: str | None = None
        self.most = 2048
        self.longest = 100_000
        self.faults: deque[Callable[[web.Request], Awaitable[web.StreamResponse]]] = deque()

    def fail(self, status: int, text: str = "", **options: Any) -> None:
        """Have the next request answered with this status."""

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, text=text, **options)

        self.faults.append(answer)

    def answer(self, document: Any) -> None:
        """Have the next request answered with this document: JSON, as Python writes it."""

        async def answer(_: web.Request) -> web.Response:
            return web.json_response(document)

        self.faults.append(answer)

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[EmbeddingServer]:
        """Serve inside this context, on a free port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/embeddings", self._serve)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        texts = [document["input"]] if isinstance(document["input"], str) else document["input"]
        self.asked.append(texts)
        if self.faults:
            return await self.faults.popleft()(request)
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            offered = request.headers.get("Authorization", "none")
            return _error(401, f"Incorrect API key provided: {offered}")
        if document["model"] != MODEL:
            return _error(404, f"The model {document['model']} does not exist")
        if len(texts) > self.most or not all(0 < len(text) <= self.longest for text in texts):
            return _error(400, "the input has too many texts, or one that is empty or too long")
        vectors = await self._embedder.embed(texts)
        data = [
            {"object": "embedding", "index": place, "embedding": list(array.array("f", vector))}
            for place, vector in enumerate(vectors)
        ]
        # In any order: the index counts.
        return web.json_response({"object": "list", "data": data[::-1], "model": MODEL, "usage": {}})


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)
