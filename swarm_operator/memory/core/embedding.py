"""The contract of an embedder: what makes vectors of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Makes vectors of texts. A store that has one embeds entries that came without a vector, and queries.

    Texts of like meaning have vectors of like direction. A store calls `embed` on its event loop, for several batches
    of entries and queries at a time: work that takes long belongs on a thread.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the name of the model, with all that its vectors depend on. A store with another one embeds anew."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Return the number of dimensions of all vectors."""

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        """Return a vector for each text, in order: `width` numbers as little-endian float32, see core.vectors.

        A text without anything that the model knows has a vector of zeros: it is like no other text.

        Raises:
            EmbeddingError: there are no vectors at present, or never for these texts.
        """
