"""Cursors and page sizes of lists, as query parameters carry them."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from swarm_operator.memory.engine.errors import InvalidInputError

DEFAULT_LIMIT: Final = 100


def encode(name: str | None) -> str | None:
    """A cursor is the last name of the page in URL-safe base64; what it means may change, so clients must not look."""
    return None if name is None else base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def decode(cursor: str | None, field: str = "cursor") -> str | None:
    """The name in a cursor. Raises InvalidInputError."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text or "\0" in text:
        raise InvalidInputError(field, "what the page before gave, as it was given: its next_cursor or cursor")
    return text


def limit(query: dict[str, str]) -> int:
    """The page size; 0, which the store refuses, for what is no number."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    # int() also takes signs, blanks, underscores and other scripts' digits; the store checks the range.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
