"""Committed changes, as delivered by watches."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Op(IntEnum):
    """Kind of a change. Engines store the numbers, so a number never changes."""

    PUT = 0
    DELETE = 1
    EXPIRE = 2
    """The entry had expired. Recorded when the entry is collected or deleted, some time after its expiry."""


class Change(NamedTuple):
    """A committed change of an entry.

    Attributes:
        seq: position in the order of all changes.
        namespace: namespace of the entry.
        key: key of the entry.
        op: kind of the change, an Op.
        version: version that was written or removed.
        at: time of the change in milliseconds since the Unix epoch.
        updated_by: author of the version, see Entry.updated_by; None for other kinds of changes.
    """

    seq: int
    namespace: str
    key: str
    op: int
    version: int
    at: int
    updated_by: str | None = None
