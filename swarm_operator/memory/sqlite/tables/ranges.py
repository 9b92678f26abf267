"""Ranges of texts for SQL: of texts with a prefix, and of namespaces with the namespaces below them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PAST_EVERY_TEXT: Final = b""
"""An upper bound for every text: SQLite sorts blobs after texts (https://www.sqlite.org/datatype3.html#sort_order)."""


def spans(roots: Iterable[str]) -> list[tuple[str, str]]:
    """Return the ranges of these namespaces and the namespaces below them: half-open, in order, without overlaps."""
    # A "/" sorts before a "0".
    each = [span for root in set(roots) for span in ((root, root + "\0"), (root + "/", root + "0"))]
    found: list[tuple[str, str]] = []
    for start, end in sorted(each, key=lambda span: span[0].encode()):
        if not found or start.encode() >= found[-1][1].encode():
            found.append((start, end))
    return found


def after_prefix(prefix: str) -> str | bytes:
    """Return the least text that is greater than every text with a prefix, in the order of UTF-8 bytes."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return PAST_EVERY_TEXT
    last = ord(stem[-1]) + 1
    if last == 0xD800:  # the surrogates are not characters of UTF-8
        last = 0xE000
    return stem[:-1] + chr(last)
