"""Changes: the table that each commit appends to, and the feed that delivers them to watchers in commit order.

A change's number, `seq`, is one more than that of the change before it, over all namespaces and restarts. The table is
trimmed at its old end; its last row is never deleted, since it holds the count. The feed keeps the newest changes in
memory for all watchers together. A watcher is a position: one that falls behind the memory reads the table, one that
falls behind the table gets MissedChangesError. Watchers never block writers.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.errors import MissedChangesError, StoreClosedError
from swarm_operator.memory.core.namespaces import covers

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


_MOST_KEPT: Final = 8192
"""Changes in memory: a third of a second under full load, hours otherwise."""


@dataclass(frozen=True, slots=True)
class _Commit:
    last: int
    changes: Sequence[Change]
    namespaces: frozenset[str]


class Feed:
    """Hands out changes.

    Args:
        read: a page of the table, of the changes after a position.
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
        """Begin where the table ends."""
        self._newest = self._kept_after = (await self.read(2**62)).newest

    @property
    def newest(self) -> int:
        """The position of the last change that was published."""
        return self._newest

    def publish(self, changes: Sequence[Change]) -> None:
        """Changes were committed."""
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
        for name in (None, *namespaces):
            for watch in self._watches.get(name, ()):
                watch.wake()

    def watch(self, namespace: str | None, prefix: str, since: int, within: Sequence[str] | None = None) -> Watch:
        """A watch from that position on; closed by its `close`."""
        watch = Watch(self, namespace, prefix, since, within)
        self._watches.setdefault(namespace, set()).add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """End a watch."""
        others = self._watches.get(watch.namespace, set())
        others.discard(watch)
        if not others:
            self._watches.pop(watch.namespace, None)

    def close(self) -> None:
        """End all watches: they raise StoreClosedError."""
        self.closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def kept(self, since: int, namespace: str | None) -> Iterable[Change] | None:
        """The changes after a position, some of other namespaces among them; None if not all are in memory."""
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
    """One who wants to know. Use `next` again and again, in one task.

    Attributes:
        namespace: only changes there; None: all.
        prefix: only keys that start so.
        within: only changes in these namespaces and those below; None: no such limit.
        position: of the last change that was looked at, wanted or not.
    """

    def __init__(
        self, feed: Feed, namespace: str | None, prefix: str, since: int, within: Sequence[str] | None
    ) -> None:
        self.namespace = namespace
        self.prefix = prefix
        self.within = within
        self.position = since
        self._feed = feed
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be something."""
        self._news.set()

    def close(self) -> None:
        """End the watch."""
        self._feed.forget(self)

    async def next(self, patience: float | None = None) -> list[Change]:
        """The next changes, in order; waits for some.

        Args:
            patience: seconds to wait; then the list is empty. None: for ever.

        Raises:
            MissedChangesError: some are gone already. The position is now the first that can be gone on from.
            StoreClosedError: the feed is closed.
            StorageError: the table can't be read.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while True:
                    self._news.clear()
                    if self._feed.closed:
                        raise StoreClosedError("the store is closing")
                    if changes := await self._take():
                        return changes
                    if self.position >= self._feed.newest:
                        await self._news.wait()
        return []

    async def _take(self) -> list[Change]:
        """Go on by one step: all that is in memory, or a page of the table."""
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
