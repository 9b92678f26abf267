"""Page tokens and page sizes of the requests of all protocols. Page tokens are opaque to clients."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.pages import Position
from swarm_operator.memory.core.query import Query

DEFAULT_LIMIT: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSITIONS: Final[dict[str, tuple[type, ...]]] = {
    "key": (str, str),
    "updated": (int, str, int),
    "rank": (float, int),
    "newest": (int,),
}
"""Types of the sort key that follows a plan's name, see Position."""


def encode(name: str | None) -> str | None:
    """Return the cursor for the last name of a page: URL-safe base64; None for None."""
    return None if name is None else _to_base64(name.encode())


def decode(cursor: str | None, field: str = "cursor") -> str | None:
    """Return the name in a cursor. Raise InvalidInputError."""
    if cursor is None:
        return None
    try:
        text = _from_base64(cursor).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text or "\0" in text:
        raise InvalidInputError(field, "what the page before gave, as it was given: its next_cursor or cursor")
    return text


def encode_position(position: Position | None, query: Query) -> str | None:
    """Return the cursor for a search position. The cursor is valid for the same query only."""
    return None if position is None else _to_base64(orjson.dumps([query.fingerprint, *position]))


def decode_position(cursor: str | None, query: Query) -> Position | None:
    """Return the search position in a cursor. Raise InvalidInputError."""
    if cursor is None:
        return None
    try:
        fingerprint, plan, *rest = orjson.loads(_from_base64(cursor))
        good = fingerprint == query.fingerprint and tuple(map(type, rest)) == _POSITIONS[plan]
        good = good and all(abs(each) < 2**63 for each in rest if type(each) is int)
    except (binascii.Error, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise InvalidInputError("cursor", "the next_cursor of the page before, with the same query")
    return [plan, *rest]


def page_size(query: Mapping[str, str], default: int = DEFAULT_LIMIT) -> int:
    """Return the page size of a query string; 0, which the store rejects, if the text is not a number."""
    text = query.get("limit", str(default))
    # int() also accepts signs, blanks, underscores and non-ASCII digits; the store checks the range.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def moment(text: str | None) -> int | None:
    """Return an RFC 3339 time with its time zone in milliseconds since the Unix epoch. Raise InvalidInputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError("updated_since", "a time with its zone as in RFC 3339: 2026-01-31T12:00:00Z")
    # Exact, and independent of the range of the platform's time functions.
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _to_base64(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
