"""The change feed: who wants to know is told what was committed, in the order of the commits.

Each commit appends its changes to the table `changes`, in its own transaction (see changes), and hands them to the
feed, which keeps the last ones in memory for all watchers together. A watcher is no more than a position: one that
falls behind what is in memory reads the table, one that falls behind the table is told so. Nobody waits for a watcher,
and nothing is kept for one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.errors import MissedChangesError, StoreClosedError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.sqlite.tables.change_log import ChangePage

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
