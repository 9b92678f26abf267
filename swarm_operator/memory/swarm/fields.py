"""Validation of record input. Each check returns the value to store, or raises InvalidInputError with the field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError

MAX_ID_BYTES: Final = 512
MAX_WORD_BYTES: Final = 128
"""Size limit of a type, a status or a capability: each can be a tag."""
MAX_ITEMS: Final = 64
"""Length limit of a list of ids or words."""
MAX_DOCUMENT_BYTES: Final = 1024 * 1024
"""Size limit of a record or a result as compact JSON. Larger stored records can still be read and changed."""


def document(field: str, value: Any) -> dict[str, Any]:
    """Return a copy of a JSON object of at most 1 MiB."""
    if not isinstance(value, dict):
        raise InvalidInputError(field, "a JSON object")
    if len(strict_json.encode(field, value)) > MAX_DOCUMENT_BYTES:
        raise InvalidInputError(field, f"at most {MAX_DOCUMENT_BYTES} bytes of JSON")
    return dict(value)


def identifier(field: str, value: Any) -> str:
    """Return an id: 1 to 512 bytes of UTF-8 without NUL."""
    return _text(field, value, MAX_ID_BYTES)


def identifiers(field: str, value: Any) -> list[str]:
    """Return a list of at most 64 ids without duplicates, in the given order."""
    return _items(field, value, "ids", identifier)


def word(field: str, value: Any) -> str:
    """Return a word: 1 to 128 bytes of UTF-8 without NUL."""
    return _text(field, value, MAX_WORD_BYTES)


def words(field: str, value: Any) -> list[str]:
    """Return a list of at most 64 words without duplicates, in the given order."""
    return _items(field, value, "strings", word)


def choice(field: str, value: Any, allowed: Sequence[str]) -> str:
    """Return a value that is one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidInputError(field, f"one of {', '.join(allowed)}")
    return value


def whole(field: str, value: Any, least: int, most: int) -> int:
    """Return an integer from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise InvalidInputError(field, f"a whole number from {least} to {most}")
    return value


def seconds(field: str, value: Any, most: int) -> float:
    """Return a number of seconds greater than 0 and at most `most`."""
    if type(value) not in {int, float} or not 0 < value <= most:
        raise InvalidInputError(field, f"a number of seconds over 0, at most {most}")
    return float(value)


def share(field: str, value: Any, least: float = 0.0) -> float:
    """Return a number from `least` to 1."""
    if type(value) not in {int, float} or not least <= value <= 1:
        raise InvalidInputError(field, f"a number from {least:g} to 1")
    return float(value)


def own(changes: dict[str, Any], names: Sequence[str], known: Mapping[str, Any], hint: str) -> None:
    """Remove read-only members from a caller's changes. The caller may repeat their stored values.

    Raises:
        InvalidInputError: a value differs from the stored value; `hint` says what sets the member.
    """
    for name in names:
        if name in changes and (name not in known or changes.pop(name) != known[name]):
            raise InvalidInputError(name, f"read-only: {hint}")


def check_id(document: dict[str, Any], record_id: str) -> None:
    """Remove the id from a caller's document. Raise InvalidInputError if it is not the record's id."""
    if document.pop("id", None) not in (None, record_id):
        raise InvalidInputError("id", "absent, or the record's own")


def number(document: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """Return a member of a stored document as a number; `default` if the member is not a finite number."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return default
    return float(value)


def _items(field: str, value: Any, what: str, check: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise InvalidInputError(field, f"a list of {what}")
    if len(value) > MAX_ITEMS:
        raise InvalidInputError(field, f"at most {MAX_ITEMS} {what}")
    return list(dict.fromkeys(check(f"{field}[{index}]", item) for index, item in enumerate(value)))


def _text(field: str, value: Any, most: int) -> str:
    allowed = f"a string of 1 to {most} bytes of UTF-8 without NUL"
    if type(value) is not str or not 1 <= len(value) <= most or "\0" in value:
        raise InvalidInputError(field, allowed)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # a lone surrogate
        size = 0
    if not 1 <= size <= most:
        raise InvalidInputError(field, allowed)
    return value
