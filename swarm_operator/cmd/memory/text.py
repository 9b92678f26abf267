"""Stored text on its way to a person's terminal: nothing in it may command the terminal."""

from __future__ import annotations

import json
from typing import Any, Final

_CONTROLS: Final = {number: f"\\u{number:04x}" for number in range(0x7F, 0xA0)}
"""DEL and the C1 controls, which JSON allows in strings as they are, and of which some terminals take orders."""


def plain(text: str) -> str:
    """Return the text with each unprintable character (controls, line breaks, marks of direction) as its escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def json_line(document: Any) -> str:
    """Return the document as one line of JSON, without controls of a terminal."""
    return json.dumps(document, ensure_ascii=False).translate(_CONTROLS)
