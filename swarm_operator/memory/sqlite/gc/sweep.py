"""Garbage collection steps of a few milliseconds, run on the writer's thread without the event loop.

Each step has a deadline as well as a row limit, because the cost of deleting a row varies by a factor of a million.
Remaining rows are left for the next step. Only a single large value can exceed the deadline.
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
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.search.index import NO_TAGS
from swarm_operator.memory.sqlite.write.context import WriteContext

_FIND_SECONDS: Final = 0.003
_DELETE_SECONDS: Final = 0.005
_VACUUM_SECONDS: Final = 0.006
_MOST_ROWS: Final = 256
_MOST_BYTES: Final = 1024 * 1024
"""Bytes of values per step: deletion adds each of their pages to the freelist."""
_MOST_TEXT: Final = 256 * 1024
"""Bytes of long texts per step: FTS5 tokenizes each, see search.words."""
_MOST_PAGES: Final = 256

# Without INDEXED BY, SQLite may choose another index. These columns read no overflow pages of the value.
_FIND = """
    SELECT id, namespace, key, size, codec, length(value), version, tags FROM entries INDEXED BY entries_expiry
    WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_DELETE = "DELETE FROM entries WHERE id = ?"
_AUTO_VACUUM: Final = {0: "none", 1: "full", 2: "incremental"}


@dataclass(frozen=True, slots=True)
class Expired:
    """An expired row."""

    row_id: int
    identity: Identity
    size: int
    codec: int
    stored: int
    version: int
    tags_json: str


def find(db: sqlite3.Connection, moment: int) -> list[Expired]:
    """Return some rows expired at `moment` (milliseconds), oldest first; empty if no row has expired."""
    found: list[Expired] = []
    weight = text = 0
    deadline = time.perf_counter() + _FIND_SECONDS
    # Closing the cursor resets the statement: an open statement would hold its snapshot.
    with translated(), contextlib.closing(db.execute(_FIND, (moment, _MOST_ROWS))) as rows:
        for row_id, namespace, key, size, codec, stored, version, tags_json in rows:
            weight += stored
            text += words.long_text(size)
            if found and (weight > _MOST_BYTES or text > _MOST_TEXT or time.perf_counter() > deadline):
                break
            found.append(Expired(row_id, (namespace, key), size, codec, stored, version, tags_json))
    return found


def delete(db: sqlite3.Connection, rows: Sequence[Expired], *, now: int, keep: int) -> list[Change]:
    """Delete rows from the start of the list in one transaction, until the step's deadline. Return the changes.

    The caller must ensure that no write occurred after `find`.
    """
    deadline = time.perf_counter() + _DELETE_SECONDS
    with translated(), write_transaction(db):
        context = WriteContext.begin(db, now)
        for row in rows:
            words.forget(db, row.row_id, row.identity[0], row.size)
            db.execute(_DELETE, (row.row_id,))
            if row.tags_json != NO_TAGS:
                context.tags.append((row.identity, row.tags_json, NO_TAGS))
            context.counts.append((row.identity[0], -1, -row.size))
            context.stored.append((-1, row.codec, row.size, row.stored))
            context.changes.append((*row.identity, Op.EXPIRE, row.version, row.row_id, None))
            context.highest_deleted = max(context.highest_deleted, row.version)
            if time.perf_counter() > deadline:
                break
        return context.finish(keep=keep)


def trim(db: sqlite3.Connection, before: int) -> int:
    """Delete some changes older than `before` (milliseconds). Return the number of deleted changes."""
    with translated(), write_transaction(db):
        return changes.trim(db, before)


def auto_vacuum(db: sqlite3.Connection) -> str:
    """Return how pages are released: "incremental" (by `vacuum`), "full" (at each commit) or "none" (never)."""
    with translated():
        return _AUTO_VACUUM[db.execute("PRAGMA auto_vacuum").fetchone()[0]]


def vacuum(db: sqlite3.Connection) -> tuple[int, int]:
    """Release some empty pages. Return (bytes released, bytes still empty). The next checkpoint truncates the file."""
    deadline = time.perf_counter() + _VACUUM_SECONDS
    with translated():
        page_bytes: int = db.execute("PRAGMA page_size").fetchone()[0]
    with translated(), write_transaction(db):
        before = _pages(db)
        left = _free_pages(db)
        for _ in range(min(left, _MOST_PAGES)):
            # One page per statement: sqlite3 stops the statement after its first row, which is one page.
            db.execute("PRAGMA incremental_vacuum(1)").fetchall()
            if time.perf_counter() > deadline:
                break
        # Compare page counts, not freelist sizes: vacuum also removes pointer map pages.
        after, left = _pages(db), _free_pages(db)
    return (before - after) * page_bytes, left * page_bytes


def _pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    return pages


def _free_pages(db: sqlite3.Connection) -> int:
    pages: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
