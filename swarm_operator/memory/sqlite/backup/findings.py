"""Problems found by backup.verify, with their locations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """A problem of the database.

    Attributes:
        where: `database`, `schema`, `table NAME`, `namespace NAME` or `entry NAMESPACE KEY`. Names are quoted as Python
            strings, so that they are unambiguous.
        what: description of the problem.
    """

    where: str
    what: str


class Findings:
    """Stores the first `most` problems and counts the rest."""

    def __init__(self, most: int) -> None:
        self._max_findings = most
        self._found: list[Finding] = []
        self.omitted = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, where: str, what: str) -> None:
        """Add a problem."""
        if len(self._found) < self._max_findings:
            self._found.append(Finding(where, what))
        else:
            self.omitted += 1

    def entry(self, namespace: object, key: object, what: str) -> None:
        """Add a problem of an entry."""
        self.add(f"entry {namespace!r} {key!r}", what)
