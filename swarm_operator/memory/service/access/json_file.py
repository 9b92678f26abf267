"""Reads a JSON file of secrets: an object with one list. Errors name the location and never quote the content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import orjson

from swarm_operator.memory.service.errors import BadTokenFileError

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Allowed names of the list's items: at most 63 of a-z, 0-9 and, between them, -."""


def read_list(path: Path, member: str, *, max_bytes: int, max_items: int) -> list[Any]:
    """Return the list in the file, or an empty list if the file does not exist.

    Raises:
        BadTokenFileError: the file is invalid; the message names the location and what is allowed, never the content.
    """
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadTokenFileError(f"{path}: {error.strerror}") from error
    if len(text) > max_bytes:
        raise BadTokenFileError(f"{path}: at most {max_bytes} bytes")
    try:
        document = orjson.loads(text)
    except ValueError:
        raise BadTokenFileError(f"{path}: JSON is allowed") from None  # the parser's message may quote the content
    if type(document) is not dict or document.keys() != {member} or type(document[member]) is not list:
        raise BadTokenFileError(f'{path}: an object with the member "{member}", a list, is allowed')
    items: list[Any] = document[member]
    if len(items) > max_items:
        raise BadTokenFileError(f"{path}: {member}: at most {max_items}")
    return items
