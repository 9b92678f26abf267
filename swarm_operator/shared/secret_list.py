"""Format of JSON files of secrets: an object with one list. Errors name the place and never quote the content."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Allowed names of the list's items: at most 63 of a-z, 0-9 and, between them, -."""


class SecretFormatError(ValueError):
    """A file of secrets is invalid. The message names the place and what is allowed, never the content."""


def parse(text: bytes, member: str, *, max_bytes: int, max_items: int) -> list[Any]:
    """Return the list of a file.

    Raises:
        SecretFormatError: the file is not an object with `member`, a list of at most `max_items`.
    """
    if len(text) > max_bytes:
        raise SecretFormatError(f"at most {max_bytes} bytes")
    try:
        document = orjson.loads(text)
    except ValueError:
        raise SecretFormatError("JSON is allowed") from None  # the parser's message may quote the content
    if type(document) is not dict or document.keys() != {member} or type(document[member]) is not list:
        raise SecretFormatError(f'an object with the member "{member}", a list, is allowed')
    items: list[Any] = document[member]
    if len(items) > max_items:
        raise SecretFormatError(f"{member}: at most {max_items}")
    return items
