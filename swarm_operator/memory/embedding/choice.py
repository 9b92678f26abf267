"""Opens the embedder of the settings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.embedding.settings import EmbedderSettings


@contextlib.asynccontextmanager
async def open_embedder(settings: EmbedderSettings) -> AsyncIterator[Embedder | None]:
    """Yield the embedder; None without one. Each kind is imported only if it is used: numpy takes 19 MiB.

    Raises:
        ConfigError: the model of the static embedder is not installed.
        EmbeddingError: the endpoint was asked for the width of its vectors, and did not answer.
    """
    if settings.mode == "static":
        from swarm_operator.memory.embedding.static import static_embedder  # noqa: PLC0415

        async with static_embedder() as static:
            yield static
    elif settings.mode == "http":
        from swarm_operator.memory.embedding.endpoint import http_embedder  # noqa: PLC0415

        async with http_embedder(settings) as http:
            yield http
    else:
        yield None
