"""The order in which tasks are handed out: a word, or a number from 0 to 10; the higher goes first."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError

DEFAULT: Final = "medium"
_MOST: Final = 10
_RANKS: Final = {"low": 2, "medium": 5, "normal": 5, "high": 8, "critical": 10}
"""The seed's words. Its hive database has numbers from 1 to 10 with 5 as the default."""
BY_URGENCY: Final = tuple(
    (number, (*(label for label, its_rank in _RANKS.items() if its_rank == number), str(number)))
    for number in range(_MOST, -1, -1)
)
"""Ranks from the highest, each with the tags that such tasks have."""


def check(value: Any) -> str | int:
    """A priority from outside."""
    if isinstance(value, str) and value in _RANKS:
        return value
    if type(value) is int and 0 <= value <= _MOST:
        return value
    raise InvalidInputError("priority", f"one of {', '.join(_RANKS)}, or a whole number from 0 to {_MOST}")


def rank(value: Any) -> int:
    """0 to 10 for a stored priority; what is none counts as medium."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= 4:
            value = int(value)
        else:
            return _RANKS.get(value, _RANKS[DEFAULT])
    return min(max(value, 0), _MOST) if type(value) is int else _RANKS[DEFAULT]
