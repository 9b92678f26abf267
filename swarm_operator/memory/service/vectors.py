"""JSON schemas of vectors and near-duplicates."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.core.duplicates import DEFAULT_THRESHOLD
from swarm_operator.memory.core.vectors import MAX_WIDTH
from swarm_operator.memory.service.json_schema import Schema, array, number

NUMBERS: Final = array(number(), "Finite numbers, not all of them zero.", least=1, most=MAX_WIDTH)
VECTOR: Final[Schema] = {
    "description": "One number for each dimension, or base64 of the numbers as little-endian float32.",
    "oneOf": [NUMBERS, {"type": "string", "contentEncoding": "base64"}, {"type": "null"}],
}
THRESHOLD: Final[Schema] = {
    **number("Least cosine of a near-duplicate; only with refuse or link.", most=1, default=DEFAULT_THRESHOLD),
    "exclusiveMinimum": 0,
}
