"""Signs of vectors: a bit for each number, and estimates of cosines from the bits of one vector and another's numbers.

The numbers of a query have two bits beside their signs: how large they are. A vector differs from the query by the sum
of the sizes of the numbers whose signs differ, which is counted in planes of 64 dimensions of all vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from swarm_operator.memory.sqlite.vectors.codes import Array
from swarm_operator.memory.sqlite.vectors.halves import Run, at_once

_PLANE_BITS: Final = 64
_BLOCK: Final = 1 << 16
_MAX_SIZE: Final = 3
_STEP: Final = 0.8
"""Numbers of size 1, in means of all. With it, sizes tell most of normally distributed numbers."""
# A sum over the signs of a vector of normally distributed numbers is as long as this part of the vector, and the rest
# of the vector has an error in proportion to it. See "RaBitQ", https://arxiv.org/abs/2405.12497, section 3.
_SIGNS_PART: Final = math.sqrt(2 / math.pi)
_DEVIATIONS: Final = 3.0


def planes(width: int) -> int:
    """Return the number of planes."""
    return -(-width // _PLANE_BITS)


def sign_bits(codes: Array) -> Array:
    """Return the signs of codes, one in each row: a row for each plane, of a number of 64 bits for each code."""
    return np.ascontiguousarray(_packed(codes < 0).T)


def _packed(bits: Array) -> Array:
    """Return the bits of each row as numbers of 64 bits."""
    count, width = bits.shape
    padded = np.zeros((count, planes(width) * _PLANE_BITS // 8), np.uint8)
    packed = np.packbits(bits, axis=1)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


class Signs:
    """Signs and sizes of the numbers of a query's vector."""

    def __init__(self, vector: bytes) -> None:
        numbers = np.frombuffer(vector, "<f4").astype(np.float64)
        sizes = np.abs(numbers)
        levels = np.minimum(np.rint(sizes / (_STEP * sizes.mean())), _MAX_SIZE).astype(np.uint8)
        self._bits, self._low, self._high = _packed(np.stack([numbers < 0, levels & 1, levels >> 1]))
        self._total = int(levels.sum())
        length = float(np.linalg.norm(levels.astype(np.float64)))
        self._part = _SIGNS_PART * float(levels @ sizes) / (length * float(np.linalg.norm(numbers)))
        """Correlation of the estimate with the cosine."""
        self._root = math.sqrt(len(numbers))
        self._length = length

    def distances(self, planes: Sequence[Array], run: Run = at_once) -> Array:
        """Return how much the vectors of these planes differ from the query."""
        found = np.zeros(len(planes[0]), np.uint16)

        def count(start: int, end: int) -> None:
            for first in range(start, end, _BLOCK):
                last = min(first + _BLOCK, end)
                block = found[first:last]
                for plane, bits, low, high in zip(planes, self._bits, self._low, self._high, strict=True):
                    differing = plane[first:last] ^ bits
                    # A sum of 64 sizes fits into 8 bits.
                    sizes = np.bitwise_count(differing & high)
                    sizes += sizes
                    sizes += np.bitwise_count(differing & low)
                    block += sizes

        run(count, len(found))
        return found

    def bounds(self, distances: Array) -> Array:
        """Return the cosines that vectors with these distances hardly exceed."""
        guesses = self._total - 2.0 * distances
        expected = np.clip(guesses / (self._length * self._root * self._part), -1.0, 1.0)
        error = math.sqrt(1 - self._part**2) / self._part / self._root
        found: Array = expected + _DEVIATIONS * error * np.sqrt(1 - expected**2)
        return found
