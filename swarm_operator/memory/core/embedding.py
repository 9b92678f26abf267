"""The contract of an embedder, which makes vectors of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Makes vectors of texts. A store with an embedder embeds queries, and entries that were written without a vector.

    Texts of similar meaning have vectors of similar direction. A store calls `embed` on its event loop, for several
    batches of entries and queries at a time. Run long work on a thread.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name of the model, with all that its vectors depend on. A store embeds again for a new name."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Return the number of dimensions of all vectors."""

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        """Return a vector for each text, in order: `width` numbers as little-endian float32, see core.vectors.

        A text without any token of the model has a vector of zeros, which is similar to no other text.

        Raises:
            EmbeddingError: the embedder failed, for now or for these texts always.
        """
