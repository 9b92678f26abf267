"""Opens the embedder of the settings, and those of models that a store used before."""

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
        chosen: the one of the settings; None without one.
        of_name: returns the embedder of a name, see core.embedding; None if it can't be had with these settings. It may
            be called on any thread.
    """

    chosen: Embedder | None
    of_name: Callable[[str], Embedder | None]


@contextlib.asynccontextmanager
async def open_embedders(settings: EmbedderSettings) -> AsyncIterator[Embedders]:
    """Yield the embedders. Each kind is imported only if it is used: numpy takes 19 MiB.

    A store whose model has changed searches with the vectors of the former one until it has embedded all entries. The
    former one can be had if it is static, or another model of the same endpoint.

    Raises:
        ConfigError: the model of the static embedder is not installed.
        EmbeddingError: the endpoint was asked for the width of its vectors, and did not answer.
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
