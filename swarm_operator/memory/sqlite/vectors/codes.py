"""Codes of vectors: a scale and an int8 for each number.

The length of a vector does not matter for a cosine, so the largest number of each becomes 127. The cosine of two codes
differs from that of their vectors by less than 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_MOST: Final = 127
_DIGITS: Final = 6
"""Decimals of a cosine: further ones depend on the order of additions."""


def encode(vector: bytes) -> tuple[float, bytes]:
    """Return the scale and the code of a vector (see core.vectors); of zeros there is none: 0 and no bytes."""
    numbers = np.frombuffer(vector, "<f4").astype(np.float64)
    largest = float(np.abs(numbers).max())
    if not largest:
        return 0.0, b""
    scale = largest / _MOST
    return scale, np.rint(numbers / scale).astype(np.int8).tobytes()


def matrix(codes: Sequence[bytes], numbers: int) -> Array:
    """Return codes as an array with a row for each."""
    return np.frombuffer(b"".join(codes), np.int8).reshape(len(codes), numbers)


def unit(vector: bytes) -> Array:
    """Return the numbers of a vector as one of length 1."""
    numbers = np.frombuffer(vector, "<f4").astype(np.float64)
    found: Array = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return found


def projections(query: Array, codes: Array) -> Array:
    """Return the cosine of the angle between a vector of length 1 and the code in each row, or 1e-6 more."""
    rows = codes.astype(np.float32)
    found: Array = rows @ query / np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return found


def cosines(vector: bytes, codes: Array) -> Array:
    """Return the cosine of the angle between a query's vector and the code in each row."""
    found: Array = np.clip(projections(unit(vector), codes), -1.0, 1.0)
    return found


def distances(vector: bytes, codes: Array) -> list[float]:
    """Return the cosines with the other sign, rounded: the best one is the smallest."""
    found: list[float] = (-np.round(cosines(vector, codes).astype(np.float64), _DIGITS)).tolist()
    return found


def rounded(vector: bytes) -> bytes:
    """Return a vector in numbers of its code: its cosine with an equal vector's code is 1. Zeros have none."""
    return np.frombuffer(encode(vector)[1], np.int8).astype("<f4").tobytes()
