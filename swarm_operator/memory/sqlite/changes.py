"""Change log: the `changes` table that each commit appends to, and the feed that delivers changes to watchers in order.

The number of a change, `seq`, increases by one per change, across all namespaces and restarts. The oldest rows are
trimmed; the last row is never deleted, because it holds the counter. The index of words and embedders follow the table,
too (see search.words and vectors.follow). The feed keeps the newest changes in memory,
shared by all watchers. A watcher is a position. A watcher behind the changes in memory reads the table. A watcher
behind the table gets MissedChangesError. Watchers never block writers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.errors import MissedChangesError, StoreClosedError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.sqlite.database.driver import sqlite3

sqlite3.register_adapter(Op, int)  # as in database.driver

PAGE: Final = 500
"""Changes per read, and rows per trim step: about 1 ms."""

# min() and max() in one SELECT would scan the table, https://sqlite.org/optoverview.html.
_BOUNDS = """
    SELECT coalesce((SELECT min(seq) FROM changes), 1), coalesce((SELECT max(seq) FROM changes), 0)
"""
_APPEND = """
    INSERT INTO changes (seq, namespace, key, op, version, at, updated_by, row_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_READ = "SELECT seq, namespace, key, op, version, at, updated_by FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
_OLDEST = "SELECT seq, at FROM changes ORDER BY seq LIMIT ?"
_TRIM = "DELETE FROM changes WHERE seq < ?"
_INDEXED = """
    SELECT min(
        CASE revision WHEN 0 THEN :last ELSE position END, coalesce((SELECT min(position) FROM vector_models), :last)
    ) FROM text_index WHERE id = 1
"""
MAX_HELD: Final = 100_000
"""Maximum number of changes that are kept only for the index of words or an embedder. If one of these lags behind more,
it scans all entries instead."""

ChangeNote: TypeAlias = tuple[str, str, Op, int, int, str | None]
"""namespace, key, op, version, the row ID in `entries`, which the index of words and embedders need, and the author"""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A page of the `changes` table.

    Attributes:
        oldest: the first position that a watch can resume from; 0 if no change was trimmed.
        newest: the position of the last change.
        changes: changes after the requested position, oldest first.
    """

    oldest: int
    newest: int
    changes: Sequence[Change]


def append(db: sqlite3.Connection, notes: Sequence[ChangeNote], *, now: int, keep: int) -> list[Change]:
    """Append changes inside the transaction that made them. Trim old rows if the table has more than `keep` rows.

    At most two old rows are deleted per new row. So a long table shrinks gradually without slowing commits. Changes
    that the index of words or an embedder still needs are kept, up to MAX_HELD.
    """
    if not notes:
        return []
    first, last = db.execute(_BOUNDS).fetchone()
    changes = [Change(last + number, *note[:4], now, note[5]) for number, note in enumerate(notes, start=1)]
    db.executemany(_APPEND, [(*change, note[4]) for change, note in zip(changes, notes, strict=True)])
    last += len(changes)
    excess = last - first + 1 - keep
    if excess > 0:
        db.execute(_TRIM, (min(first + min(excess, 2 * len(changes)), last, _needed(db, last)),))
    return changes


def _needed(db: sqlite3.Connection, last: int) -> int:
    """Return the first change that the index of words or an embedder needs."""
    position: int = db.execute(_INDEXED, {"last": last}).fetchone()[0]
    return max(position + 1, last - MAX_HELD)


def trim(db: sqlite3.Connection, before: int) -> int:
    """Delete up to PAGE changes older than `before` in the caller's transaction. Return the number deleted."""
    oldest = db.execute(_OLDEST, (PAGE + 1,)).fetchall()
    # Keep the last row of the page: it may be the last row of the table.
    old = [seq for seq, at in oldest[:-1] if at < before]
    if not old:
        return 0
    end = min(old[-1] + 1, _needed(db, bounds(db)[1]))
    db.execute(_TRIM, (end,))
    trimmed: int = max(end - old[0], 0)
    return trimmed


def bounds(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the first position to resume from and the position of the last change."""
    first, last = db.execute(_BOUNDS).fetchone()
    return first - 1, last


def read(db: sqlite3.Connection, since: int) -> list[Change]:
    """Return up to PAGE changes after a position."""
    return [Change(*row) for row in db.execute(_READ, (since, PAGE)).fetchall()]


_MOST_KEPT: Final = 8192
"""Maximum number of changes in memory: 0.33 s of changes under full load, hours otherwise."""

_WOKEN: Final = 8
"""Maximum number of watches that one turn of the event loop wakes up. Each takes some 0.2 ms, in which nothing else
runs."""


@dataclass(frozen=True, slots=True)
class _Commit:
    last: int
    changes: Sequence[Change]
    namespaces: frozenset[str]


class Feed:
    """Delivers changes to watches.

    Args:
        read: returns a page of the table with the changes after a position.
    """

    def __init__(self, read: Callable[[int], Awaitable[ChangePage]]) -> None:
        self.read = read
        self.closed = False
        self._newest = 0
        self._commits: deque[_Commit] = deque()
        self._kept = 0
        self._kept_after = 0
        """All changes after this position are in memory."""
        self._watches: dict[str | None, set[Watch]] = {}

    async def start(self) -> None:
        """Start at the end of the table."""
        self._newest = self._kept_after = (await self.read(2**62)).newest

    @property
    def newest(self) -> int:
        """Return the position of the last published change."""
        return self._newest

    def publish(self, changes: Sequence[Change]) -> None:
        """Deliver committed changes."""
        if not changes:
            return
        self._newest = changes[-1].seq
        if not self._watches:
            self._commits.clear()
            self._kept, self._kept_after = 0, self._newest
            return
        namespaces = frozenset(change.namespace for change in changes)
        self._commits.append(_Commit(self._newest, changes, namespaces))
        self._kept += len(changes)
        while self._kept > _MOST_KEPT:
            forgotten = self._commits.popleft()
            self._kept -= len(forgotten.changes)
            self._kept_after = forgotten.last
        self._wake([watch for name in (None, *namespaces) for watch in self._watches.get(name, ())])

    def watch(self, namespace: str | None, prefix: str, since: int, within: Sequence[str] | None = None) -> Watch:
        """Return a watch that starts after a position. The caller must close the watch."""
        watch = Watch(self, namespace, prefix, since, within)
        self._watches.setdefault(namespace, set()).add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Remove a watch from the feed."""
        others = self._watches.get(watch.namespace, set())
        others.discard(watch)
        if not others:
            self._watches.pop(watch.namespace, None)

    def restart(self, position: int) -> None:
        """Continue at the end of another table. Watches before its oldest change get MissedChangesError."""
        self._commits.clear()
        self._kept = 0
        self._newest = self._kept_after = position
        self._wake_all()

    def close(self) -> None:
        """End all watches with StoreClosedError."""
        self.closed = True
        self._wake_all()

    def _wake(self, watches: Sequence[Watch]) -> None:
        """Wake up watches, a few in each turn of the event loop."""
        for watch in watches[:_WOKEN]:
            watch.wake()
        if len(watches) > _WOKEN:
            asyncio.get_running_loop().call_soon(self._wake, watches[_WOKEN:])

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def kept(self, since: int, namespace: str | None) -> Iterable[Change] | None:
        """Return the changes after a position, possibly of other namespaces too; None if not all are in memory."""
        if since < self._kept_after:
            return None
        return (
            change
            for commit in self._commits
            if commit.last > since and (namespace is None or namespace in commit.namespaces)
            for change in commit.changes
            if change.seq > since
        )


class Watch:
    """A subscription to the feed. Call `next` repeatedly from a single task.

    Attributes:
        namespace: deliver only changes in this namespace; None: all namespaces.
        prefix: deliver only changes of keys with this prefix.
        within: deliver only changes in these namespaces and their descendants; None: no restriction.
        position: position of the last examined change, delivered or not.
    """

    def __init__(
        self, feed: Feed, namespace: str | None, prefix: str, since: int, within: Sequence[str] | None
    ) -> None:
        self.namespace = namespace
        self.prefix = prefix
        self.within = within
        self.position = since
        self._feed = feed
        self._wakeup = asyncio.Event()

    def wake(self) -> None:
        """Wake up `next`: new changes may be available."""
        self._wakeup.set()

    def close(self) -> None:
        """End the watch."""
        self._feed.forget(self)

    async def next(self, patience: float | None = None) -> list[Change]:
        """Wait for the next changes and return them in order.

        Args:
            patience: timeout in seconds, after which an empty list is returned. None: no timeout.

        Raises:
            MissedChangesError: some changes were trimmed. `position` is now the first position to resume from.
            StoreClosedError: the feed is closed.
            StorageError: reading the table failed.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while True:
                    self._wakeup.clear()
                    if self._feed.closed:
                        raise StoreClosedError("the store is closing")
                    if changes := await self._take():
                        return changes
                    if self.position >= self._feed.newest:
                        await self._wakeup.wait()
        return []

    async def _take(self) -> list[Change]:
        """Advance by all changes in memory or by a page of the table. Return the matching changes."""
        feed = self._feed
        changes: Iterable[Change] | None = feed.kept(self.position, self.namespace)
        if changes is not None:
            wanted = self._wanted(changes)
            self.position = max(self.position, feed.newest)
            return wanted
        page = await feed.read(self.position)
        if self.position < page.oldest:
            missed = MissedChangesError(self.position, page.oldest)
            self.position = page.oldest
            raise missed
        self.position = page.changes[-1].seq if page.changes else max(self.position, page.newest)
        return self._wanted(page.changes)

    def _wanted(self, changes: Iterable[Change]) -> list[Change]:
        return [
            change
            for change in changes
            if self.namespace in {None, change.namespace}
            and change.key.startswith(self.prefix)
            and covers(self.within, change.namespace)
        ]
