"""Kubernetes quantities (`10Gi`, `500M`, `1.5Ti`): parsing and the canonical form, and the types of fields."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Annotated

from pydantic import AfterValidator, Field

from swarm_operator.api.duration import DURATION_PATTERN, parse_duration

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$"

_BINARY = {suffix: 1024**power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {suffix: 1000**power for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_SUFFIXES = {-9: "n", -6: "u", -3: "m", **{3 * power: suffix for power, suffix in enumerate(_DECIMAL)}}
_FACTORS = {**_BINARY, **{suffix: Fraction(10) ** power for power, suffix in _SUFFIXES.items()}}


@lru_cache(maxsize=1024)  # a pass over a store asks a dozen times, and most stores have the same few quantities
def parse_quantity(text: str) -> int:
    """Parse a quantity of bytes; fractions of a byte are rounded up, as the API server does.

    Raises:
        ValueError: it is not a quantity; the message names the allowed forms.
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


def canonical_amount(value: str | float) -> str:
    """Return the form in which the API server stores an amount of a pod's resources, such as 500m for 0.5 of a CPU.

    Amounts are rounded up to a thousandth. In contrast to canonical_quantity a fraction of a byte is kept.

    Raises:
        ValueError: it is no quantity, or has a sign.
    """
    thousandths, suffix = _amount(value)
    whole, rest = divmod(thousandths, 1000)
    # A size below 1 Ki, and one with a fraction of a byte, is written in powers of 1000.
    if suffix.endswith("i") and not rest and whole >= 1024:
        return canonical_quantity(f"{whole // 1024}Ki") if whole % 1024 == 0 else str(whole)
    is_exponent = len(suffix) > 1 and suffix[0] in "eE"
    power = -3
    while thousandths and thousandths % 1000 == 0 and (is_exponent or power < 18):
        thousandths, power = thousandths // 1000, power + 3
    if thousandths == 0 or power == 0:
        return str(thousandths)
    return f"{thousandths}e{power}" if is_exponent else f"{thousandths}{_SUFFIXES[power]}"


def whole_amount(value: str | float) -> int:
    """Return an amount of a pod's resources, such as bytes of memory, rounded up.

    Raises:
        ValueError: it is no quantity, or has a sign.
    """
    return -(-_amount(value)[0] // 1000)


def _amount(value: str | float) -> tuple[int, str]:
    """Return thousandths, rounded up, and suffix of an amount. Raises ValueError: it is no quantity."""
    text = str(value)
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE]?)", text)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{text!r} is not a quantity; allowed: a number with a suffix, such as 500m or 1Gi")
    suffix = match[2]
    is_exponent = len(suffix) > 1 and suffix[0] in "eE"
    return ceil(Fraction(match[1]) * (Fraction(f"1{suffix}") if is_exponent else _FACTORS[suffix]) * 1000), suffix


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
                    # The pattern refuses durations that duration() cannot parse, with a better message than a rule that
                    # fails.
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
