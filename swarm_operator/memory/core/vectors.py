"""Checks and conversions of vectors: float32 numbers, whose direction represents the meaning of an entry or a query.

A checked vector is bytes: its numbers as little-endian float32. This module uses no library for arrays: the command
line and a store without vectors do not load one.
"""

from __future__ import annotations

import binascii
import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError

MAX_WIDTH: Final = 4096
"""Maximum number of dimensions."""
NUMBER_BYTES: Final = 4
"""Bytes of each number of a checked vector."""

_ALLOWED: Final = (
    f"1 to {MAX_WIDTH} finite numbers of float32, not all of them zero: a list, or their bytes in little-endian order "
    "(in JSON: base64)"
)


def check_vector(vector: bytes | Sequence[float], *, field: str = "vector") -> bytes:
    """Return a vector as little-endian float32.

    Args:
        vector: a list or tuple of numbers, or the bytes of little-endian float32.
        field: the field name for errors.

    Raises:
        InvalidInputError: there are no numbers or too many, a number is not finite as float32, or all are zero.
    """
    numbers = _numbers(vector)
    if numbers is None or not 1 <= len(numbers) <= MAX_WIDTH:
        raise InvalidInputError(field, _ALLOWED)
    if not all(map(math.isfinite, numbers)) or not any(numbers):
        raise InvalidInputError(field, _ALLOWED)
    return _little(numbers).tobytes()


def width(vector: bytes) -> int:
    """Return the number of dimensions of a checked vector."""
    return len(vector) // NUMBER_BYTES


def same(one: bytes | None, other: bytes | None) -> bool:
    """Return whether two checked vectors are equal in a store that keeps 8 bits of each number. None: no vector.

    The lengths of the vectors have no effect: a search compares directions.
    """
    if one is None or other is None:
        return one is other
    return one == other or (len(one) == len(other) and _rounded(one) == _rounded(other))


def _rounded(vector: bytes) -> list[int]:
    """Return the numbers of a checked vector as whole numbers up to 127."""
    numbers = _little(array("f", vector))
    scale = max(map(abs, numbers)) / 127
    return [round(number / scale) for number in numbers]


def _numbers(vector: Any) -> array[float] | None:
    """Return the numbers as float32, infinite beyond its range; None for anything that is not a number."""
    if isinstance(vector, bytes | bytearray | memoryview):
        if len(vector) % NUMBER_BYTES:
            return None
        return _little(array("f", bytes(vector)))
    if not isinstance(vector, list | tuple) or len(vector) > MAX_WIDTH:
        return None
    # bool is a subclass of int: `[true, false]` is a mistake, not two numbers.
    if not all(type(number) in {int, float} for number in vector):
        return None
    try:
        return array("f", vector)
    except OverflowError:  # an integer beyond the range of float64
        return None


def _little(numbers: array[float]) -> array[float]:
    """Swap the bytes of numbers between this machine's order and little-endian. Return the numbers."""
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers


def from_json(given: Any, *, field: str = "vector") -> Any:
    """Return a vector of a JSON document as input of `check_vector`: a list of numbers, or the bytes of a base64 text.

    Raises:
        InvalidInputError: a text is not base64.
    """
    if type(given) is not str:
        return given
    try:
        return binascii.a2b_base64(given, strict_mode=True)
    except ValueError:  # binascii.Error is a ValueError, too
        raise InvalidInputError(field, _ALLOWED) from None


def to_json(vector: bytes) -> str:
    """Return a checked vector as base64, which is a third as long as a JSON list of the numbers."""
    return binascii.b2a_base64(vector, newline=False).decode()
