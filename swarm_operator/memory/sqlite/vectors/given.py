"""Vectors that clients gave, as numbers again: for exports and restores. What an embedder has made is left out."""

from __future__ import annotations

import sqlite3
import sys
from array import array
from collections.abc import Sequence
from typing import Final

from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.sqlite.vectors.table import CLIENT, slot

_SPACE: Final = "SELECT 1 FROM vector_spaces WHERE namespace = ? AND clients > 0"
_CODE: Final = """
    SELECT v.scale, v.code FROM entries e JOIN vectors v ON v.id = 4 * e.id + ?
    WHERE e.namespace = ? AND e.key = ? AND e.version = ?
"""


def read(db: sqlite3.Connection, entries: Sequence[Entry]) -> list[bytes | None]:
    """Return the vectors that clients gave with these versions of entries, in order; see Store.vectors."""
    names = {entry.namespace for entry in entries}
    spaces = {name for name in names if db.execute(_SPACE, (name,)).fetchone() is not None}
    return [_read(db, entry) if entry.namespace in spaces else None for entry in entries]


def _read(db: sqlite3.Connection, entry: Entry) -> bytes | None:
    row = db.execute(_CODE, (slot(CLIENT), entry.namespace, entry.key, entry.version)).fetchone()
    if row is None:
        return None
    scale, code = row
    numbers = array("f", (scale * number for number in array("b", code)))
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tobytes()
