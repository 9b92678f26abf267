"""Subtrees of the namespace hierarchy: the subtree of `a` contains `a`, `a/b` and `a/b/c`, but not `ab`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PAST_EVERY_TEXT: Final = b""
"""Upper bound of all texts: SQLite sorts BLOBs after TEXT (https://sqlite.org/datatype3.html)."""


def covers(roots: Iterable[str] | None, namespace: str) -> bool:
    """Return True if a namespace is in the subtree of a root. If `roots` is None, return True."""
    return roots is None or any(namespace == root or namespace.startswith(root + "/") for root in roots)


def spans(roots: Iterable[str]) -> list[tuple[str, str]]:
    """Return the half-open name ranges of the roots' subtrees, sorted and without overlaps. "/" sorts before "0"."""
    each = [span for root in set(roots) for span in ((root, root + "\0"), (root + "/", root + "0"))]
    found: list[tuple[str, str]] = []
    for start, end in sorted(each, key=lambda span: span[0].encode()):
        if not found or start.encode() >= found[-1][1].encode():
            found.append((start, end))
    return found


def after_prefix(prefix: str) -> str | bytes:
    """Return the smallest text that is greater than all texts with a prefix, in UTF-8 byte order."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return PAST_EVERY_TEXT
    last = ord(stem[-1]) + 1
    if last == 0xD800:  # UTF-8 has no surrogates
        last = 0xE000
    return stem[:-1] + chr(last)
