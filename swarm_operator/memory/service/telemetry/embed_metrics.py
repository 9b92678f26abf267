"""Metrics of the embedder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.errors import EmbeddingError

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class MeasuredEmbedder(Embedder):
    """Embedder that measures another embedder.

    Args:
        embedder: makes the vectors.
        registry: registry of the service.
    """

    def __init__(self, embedder: Embedder, registry: CollectorRegistry) -> None:
        self._embedder = embedder
        self._seconds = Histogram(
            "swarm_memory_embed_duration_seconds",
            "Successful calls of the embedder.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Counter("swarm_memory_embed_texts_total", "Texts embedded.", registry=registry)
        self._failures = Counter(
            "swarm_memory_embed_failures_total", "Failed calls of the embedder.", registry=registry
        )

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self._embedder.name

    @property
    def width(self) -> int:
        """Return the number of dimensions."""
        return self._embedder.width

    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        """Return a vector for each text. Raise EmbeddingError."""
        started = time.perf_counter()
        try:
            vectors = await self._embedder.embed(texts)
        except EmbeddingError:
            self._failures.inc()
            raise
        self._seconds.observe(time.perf_counter() - started)
        self._texts.inc(len(texts))
        return vectors
