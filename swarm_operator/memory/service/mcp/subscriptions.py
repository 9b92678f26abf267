"""Tells clients which resources have changed, from the store's change feed.

One task follows the feed as long as anyone listens, and marks, for each listener, the addresses that have changed. A
listener's own task sends them. So nobody waits for a slow client, and what is kept for one is bounded by what it asked
for: an address that changed a thousand times meanwhile is sent once, since the client reads it anew anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from swarm_operator.memory.core.errors import MemoryStoreError, MissedChangesError, OverloadedError, StoreClosedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.mcp import resources

MAX_ADDRESSES: Final = 100
"""Of one listener."""
_PAUSE: Final = 0.05
"""Seconds between two looks at the feed: changes that follow each other closely are told together."""
_RETRY: Final = 1.0

Target = tuple[str | None, str | None]

_log = structlog.get_logger(__name__)


class Listener:
    """One who listens. Use `next` in one task only."""

    def __init__(self, subscriptions: Subscriptions, stands: Callable[[], bool]) -> None:
        self._subscriptions = subscriptions
        self._stands = stands
        self._addresses: dict[str, Target] = {}
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._ended = False

    @property
    def addresses(self) -> list[str]:
        """What it is told of."""
        return list(self._addresses)

    def add(self, uri: str) -> None:
        """Tell it of this address, too. Raises InvalidInputError, OverloadedError."""
        if uri in self._addresses:
            return
        target = resources.target(uri)
        if len(self._addresses) >= MAX_ADDRESSES:
            raise OverloadedError(f"{MAX_ADDRESSES} subscriptions of one client, which is the most")
        self._addresses[uri] = target
        self._subscriptions.wanted(target, uri, self)

    def remove(self, uri: str) -> None:
        """No longer tell it of this one."""
        target = self._addresses.pop(uri, None)
        self._changed.pop(uri, None)
        if target is not None:
            self._subscriptions.unwanted(target, uri, self)

    def mark(self, uri: str) -> None:
        """It has changed."""
        self._changed[uri] = None
        self._news.set()

    def end(self) -> None:
        """Let `next` say that there is nothing more."""
        self._ended = True
        self._news.set()

    async def next(self) -> list[str]:
        """The addresses that have changed since the last call; waits for one.

        [] when it is over: the service stops, or its token no longer gives the rights that it gave.
        """
        await self._news.wait()
        self._news.clear()
        changed, self._changed = list(self._changed), {}
        return [] if self._ended or not self._stands() else changed


class Subscriptions:
    """Who listens to what.

    Args:
        store: whose feed.
        most: listeners at once.
        counted: told how many there are.
        sleep: waits between two looks at the feed.
    """

    def __init__(
        self,
        store: Store,
        *,
        most: int,
        counted: Callable[[int], None],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._store = store
        self._most = most
        self._counted = counted
        self._listeners: set[Listener] = set()
        self._wanted: dict[Target, dict[tuple[Listener, str], None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.contextmanager
    def listening(self, stands: Callable[[], bool]) -> Iterator[Listener]:
        """A listener, for as long as this is entered. As `open`."""
        listener = self.open(stands)
        try:
            yield listener
        finally:
            self.close(listener)

    def open(self, stands: Callable[[], bool]) -> Listener:
        """A listener; end it with `close`.

        Args:
            stands: whether its token still gives the rights that it gave.

        Raises:
            OverloadedError, StoreClosedError: there are too many; the service stops.
        """
        if self._closed:
            raise StoreClosedError("the service is stopping")
        if len(self._listeners) >= self._most:
            raise OverloadedError(f"{self._most} clients are subscribed, which is the most")
        listener = Listener(self, stands)
        self._listeners.add(listener)
        self._counted(len(self._listeners))
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="memory-mcp-feed")
        return listener

    def close(self, listener: Listener) -> None:
        """Forget a listener."""
        if listener not in self._listeners:
            return
        for uri in listener.addresses:
            listener.remove(uri)
        listener.end()
        self._listeners.discard(listener)
        self._counted(len(self._listeners))
        if not self._listeners and self._following is not None:
            self._following.cancel()
            self._following = None

    def end(self) -> None:
        """The service stops: end all."""
        self._closed = True
        for listener in list(self._listeners):
            self.close(listener)

    def wanted(self, target: Target, uri: str, listener: Listener) -> None:
        """A listener wants to know."""
        self._wanted.setdefault(target, {})[listener, uri] = None

    def unwanted(self, target: Target, uri: str, listener: Listener) -> None:
        """It no longer does."""
        wanting = self._wanted.get(target, {})
        wanting.pop((listener, uri), None)
        if not wanting:
            self._wanted.pop(target, None)

    async def _follow(self) -> None:
        since: int | None = None
        while True:
            try:
                async with self._store.watch(since=since) as watch:
                    while True:
                        changes = await watch.next()
                        since = watch.position
                        targets: dict[Target, None] = {}
                        for change in changes:
                            targets[change.namespace, change.key] = None
                            targets[change.namespace, None] = None
                            targets[None, None] = None
                        for target in targets:
                            self._mark(target)
                        await self._sleep(_PAUSE)
            except MissedChangesError as missed:
                # Anything may have changed.
                since = missed.oldest
                for target in list(self._wanted):
                    self._mark(target)
            except StoreClosedError:
                return
            except MemoryStoreError as error:
                _log.warning("the feed can't be read, trying again", reason=str(error))
                await self._sleep(_RETRY)

    def _mark(self, target: Target) -> None:
        for listener, uri in self._wanted.get(target, ()):
            listener.mark(uri)
