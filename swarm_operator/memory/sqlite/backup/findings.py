"""What a check finds: where, and what is wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
        where: `database`, `schema`, `table NAME`, `namespace NAME` or `entry NAMESPACE KEY`; names are quoted as in
            Python, so that nothing in them looks like anything else.
        what: in words.
    """

    where: str
    what: str


class Findings:
    """Gathers the first so many, and counts the rest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: list[Finding] = []
        self.omitted = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, where: str, what: str) -> None:
        """Take note of one."""
        if len(self._found) < self._most:
            self._found.append(Finding(where, what))
        else:
            self.omitted += 1

    def entry(self, namespace: object, key: object, what: str) -> None:
        """Take note of one of an entry."""
        self.add(f"entry {namespace!r} {key!r}", what)
