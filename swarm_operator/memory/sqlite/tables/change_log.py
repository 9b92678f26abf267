"""The table of changes: appended to by each commit, trimmed from its other end, read by watches that fell behind.

A change's number, `seq`, is one more than that of the change before it, over all namespaces and restarts. The last row
is never trimmed: it holds the count.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from swarm_operator.memory.core.changes import Change, Op

PAGE: Final = 500
"""Changes in one read, and rows in one step of trimming: about a millisecond."""

# In one SELECT, min and max together would read the whole table.
_BOUNDS = """
    SELECT coalesce((SELECT min(seq) FROM changes), 1), coalesce((SELECT max(seq) FROM changes), 0)
"""
_APPEND = "INSERT INTO changes (seq, namespace, key, op, version, at) VALUES (?, ?, ?, ?, ?, ?)"
_READ = "SELECT seq, namespace, key, op, version, at FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
_OLDEST = "SELECT seq, at FROM changes ORDER BY seq LIMIT ?"
_TRIM = "DELETE FROM changes WHERE seq < ?"


ChangeNote: TypeAlias = tuple[str, str, Op, int]
"""namespace, key, op, version"""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A part of the table.

    Attributes:
        oldest: the first position that a watch can go on from: 0 while nothing was trimmed.
        newest: the position of the last change.
        changes: some that follow, oldest first.
    """

    oldest: int
    newest: int
    changes: Sequence[Change]


def append(db: sqlite3.Connection, notes: Sequence[ChangeNote], *, now: int, keep: int) -> list[Change]:
    """Append changes inside the transaction that made them. Of more than `keep` rows some of the oldest go.

    They go at twice the pace at which new ones come, so a table that is too long gets shorter, and no commit takes long
    for it.
    """
    if not notes:
        return []
    first, last = db.execute(_BOUNDS).fetchone()
    changes = [Change(last + number, *note, now) for number, note in enumerate(notes, start=1)]
    db.executemany(_APPEND, changes)
    last += len(changes)
    excess = last - first + 1 - keep
    if excess > 0:
        db.execute(_TRIM, (min(first + min(excess, 2 * len(changes)), last),))
    return changes


def trim(db: sqlite3.Connection, before: int) -> int:
    """Delete some of the oldest changes if they are older than that moment; says how many. The caller's transaction."""
    oldest = db.execute(_OLDEST, (PAGE + 1,)).fetchall()
    # The last of the page stays: it may be the last of all.
    old = [seq for seq, at in oldest[:-1] if at < before]
    if old:
        db.execute(_TRIM, (old[-1] + 1,))
    return len(old)


def bounds(db: sqlite3.Connection) -> tuple[int, int]:
    """The first position that can be gone on from, and that of the last change."""
    first, last = db.execute(_BOUNDS).fetchone()
    return first - 1, last


def read(db: sqlite3.Connection, since: int) -> list[Change]:
    """Some changes after that position."""
    return [Change(*row) for row in db.execute(_READ, (since, PAGE)).fetchall()]
