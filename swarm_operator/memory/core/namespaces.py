"""Parts of the hierarchy of namespaces: `a` with all that is below it, which is `a/b` and `a/b/c`, not `ab`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PAST_EVERY_TEXT: Final = b""
"""An upper bound that bounds nothing: bytes sort after every text."""


def covers(roots: Iterable[str] | None, namespace: str) -> bool:
    """Whether a namespace is one of these or below one of them; None is all there are."""
    return roots is None or any(namespace == root or namespace.startswith(root + "/") for root in roots)


def spans(roots: Iterable[str]) -> list[tuple[str, str]]:
    """The half-open ranges of names that hold them, in order, none overlapping another. A "/" sorts before a "0"."""
    each = [span for root in set(roots) for span in ((root, root + "\0"), (root + "/", root + "0"))]
    found: list[tuple[str, str]] = []
    for start, end in sorted(each, key=lambda span: span[0].encode()):
        if not found or start.encode() >= found[-1][1].encode():
            found.append((start, end))
    return found


def after_prefix(prefix: str) -> str | bytes:
    """The least text that is greater than every text with that prefix, in the order of UTF-8 bytes."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return PAST_EVERY_TEXT
    last = ord(stem[-1]) + 1
    if last == 0xD800:  # the surrogates are not characters of UTF-8
        last = 0xE000
    return stem[:-1] + chr(last)
