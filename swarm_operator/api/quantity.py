"""Kubernetes quantities (`10Gi`, `500M`, `1.5Ti`): parsing and the canonical form, and the types of fields."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from swarm_operator.api.duration import DURATION_PATTERN, parse_duration

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"

_BINARY = {suffix: 1024**power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {suffix: 1000**power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))}


def parse_quantity(text: str) -> int:
    """Parse a quantity of bytes; fractions of a byte are rounded up, as the API server does.

    Raises:
        ValueError: it is not one; the message says what is allowed.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
    factor = {**_BINARY, **_DECIMAL}.get(match[2]) if match else None
    if match is None or factor is None:
        raise ValueError(
            f"{text!r} is not a quantity; allowed: a number with Ki, Mi, Gi, Ti, k, M, G or T, such as 10Gi"
        )
    return int((Decimal(match[1]) * factor).to_integral_value(ROUND_CEILING))


def canonical_quantity(text: str) -> str:
    """Return a quantity as the API server stores it in a built-in type: with the largest suffix without a fraction.

    The family (powers of 1024 or of 1000) of the given suffix stays. Objects that we apply must carry this form, or
    they would look changed for ever.
    """
    value = parse_quantity(text)
    # A number without a suffix of 1024 is read back as one of the family of 1000.
    units = _BINARY if text.endswith("i") and value % 1024 == 0 else _DECIMAL
    for suffix, factor in reversed(units.items()):
        if value and value % factor == 0:
            return f"{value // factor}{suffix}"
    return str(value)


def _check_size(text: str) -> str:
    # The API server keeps quantities of bytes in 63 bits, and caps what is larger.
    if not 0 < parse_quantity(text) < 2**63:
        raise ValueError(f"{text!r} must be greater than zero and less than 8Ei")
    return text


def _check_interval(text: str) -> str:
    if parse_duration(text) < 1:
        raise ValueError(f"{text!r} is too short; allowed: 1s or longer")
    return text


StorageSize = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra={
            "pattern": QUANTITY_PATTERN,
            "x-kubernetes-validations": [
                {
                    "rule": "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))"
                    " && quantity(self).isLessThan(quantity('8Ei'))",
                    "message": "must be a quantity of bytes greater than zero and less than 8Ei, such as 10Gi",
                },
            ],
        },
    ),
    AfterValidator(_check_size),
]
"""Bytes of a volume, as a quantity."""

Interval = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra={
            "pattern": DURATION_PATTERN,
            "x-kubernetes-validations": [
                {
                    # The pattern answers for what duration() cannot parse; a rule that fails to run says less than it.
                    "rule": f"!self.matches(r'{DURATION_PATTERN}') || duration(self) >= duration('1s')",
                    "message": "must be a duration of at least one second, such as 5m or 1h30m",
                },
                {
                    "rule": f"self.matches(r'{DURATION_PATTERN}')",
                    "message": "must be a duration of numbers with h, m, s or ms, such as 5m or 1h30m",
                },
            ],
        },
    ),
    AfterValidator(_check_interval),
]
"""Time between two runs of something, as a Go duration of at least 1 s."""
