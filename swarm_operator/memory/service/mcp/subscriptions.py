"""Notifies clients of changed resources, from the store's change feed.

One task follows the feed while there are listeners, and marks the changed URIs of each listener. The listener's own
task sends the URIs, so a slow client blocks no other client. The memory per client is bounded by its subscriptions. A
URI that changes a thousand times in the meantime is sent once, because the client then reads the current resource.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from swarm_operator.memory.core.errors import MemoryStoreError, MissedChangesError, OverloadedError, StoreClosedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.rights import Credential
from swarm_operator.memory.service.mcp import resources
from swarm_operator.memory.service.quotas import Quota

MAX_ADDRESSES: Final = 100
"""Maximum URIs of one listener."""
_PAUSE: Final = 0.05
"""Seconds between two reads of the feed: changes within this time are sent together."""
_RETRY: Final = 1.0
_CHECK_SECONDS: Final = 15.0
"""Seconds between two checks of the token of a listener for which nothing changes."""

Target = tuple[str | None, str | None]

_log = structlog.get_logger(__name__)


class Listener:
    """Subscription of one client to a set of URIs. Call `next` from a single task."""

    def __init__(self, subscriptions: Subscriptions, credential: Credential) -> None:
        self.credential = credential
        self.revoked = False
        """Whether the subscription ended because the permissions of the credential have changed."""
        self._subscriptions = subscriptions
        self._addresses: dict[str, Target] = {}
        self._changed: dict[str, None] = {}
        self._wakeup = asyncio.Event()
        self._ended = False

    @property
    def addresses(self) -> list[str]:
        """Return the subscribed URIs."""
        return list(self._addresses)

    def add(self, uri: str) -> None:
        """Add a URI to the subscription. Raise InvalidInputError, OverloadedError or StoreClosedError."""
        if self._ended:
            raise StoreClosedError("the subscription has ended")
        if uri in self._addresses:
            return
        target = resources.target(uri)
        if len(self._addresses) >= MAX_ADDRESSES:
            raise OverloadedError(f"too many subscriptions of one client (limit: {MAX_ADDRESSES})")
        self._addresses[uri] = target
        self._subscriptions.wanted(target, uri, self)

    def remove(self, uri: str) -> None:
        """Remove a URI from the subscription."""
        target = self._addresses.pop(uri, None)
        self._changed.pop(uri, None)
        if target is not None:
            self._subscriptions.unwanted(target, uri, self)

    def mark(self, uri: str) -> None:
        """Mark a URI as changed."""
        self._changed[uri] = None
        self._wakeup.set()

    def end(self) -> None:
        """End the subscription: `next` returns []."""
        self._ended = True
        self._wakeup.set()

    async def next(self) -> list[str]:
        """Wait for a change and return the URIs that have changed since the last call.

        Return [] when the subscription has ended: the service stops, or the token has expired or lost permissions.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._wakeup.wait()
            woken = self._wakeup.is_set()
            self._wakeup.clear()
            self.revoked = not self.credential.still_valid()
            if self.revoked:
                self._ended = True
            if self._ended:
                return []
            if woken:
                changed, self._changed = list(self._changed), {}
                return changed


class Subscriptions:
    """Subscriptions of all clients.

    Args:
        store: store whose change feed is followed.
        quota: limits the concurrent listeners.
        sleep: waits between two reads of the feed.
    """

    def __init__(
        self,
        store: Store,
        *,
        quota: Quota,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._store = store
        self._quota = quota
        self._listeners: set[Listener] = set()
        self._wanted: dict[Target, dict[tuple[Listener, str], None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    @contextlib.contextmanager
    def listening(self, credential: Credential) -> Iterator[Listener]:
        """Open a listener and close it on exit. Arguments and errors as in `open`."""
        listener = self.open(credential)
        try:
            yield listener
        finally:
            self.close(listener)

    def open(self, credential: Credential) -> Listener:
        """Return a new listener, to be ended with `close`.

        Args:
            credential: credential of the client. The listener ends once its permissions have changed.

        Raises:
            OverloadedError, StoreClosedError: too many listeners; the service stops.
        """
        if self._closed:
            raise StoreClosedError("the service is stopping")
        self._quota.take(credential.principal)
        listener = Listener(self, credential)
        self._listeners.add(listener)
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="memory-mcp-feed")
        return listener

    def close(self, listener: Listener) -> None:
        """End and remove a listener."""
        if listener not in self._listeners:
            return
        for uri in listener.addresses:
            listener.remove(uri)
        listener.end()
        self._listeners.discard(listener)
        self._quota.give_back(listener.credential.principal)
        if not self._listeners and self._following is not None:
            self._following.cancel()
            self._following = None

    def end(self) -> None:
        """End all listeners and reject new ones, because the service stops."""
        self._closed = True
        for listener in list(self._listeners):
            self.close(listener)

    def wanted(self, target: Target, uri: str, listener: Listener) -> None:
        """Register a listener's URI for changes of a target."""
        self._wanted.setdefault(target, {})[listener, uri] = None

    def unwanted(self, target: Target, uri: str, listener: Listener) -> None:
        """Unregister a listener's URI."""
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
                # The discarded changes may concern any target.
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
