"""Opens the embedder of the settings, and the embedders of a store's former models."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.embedding.settings import EmbedderSettings


@dataclass(frozen=True, slots=True)
class Embedders:
    """The embedders of a service.

    Attributes:
        chosen: embedder of the settings; None without an embedder.
        of_name: returns the embedder of a name, see core.embedding; None if it is not available with these settings.
            Callable on any thread.
    """

    chosen: Embedder | None
    of_name: Callable[[str], Embedder | None]


@contextlib.asynccontextmanager
async def open_embedders(settings: EmbedderSettings) -> AsyncIterator[Embedders]:
    """Yield the embedders. Each kind is imported only if it is used: numpy takes 19 MiB.

    A store whose model has changed searches with the vectors of the former model until it has embedded all entries. A
    former model is available if it is static, or served by the same endpoint.

    Raises:
        ConfigError: the model of the static embedder is not installed.
        EmbeddingError: the endpoint did not respond to a request for the width of its vectors.
    """
    with contextlib.ExitStack() as formers:

        def static(name: str) -> Embedder | None:
            if not name.startswith("static/"):
                return None
            from swarm_operator.memory.embedding.static import static_embedder  # noqa: PLC0415

            with contextlib.suppress(ConfigError, ImportError), contextlib.ExitStack() as opened:
                former = opened.enter_context(static_embedder())
                if former.name == name:
                    formers.push(opened.pop_all())
                    return former
            return None

        if settings.mode == "static":
            from swarm_operator.memory.embedding.static import static_embedder  # noqa: PLC0415

            with static_embedder() as chosen:
                yield Embedders(chosen, lambda _: None)
        elif settings.mode == "http":
            from swarm_operator.memory.embedding.endpoint import http_embedder  # noqa: PLC0415

            async with http_embedder(settings) as http:
                yield Embedders(http, lambda name: http.of_name(name) or static(name))
        else:
            yield Embedders(None, lambda _: None)
