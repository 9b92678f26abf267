"""Codes of vectors: a scale and an int8 for each number in the file, and a sign bit for each in memory.

The length of a vector does not matter for a cosine, so the largest number of each becomes 127. The cosine of two codes
differs from that of their vectors by less than 0.01. The sign bits are not stored: they are made of the codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

PLANE_BITS: Final = 64
_MOST: Final = 127
_DIGITS: Final = 6
"""Decimals of a cosine: further ones depend on the order of additions."""
_ALL_BYTES: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)


def encode(vector: bytes) -> tuple[float, bytes]:
    """Return the scale and the code of a vector (see core.vectors); of zeros there is none: 0 and no bytes."""
    numbers = np.frombuffer(vector, "<f4").astype(np.float64)
    largest = float(np.abs(numbers).max())
    if not largest:
        return 0.0, b""
    scale = largest / _MOST
    return scale, np.rint(numbers / scale).astype(np.int8).tobytes()


def planes(width: int) -> int:
    """Return the number of planes: each has 64 dimensions of all vectors."""
    return -(-width // PLANE_BITS)


def sign_bits(codes: Sequence[bytes], width: int) -> Array:
    """Return the sign bits of codes: a row for each plane, of a number of 64 bits for each code."""
    signs = np.zeros((len(codes), planes(width) * PLANE_BITS // 8), np.uint8)
    matrix = np.frombuffer(b"".join(codes), np.int8).reshape(len(codes), width)
    packed = np.packbits(matrix < 0, axis=1)
    signs[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(signs.view(np.uint64).T)


def query_bits(vector: bytes) -> Array:
    """Return the sign bits of a query's vector, a number of 64 bits for each plane."""
    numbers = np.frombuffer(vector, "<f4")
    signs = np.zeros(planes(len(numbers)) * PLANE_BITS // 8, np.uint8)
    packed = np.packbits(numbers < 0)
    signs[: len(packed)] = packed
    return signs.view(np.uint64)


def estimates(vector: bytes, bits: Array) -> Array:
    """Return estimates of how alike a query's vector and others are, from the sign bits of the others.

    They are products of the query's numbers with the others' signs. For each byte of signs there is a table of the 256
    sums that it can stand for.
    """
    numbers = np.zeros(len(bits) * PLANE_BITS, np.float32)
    given = np.frombuffer(vector, "<f4")
    numbers[: len(given)] = given
    sums = numbers.reshape(-1, 8) @ (1 - 2 * _ALL_BYTES.astype(np.float32)).T
    count = bits.shape[1]
    by_byte = np.ascontiguousarray(bits.view(np.uint8).reshape(len(bits), count, 8).transpose(0, 2, 1))
    found, some = np.zeros(count, np.float32), np.empty(count, np.float32)
    for table, signs in zip(sums, by_byte.reshape(-1, count), strict=True):
        # "clip" alone writes into `out` without a copy; no index is out of range.
        found += np.take(table, signs, out=some, mode="clip")
    return found


def cosines(vector: bytes, codes: Sequence[bytes]) -> Array:
    """Return the cosine of the angle between a query's vector and each code of its width."""
    numbers = np.frombuffer(vector, "<f4").astype(np.float64)
    query = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    matrix = np.frombuffer(b"".join(codes), np.int8).reshape(len(codes), len(query)).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    found: Array = np.clip(matrix @ query / lengths, -1.0, 1.0)
    return found


def distances(vector: bytes, codes: Sequence[bytes]) -> list[float]:
    """Return the cosines with the other sign, rounded: the best one is the smallest."""
    found: list[float] = (-np.round(cosines(vector, codes).astype(np.float64), _DIGITS)).tolist()
    return found


def rounded(vector: bytes) -> bytes:
    """Return a vector in numbers of its code: its cosine with an equal vector's code is 1. Zeros have none."""
    return np.frombuffer(encode(vector)[1], np.int8).astype("<f4").tobytes()
