"""Conversion of times: written like the seed's `toISOString` (JavaScript), read in known legacy formats."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime
from typing import Any, Final

_MILLISECONDS_FROM: Final = 10**11
"""Numbers of at least this value are milliseconds (from 1973), smaller numbers are seconds (up to the year 5138)."""
_MAX_MILLISECONDS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the maximum of the text format."""


@functools.lru_cache(maxsize=256)  # a batch has one time, and a new entry has two equal times
def to_text(milliseconds: int) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds: 2026-01-31T12:00:00.250Z."""
    seconds, rest = divmod(min(max(milliseconds, 0), _MAX_MILLISECONDS), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:03}Z"


def from_text(value: Any) -> int | None:
    """Return a time as milliseconds since the Unix epoch; None if the value is not a valid time.

    Accepted formats: RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), and numbers of seconds or milliseconds.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not math.isfinite(value) or not 0 <= value <= _MAX_MILLISECONDS:
            return None
        return int(value) if value >= _MILLISECONDS_FROM else int(value * 1000)
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(round(moment.timestamp() * 1000), 0), _MAX_MILLISECONDS)
    except (ValueError, OverflowError):
        return None
