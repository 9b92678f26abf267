"""What collection does on the writer's thread, in steps of a few milliseconds each. Plain sqlite3, no event loop.

A step stops at a deadline and not only at a count: rows differ by a factor of a million in what they cost to delete.
What is left is the next step's. Only a single value that is large by itself can take longer than its step may.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import index
from swarm_operator.memory.sqlite.write.context import WriteContext

_FIND_SECONDS: Final = 0.003
_DELETE_SECONDS: Final = 0.005
_VACUUM_SECONDS: Final = 0.006
_MOST_ROWS: Final = 256
_MOST_BYTES: Final = 1024 * 1024
"""Of values in one step: each page of them is put on the list of free ones."""
_MOST_TEXT: Final = 256 * 1024
"""Bytes of texts in one step: the full-text index reads each word that it is to forget."""
_MOST_PAGES: Final = 256

# Without the hint SQLite may prefer another index. The head and the blob's length cost no page of the value.
_FIND = """
    SELECT id, namespace, key, size, codec, length(value), version FROM entries INDEXED BY entries_expiry
    WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_TEXT = "SELECT tags, CASE WHEN ? THEN value END, codec, size FROM entries WHERE id = ?"
_DELETE = "DELETE FROM entries WHERE id = ?"
_AUTO_VACUUM: Final = {0: "none", 1: "full", 2: "incremental"}


@dataclass(frozen=True, slots=True)
class Expired:
    """A row whose time is over."""

    row_id: int
    identity: Identity
    size: int
    codec: int
    stored: int
    version: int


def find(db: sqlite3.Connection, moment: int) -> list[Expired]:
    """Some rows that have expired by that moment (milliseconds), the oldest first; empty when there are none."""
    found: list[Expired] = []
    weight = text = 0
    deadline = time.perf_counter() + _FIND_SECONDS
    # Closing the cursor resets the statement: one that stays open would hold its snapshot.
    with translated(), contextlib.closing(db.execute(_FIND, (moment, _MOST_ROWS))) as rows:
        for row_id, namespace, key, size, codec, stored, version in rows:
            weight += stored
            text += min(size, index.MAX_TEXT_BYTES)
            if found and (weight > _MOST_BYTES or text > _MOST_TEXT or time.perf_counter() > deadline):
                break
            found.append(Expired(row_id, (namespace, key), size, codec, stored, version))
    return found


def delete(db: sqlite3.Connection, rows: Sequence[Expired], *, full_text: bool, now: int, keep: int) -> list[Change]:
    """Delete rows in one transaction, from the first on, as many as the step's time allows. Says what changed.

    The caller sees to it that nothing was written since they were found.
    """
    deadline = time.perf_counter() + _DELETE_SECONDS
    with translated(), write_transaction(db):
        context = WriteContext.begin(db, now, full_text=full_text)
        for row in rows:
            tags_json, value, codec, size = db.execute(_TEXT, (full_text, row.row_id)).fetchone()
            text = None if value is None else index.stored_text(value, codec, size)
            db.execute(_DELETE, (row.row_id,))
            context.notes.append(
                index.IndexUpdate(row.row_id, row.identity, index.IndexedFields(tags_json, text), None)
            )
            context.counts.append((row.identity[0], -1, -row.size))
            context.stored.append((-1, row.codec, row.size, row.stored))
            context.changes.append((*row.identity, Op.EXPIRE, row.version))
            context.highest_deleted = max(context.highest_deleted, row.version)
            if time.perf_counter() > deadline:
                break
        return context.finish(keep=keep)


def trim(db: sqlite3.Connection, before: int) -> int:
    """Delete some changes that are older than that moment; says how many."""
    with translated(), write_transaction(db):
        return changes.trim(db, before)


def auto_vacuum(db: sqlite3.Connection) -> str:
    """Whether the file can give pages back: "incremental" it can, "full" SQLite does at each commit, or "none"."""
    with translated():
        return _AUTO_VACUUM[db.execute("PRAGMA auto_vacuum").fetchone()[0]]


def vacuum(db: sqlite3.Connection) -> tuple[int, int]:
    """Give some empty pages back: (bytes given back, bytes still empty). The next checkpoint shortens the file."""
    deadline = time.perf_counter() + _VACUUM_SECONDS
    with translated():
        page_bytes: int = db.execute("PRAGMA page_size").fetchone()[0]
    with translated(), write_transaction(db):
        before = _pages(db)
        left = _free_pages(db)
        for _ in range(min(left, _MOST_PAGES)):
            # One at a time: sqlite3 takes the first of its rows, a page each, for the end of the statement.
            db.execute("PRAGMA incremental_vacuum(1)").fetchall()
            if time.perf_counter() > deadline:
                break
        # Not the difference of the free ones: the map of pages, which incremental vacuum needs, gets smaller, too.
        after, left = _pages(db), _free_pages(db)
    return (before - after) * page_bytes, left * page_bytes


def _pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    return pages


def _free_pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
