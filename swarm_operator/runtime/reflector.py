"""Keeps a sink in step with the API server: list, then watch, for ever.

A state machine after kube-rs' `watcher` and client-go's `reflector`:

    LIST ──ok──► WATCH ──end of stream──► WATCH (from the last version seen)
     ▲             │
     └──── 410 ────┘       every other failure: back off, then go on in the same state

Only a 410 makes it list again. The first list and a relist ask the server's cache for a state not older than the last
one seen, so that it never goes back in time; after a 410 it reads through to etcd.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import structlog

from swarm_operator.runtime import errors
from swarm_operator.runtime.backoff import Backoff
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.resource import Object, Resource

log = structlog.get_logger(__name__)

SHORT_WATCH = 1.0
"""A watch without an event that ends within so many seconds counts as a failure (client-go VeryShortWatchError)."""


class Sink(Protocol):
    """Where the objects go. The methods are called in the order of events and must not wait."""

    def replaced(self, objects: list[Object], version: str) -> None:
        """A full list has come."""

    def changed(self, obj: Object) -> None:
        """An object was added or modified."""

    def deleted(self, obj: Object) -> None:
        """An object was deleted; `obj` is its last state."""


class State(Enum):
    """What the next step does."""

    LIST = "list"
    WATCH = "watch"


@dataclass(slots=True)
class Reflector:
    """See the module's docstring."""

    client: Client
    resource: Resource
    sink: Sink
    namespace: str = ""
    """Empty for all namespaces."""
    label_selector: str = ""
    watch_seconds: tuple[int, int] = (300, 600)
    """The server ends each watch after a random time in this range, so that none hangs for ever (client-go)."""
    idle_seconds: float = 90.0
    """Without an event or a bookmark for so long, the connection is taken for dead. Bookmarks come every minute."""
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    backoff: Backoff = field(default_factory=Backoff)
    on_error: Callable[[errors.ApiError], None] = lambda _: None
    """Told of every failure, before backing off."""
    state: State = State.LIST
    version: str = "0"
    """resourceVersion to list from or to watch from: "0" is anything the server has cached, "" is the newest."""

    async def run(self) -> None:
        """Run until cancelled. Never returns and raises nothing but what the sink raises."""
        while True:
            await self.step()

    async def step(self) -> None:
        """One list, or one watch from its start to its end; backs off after a failure."""
        try:
            if self.state is State.LIST:
                await self._list()
            else:
                await self._watch()
        except errors.GoneError as error:
            log.info("version too old, listing again", kind=self.resource.kind, version=self.version)
            # A list from a version that is too old reads the newest state next; a watch from one lists from it first.
            self.version = "" if self.state is State.LIST else self.version
            self.state = State.LIST
            await self._pause(error)
        except errors.ApiError as error:
            await self._pause(error)

    async def _list(self) -> None:
        objects, version = await self.client.list(
            self.resource,
            namespace=self.namespace,
            label_selector=self.label_selector,
            resource_version=self.version,
        )
        for obj in objects:
            obj["metadata"].pop("managedFields", None)
        self.version = version
        self.state = State.WATCH
        self.sink.replaced(objects, version)

    async def _watch(self) -> None:
        started, events = self.clock.monotonic(), 0
        async with self.client.watch(
            self.resource,
            namespace=self.namespace,
            label_selector=self.label_selector,
            resource_version=self.version,
            timeout_seconds=self.rng.randint(*self.watch_seconds),
            idle_seconds=self.idle_seconds,
        ) as stream:
            async for event in stream:
                events += 1
                self._handle(event)
        if not events and self.clock.monotonic() - started < SHORT_WATCH:
            raise errors.UnreachableError("the watch ended at once and without an event")

    def _handle(self, event: Any) -> None:
        kind, obj = (event.get("type"), event.get("object")) if isinstance(event, dict) else (None, None)
        if not isinstance(obj, dict):
            raise errors.UnreachableError(f"a watch event of type {kind!r} came without an object")
        if kind == "ERROR":
            raise errors.from_status(int(obj.get("code") or 500), obj)
        metadata = obj.get("metadata") or {}
        version = metadata.get("resourceVersion")
        # To go on from no version at all would be to start over without a list.
        if not version or not (kind == "BOOKMARK" or metadata.get("name")):
            raise errors.UnreachableError(f"a watch event of type {kind!r} came without a name or a version")
        if kind == "BOOKMARK":
            self.version = version
            return
        metadata.pop("managedFields", None)
        if kind in {"ADDED", "MODIFIED"}:
            self.sink.changed(obj)
        elif kind == "DELETED":
            self.sink.deleted(obj)
        else:
            log.warning("unknown watch event skipped", type=kind, kind=self.resource.kind)
            return
        self.version = version

    async def _pause(self, error: errors.ApiError) -> None:
        self.on_error(error)
        delay = max(self.backoff.next(), error.retry_after or 0.0)
        log.warning(
            "reflector backs off",
            kind=self.resource.kind,
            state=self.state.value,
            seconds=round(delay, 3),
            status=error.status,
            error=error.message,
        )
        await self.clock.sleep(delay)
