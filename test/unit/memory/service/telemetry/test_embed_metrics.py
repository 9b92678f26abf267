"""Calls of the embedder are measured, whether they succeed or not."""

import pytest
from prometheus_client import CollectorRegistry

from swarm_operator.memory.core.errors import EmbeddingError
from swarm_operator.memory.service.telemetry.embed_metrics import MeasuredEmbedder


class Embedder:
    name, width = "model", 2

    async def embed(self, texts):
        if "fail" in texts:
            raise EmbeddingError("no answer")
        return [bytes(8)] * len(texts)


async def test_texts_times_and_failures_are_counted():
    registry = CollectorRegistry()
    measured = MeasuredEmbedder(Embedder(), registry)
    assert (measured.name, measured.width) == ("model", 2)
    assert registry.get_sample_value("swarm_memory_embed_failures_total") == 0
    assert await measured.embed(["a", "b"]) == [bytes(8)] * 2
    with pytest.raises(EmbeddingError):
        await measured.embed(["fail"])
    assert registry.get_sample_value("swarm_memory_embed_texts_total") == 2
    assert registry.get_sample_value("swarm_memory_embed_failures_total") == 1
    assert registry.get_sample_value("swarm_memory_embed_duration_seconds_count") == 1
