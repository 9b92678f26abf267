"""Committed changes, as delivered by watches."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Op(IntEnum):
    """What happened to an entry. Engines store the numbers: they never change."""

    PUT = 0
    DELETE = 1
    EXPIRE = 2
    """The entry had expired. Recorded when it is collected or deleted, some time after it ceased to be found."""


class Change(NamedTuple):
    """A committed change of an entry.

    Attributes:
        seq: position in the order of all changes.
        namespace: namespace of the entry.
        key: key of the entry.
        op: kind of the change, an Op.
        version: version that was written or removed.
        at: time of the change in milliseconds since the Unix epoch.
        updated_by: who wrote the version, see Entry.updated_by; None for other kinds of changes.
    """

    seq: int
    namespace: str
    key: str
    op: int
    version: int
    at: int
    updated_by: str | None = None
