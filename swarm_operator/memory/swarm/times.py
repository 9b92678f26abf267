"""Times as the seed writes them, JavaScript's `toISOString`, and as it and others have been seen to write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final

_MILLISECONDS_FROM: Final = 10**11
"""A number from here on counts milliseconds (the year 1973), a smaller one seconds (up to the year 5138)."""
_MOST: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the last that the text form can say."""


def to_text(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds: 2026-01-31T12:00:00.250Z."""
    seconds, rest = divmod(min(max(milliseconds, 0), _MOST), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def from_text(value: Any) -> int | None:
    """Milliseconds since the Unix epoch, whatever legacy form it has; None when it is no time.

    Understood are RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC), and numbers of seconds or milliseconds.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not math.isfinite(value) or not 0 <= value <= _MOST:
            return None
        return int(value) if value >= _MILLISECONDS_FROM else int(value * 1000)
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(round(moment.timestamp() * 1000), 0), _MOST)
    except (ValueError, OverflowError):
        return None
