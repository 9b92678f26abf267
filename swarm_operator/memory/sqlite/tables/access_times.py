"""Last-access times of entries, used to find stale entries. Only reads by key count as accesses.

Accesses are recorded in memory, so a read causes no write. They are written with each garbage collection and when the
store closes; a crash loses the accesses since then. An access does not change the entry's version or timestamps and
creates no change. Lists and searches return access times, including unwritten ones.

A trigger deletes a table row with its entry. A row older than its entry belongs to a former entry with the same rowid
and is ignored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction

_MOST: Final = 10_000
"""Maximum number of entries recorded between two writes, about 250 bytes each. Other accesses are dropped."""
_AT_ONCE: Final = 500
"""Rows per transaction. A transaction blocks other writers for a few milliseconds."""
_WRITE: Final = """
    INSERT INTO accesses (id, at) SELECT id, ? FROM entries WHERE namespace = ? AND key = ?
    ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE excluded.at > at
"""


class AccessTimes:
    """Records access times in memory until they are written."""

    def __init__(self) -> None:
        self._pending: dict[Identity, int] = {}
        self._flushed: dict[Identity, int] = {}
        """Times of the last flush, kept until the next flush, because an in-flight read may not see them in the
        table."""

    def note(self, identity: Identity, now: int) -> None:
        """Record a read of an entry at `now` (milliseconds since the Unix epoch)."""
        pending = self._pending
        if len(pending) < _MOST or identity in pending:
            pending[identity] = now

    def latest(self, entry: Entry) -> Entry:
        """Return the entry with its access time, including an unwritten one."""
        identity = entry.namespace, entry.key
        at = self._pending.get(identity) or self._flushed.get(identity, -1)
        if at < entry.created_at or (entry.accessed_at is not None and entry.accessed_at >= at):
            return entry
        return entry._replace(accessed_at=at)

    def forget(self) -> None:
        """Drop the recorded times: the database was replaced."""
        self._pending, self._flushed = {}, {}

    async def flush(self, run: Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]]) -> None:
        """Write the recorded times in several transactions.

        Args:
            run: runs a function on the writer's connection while no batch is being committed.

        Raises:
            StorageError, StoreClosedError: raised by `run`; times that were not written are dropped.
        """
        self._flushed, self._pending = self._pending, {}
        rows = ((at, *identity) for identity, at in self._flushed.items())
        while page := list(islice(rows, _AT_ONCE)):
            await run(lambda db, page=page: _write(db, page))  # type: ignore[misc]


def _write(db: sqlite3.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    with translated(), write_transaction(db):
        db.executemany(_WRITE, rows)
