"""An embedder for tests: texts with like words have like vectors, and some words mean the same."""

import asyncio
import random
import re
import struct
from functools import cache

from swarm_operator.memory.core.errors import EmbeddingError

MEANINGS = {"vixen": "fox", "automobile": "car", "lorry": "truck", "purchase": "buy"}
"""Words that have the vectors of other ones."""


class WordEmbedder:
    """Adds up the vectors of a text's words.

    Attributes:
        name, width: see core.embedding.
        texts: all that were embedded.
        failing: whether it fails.
        refused: a word of texts that it never embeds.
        gate: it works while this is set.
        asked: set while it works, or waits for the gate.
    """

    def __init__(self, name="words", width=32):
        self.name = name
        self.width = width
        self.texts = []
        self.failing = False
        self.refused = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def embed(self, texts):
        self.asked.set()
        await asyncio.sleep(0)
        await self.gate.wait()
        self.asked.clear()
        if self.failing:
            raise EmbeddingError("the embedder is away")
        if any(self.refused is not None and self.refused in text for text in texts):
            raise EmbeddingError("a text is refused")
        self.texts += texts
        return [vector_of(self.name, self.width, text) for text in texts]


def vector_of(name, width, text):
    sums = [0.0] * width
    for word in re.findall(r"[a-z]+\d*", text.lower()):
        for place, number in enumerate(_word(name, width, MEANINGS.get(word, word))):
            sums[place] += number
    return struct.pack(f"<{width}f", *sums)


@cache
def _word(name, width, word):
    numbers = random.Random(f"{name} {word}")
    return [numbers.gauss(0, 1) for _ in range(width)]
