"""Task priorities: a word, or a number from 0 to 10. Tasks with a higher priority are claimed first."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError

DEFAULT: Final = "medium"
_MAX_RANK: Final = 10
_RANKS: Final = {"low": 2, "medium": 5, "normal": 5, "high": 8, "critical": 10}
"""Ranks of the seed's words. The seed's hive database uses numbers from 1 to 10 with 5 as the default."""
BY_URGENCY: Final = tuple(
    (number, (*(label for label, its_rank in _RANKS.items() if its_rank == number), str(number)))
    for number in range(_MAX_RANK, -1, -1)
)
"""Ranks in descending order, with the tags of their tasks."""


def check(value: Any) -> str | int:
    """Return a priority given by a caller. Raise InvalidInputError if it is invalid."""
    if isinstance(value, str) and value in _RANKS:
        return value
    if type(value) is int and 0 <= value <= _MAX_RANK:
        return value
    raise InvalidInputError("priority", f"one of {', '.join(_RANKS)}, or a whole number from 0 to {_MAX_RANK}")


def rank(value: Any) -> int:
    """Return the rank of a stored priority, 0 to 10. Invalid priorities have the rank of medium."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= 4:
            value = int(value)
        else:
            return _RANKS.get(value, _RANKS[DEFAULT])
    return min(max(value, 0), _MAX_RANK) if type(value) is int else _RANKS[DEFAULT]
