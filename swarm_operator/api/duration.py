"""Go durations (`5m`, `1h30m`). The memory's command line parses them, too, and must not wait for pydantic's import."""

from __future__ import annotations

import re

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Parse a Go duration into seconds.

    Raises:
        ValueError: it is not a duration; the message names the allowed forms.
    """
    if not re.fullmatch(DURATION_PATTERN.strip("^$"), text):
        raise ValueError(f"{text!r} is not a duration; allowed: numbers with h, m, s or ms, such as 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|s|m|h)", text))
