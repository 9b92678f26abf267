"""A committed change, as watches deliver it."""

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
    """An entry that changed.

    Attributes:
        seq: where it is in the order of all changes.
        namespace: of the entry.
        key: of the entry.
        op: what happened.
        version: that was written, or that is gone.
        at: milliseconds since the Unix epoch.
    """

    seq: int
    namespace: str
    key: str
    op: int
    version: int
    at: int
