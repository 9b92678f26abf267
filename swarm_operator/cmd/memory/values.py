"""Values of flags. Each function parses a flag's text, or raises a ValueError with what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from swarm_operator.api.duration import parse_duration

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a whole number in that range."""
    allowed = f"a whole number from {least} to {most}" if most is not None else f"a whole number from {least}"

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least:
            number = int(text)
            if most is None or number <= most:
                return number
        raise ValueError(f"{text!r} is not allowed: {allowed}")

    return parse


def interval(text: str) -> float:
    """Return seconds, from what the CRD allows and from plain seconds."""
    try:
        seconds = float(text) if text.isascii() and text.isdigit() and len(text) <= 10 else parse_duration(text)
    except ValueError:
        seconds = 0.0
    if 1 <= seconds <= 1e10:
        return seconds
    raise ValueError(f"{text[:64]!r} is not allowed: 1s or longer, as 90, 5m or 1h30m")


def cosine(text: str) -> float:
    """Return a number above 0 and up to 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0 < number <= 1:
        return number
    raise ValueError(f"{text[:64]!r} is not allowed: a number above 0 and up to 1")


def switch(text: str) -> bool:
    """Return true or false, also of other words that mean it."""
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"{text!r} is not allowed: true or false")


def port_or_off(text: str) -> int | None:
    """Return a port; None for off."""
    if text == "off":
        return None
    try:
        return whole(0, 65_535)(text)
    except ValueError:
        raise ValueError(f"{text!r} is not allowed: 0 to 65535, or off") from None


def origins(text: str) -> tuple[str, ...]:
    """Return web origins that commas separate."""
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != origin:
            raise ValueError(f"{origin[:64]!r} is not allowed: an origin is https://HOST or http://HOST:PORT")
    return origins


def toolsets(text: str) -> tuple[str, ...]:
    """Return MCP toolsets whose names commas separate."""
    from swarm_operator.memory.core.errors import InvalidInputError  # noqa: PLC0415 - only serve needs it
    from swarm_operator.memory.service.mcp.toolsets import parse  # noqa: PLC0415

    try:
        return parse(text)
    except InvalidInputError as error:
        raise ValueError(f"{text[:64]!r} is not allowed: {error.allowed}") from None


def swarm_id(text: str) -> str:
    """Return a swarm's name."""
    if 1 <= len(text.encode(errors="surrogateescape")) <= 255:
        return text
    raise ValueError(f"{text[:64]!r} is not allowed: 1 to 255 bytes")


def url(text: str) -> str:
    """Return the URL of a service."""
    if text.startswith(("http://", "https://")):
        return text
    raise ValueError(f"{text!r} is not allowed: http://HOST:PORT or https://HOST:PORT")


def json_value(text: str | bytes) -> Any:
    """Return a JSON value."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        shown = text[:64] if isinstance(text, str) else text[:64].decode(errors="replace")
        raise ValueError(f"{shown!r} is not allowed: a JSON value; a text needs its quotes: '\"text\"'") from None


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object."""
    value = json_value(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:64]!r} is not allowed: a JSON object, such as '{{\"a\": 1}}'")  # noqa: TRY004 - a text
    return value
