"""Embedder `static`: the mean of the vectors of a text's tokens. It needs no network and no GPU.

Weights and tokenizer are two files of the package wordllama (see NOTICE). The package's code is not used: it expects
the files at another path, downloads them, and imports compiled modules that are not needed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from swarm_operator.memory.core.errors import ConfigError, EmbeddingError

MAX_CHARACTERS: Final = 4000
"""Maximum length of an embedded text; the rest is ignored. It bounds the work per text."""

_PACKAGE: Final = "wordllama"
_MODEL: Final = "l2_supercat"
_WEIGHTS: Final = f"weights/{_MODEL}_256.safetensors"
_TOKENIZER: Final = f"tokenizers/{_MODEL}_tokenizer_config.json"
_TENSOR: Final = "embedding.weight"
_MAX_HEADER_BYTES: Final = 64 * 1024
_STEP: Final = 32
"""Number of texts per turn of the thread, so that a question does not wait for a long batch of entries."""

_Table = npt.NDArray[np.float16]


class StaticEmbedder:
    """Makes vectors on its own thread. Create with `static_embedder`.

    Attributes:
        name: see core.embedding.
        width: see core.embedding.
    """

    def __init__(self, folder: Path, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._tokenizer_file = folder / _TOKENIZER
        self._table = _map_table(folder / _WEIGHTS)
        self._tokenizer: Any = None
        self.width = self._table.shape[1]
        self.name = f"static/{_PACKAGE}-{_MODEL}/{self.width}"

    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        """See core.embedding."""
        loop = asyncio.get_running_loop()
        vectors: list[bytes] = []
        for start in range(0, len(texts), _STEP):
            step = texts[start : start + _STEP]
            vectors += await loop.run_in_executor(self._thread, self._vectors, step)
        return vectors

    def _vectors(self, texts: Sequence[str]) -> list[bytes]:
        try:
            tokenizer = self.load()
            # The tokenizer releases Python's global lock.
            encoded = tokenizer.encode_batch_fast([_prepared(text) for text in texts], add_special_tokens=False)
        except Exception as error:  # the tokenizer raises no subclass
            raise EmbeddingError(f"embedder: the static model failed: {error}") from error
        return [self._mean(each.ids) for each in encoded]

    def load(self) -> Any:
        """Return the tokenizer. The first call reads it, which takes half a second."""
        if self._tokenizer is None:
            # The tokenizer's threads would use the cores for requests. The variable is read for each batch.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            from tokenizers import Tokenizer  # noqa: PLC0415 - slow to import, and not needed at the start

            self._tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        return self._tokenizer

    def _mean(self, tokens: Sequence[int]) -> bytes:
        """Return the mean of the tokens' vectors, of length 1; zeros if there are no tokens."""
        total = self._table[list(tokens)].sum(axis=0, dtype=np.float32)
        length = float(np.linalg.norm(total))
        vector: bytes = (total / length if length else total).astype("<f4").tobytes()
        return vector


@contextlib.contextmanager
def static_embedder() -> Iterator[StaticEmbedder]:
    """Yield the embedder. Read its tokenizer in the background, so that the first question does not wait.

    Raises:
        ConfigError: the package with the model is not installed, or has an unknown version.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory-embedding") as thread:
        embedder = StaticEmbedder(package_folder(), thread)
        thread.submit(embedder.load)
        yield embedder


def package_folder() -> Path:
    """Return the folder of the package with the model, without importing the package. Raise ConfigError."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations or not importlib.util.find_spec("tokenizers"):
        raise ConfigError("embedder: static needs the packages wordllama and tokenizers: swarm-operator[embed]")
    return Path(found.submodule_search_locations[0])


def _map_table(file: Path) -> _Table:
    """Return the memory-mapped weights: stores share the pages, and the kernel drops them when memory is low.

    The format: 8 bytes with the length of a JSON header, the header, and the numbers
    (https://huggingface.co/docs/safetensors). The package safetensors would copy them.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            tensor = json.loads(opened.read(min(length, _MAX_HEADER_BYTES)))[_TENSOR]
        if tensor["dtype"] != "F16":
            raise ValueError(f"numbers of type {tensor['dtype']}")  # noqa: TRY301 - one message for what is no such file
        offset = 8 + length + tensor["data_offsets"][0]
        return np.memmap(file, dtype="<f2", mode="r", offset=offset, shape=tuple(tensor["shape"])).view(np.ndarray)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"embedder: {file} is not the static model: {error}") from error


def _prepared(text: str) -> str:
    """Return the embedded part of a text, in lower case: a word then has the same tokens anywhere in a sentence."""
    return text[:MAX_CHARACTERS].strip().lower()
