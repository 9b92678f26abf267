"""When entries were last read by their keys: for people and programs that look for what nobody wants any more.

A read must not cost a write. So accesses are noted in memory and written together, with each garbage collection and
when the store closes: a crash loses those since. They are no part of an entry: no version, no change and no time of
its own comes from them. Lists and searches show them, those in memory included, and do not count as accesses.

The table's rows go with their entries, by a trigger. One that is older than its entry belonged to another one of the
same number, and is not shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction

_MOST: Final = 10_000
"""Entries that are noted between two writes; accesses of others are not. Each takes some 250 bytes."""
_AT_ONCE: Final = 500
"""Rows of one transaction: a few milliseconds, for which other writers wait."""
_WRITE: Final = """
    INSERT INTO accesses (id, at) SELECT id, ? FROM entries WHERE namespace = ? AND key = ?
    ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE excluded.at > at
"""


class AccessTimes:
    """Notes accesses until they are written."""

    def __init__(self) -> None:
        self._pending: dict[Identity, int] = {}

    def note(self, identity: Identity, now: int) -> None:
        """An entry was read."""
        pending = self._pending
        if len(pending) < _MOST or identity in pending:
            pending[identity] = now

    def latest(self, entry: Entry) -> Entry:
        """The entry, with what is noted and not yet written."""
        at = self._pending.get((entry.namespace, entry.key), -1)
        if at < entry.created_at or (entry.accessed_at is not None and entry.accessed_at >= at):
            return entry
        return entry._replace(accessed_at=at)

    async def flush(self, run: Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]]) -> None:
        """Write the noted times in several transactions.

        Args:
            run: runs a function on the writer's connection while no batch is being committed.

        Raises:
            StorageError, StoreClosedError: raised by `run`; times that were not written are dropped.
        """
        pending, self._pending = self._pending, {}
        rows = ((at, *identity) for identity, at in pending.items())
        while page := list(islice(rows, _AT_ONCE)):
            await run(lambda db, page=page: _write(db, page))  # type: ignore[misc]


def _write(db: sqlite3.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    with translated(), write_transaction(db):
        db.executemany(_WRITE, rows)
