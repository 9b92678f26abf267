"""Reflector: keeps a sink synchronized with the API server. It lists the existing objects, then watches for changes.

A state machine after kube-rs' `watcher` and client-go's `reflector`:

    STREAM ──end of initial events──► WATCH, on the same connection
      │ refused or unfinished           ▲ │
      ▼                                 │ │ end of stream: WATCH again, from the last version seen
    LIST ──────────ok───────────────────┘ │
      ▲                                   │
      └── STREAM or LIST ◄── 410, a version that the server does not have yet, silence, a full list long ago

After any other failure the reflector retries in the same state, with backoff. A full list, streamed or not, is
requested in a state at least as new as the last one seen, so the sink never goes back in time. If the server cannot do
that, the newest state is read from etcd. The reasons are in docs/design/reflector.md.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import structlog

from swarm_operator.runtime import errors
from swarm_operator.runtime.backoff import Backoff
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.metrics import Metrics, ReflectorMetrics
from swarm_operator.runtime.resource import Key, Object, Resource, is_newer, key_of

log = structlog.get_logger(__name__)

SHORT_WATCH = 1.0
"""Seconds. No two watches start closer to each other, and one without an event that is shorter counts as a failure
(client-go's VeryShortWatchError)."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Sink(Protocol):
    """Receiver of the objects. Its methods are called in the order of events and must not wait."""

    def replaced(self, objects: list[Object], version: str, *, restored: bool = False) -> None:
        """Take a full list. `restored`: the server went back in time, and the list replaces everything known."""

    def changed(self, obj: Object) -> None:
        """Take an object that was added or modified."""

    def deleted(self, obj: Object) -> None:
        """Take the last state of an object that was deleted."""


class State(Enum):
    """Kind of the reflector's next request."""

    STREAM = "stream"
    """A watch that begins with all that exists (WatchList)."""
    LIST = "list"
    WATCH = "watch"


@dataclass(slots=True)
class _Request:
    """One list or one watch, as far as it has come."""

    started: float
    opened: bool = False
    """Whether the server has answered."""
    received: int = 0
    """Number of events and bookmarks of the current watch."""
    events: int = 0
    """Number of events among `received`: the rest are bookmarks."""
    initial: dict[Key, Object] = field(default_factory=dict)
    """Objects of a streamed list so far."""


@dataclass(slots=True)
class Reflector:
    """See the module's docstring."""

    client: Client
    resource: Resource
    sink: Sink
    namespace: str = ""
    """Empty for all namespaces."""
    label_selector: str = ""
    streaming: bool = True
    """Whether to have full lists streamed. Turned off permanently when the server refuses it."""
    watch_seconds: tuple[int, int] = (300, 600)
    """The server ends each watch after a random time in this range, so that no watch hangs forever (client-go)."""
    idle_seconds: float = 90.0
    """Seconds without an event or a bookmark after which the connection counts as dead. Bookmarks come every minute."""
    initial_seconds: float = 60.0
    """Seconds for a streamed list; after them a plain list is requested."""
    relist_seconds: float = 1800.0
    """Seconds after the last full list. When a watch ends later than that, another full list corrects what a lost event
    left wrong. Half an hour, and up to 10 minutes until the watch ends."""
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    backoff: Backoff = field(default_factory=Backoff)
    metrics: Metrics = field(default_factory=Metrics)
    state: State = field(init=False)
    version: str = ""
    """The last resourceVersion seen: the next watch starts at it, and the next list is at least as new. Empty before
    the first list."""
    newest: bool = False
    """The server could not list from `version`: the next list reads the newest state instead."""
    _unreachable: bool = field(default=False, init=False)
    """Whether the last request got no answer, or a server error."""
    _listed_at: float = field(default=0.0, init=False)
    _request: _Request = field(default_factory=lambda: _Request(0.0), init=False)
    _metrics: ReflectorMetrics = field(init=False)

    def __post_init__(self) -> None:
        self._metrics = ReflectorMetrics(self.metrics, self.resource.plural)
        self._list_next()

    async def run(self) -> None:
        """Run until cancelled. Never return, and raise only errors of the sink."""
        while True:
            await self.step()

    async def step(self) -> None:
        """List once, or watch from a start to an end. Back off after a failure."""
        try:
            if self.state is State.LIST:
                await self._list()
            else:
                await self._watch()
        except errors.ApiError as error:
            if self._cannot_stream(error):
                log.info("the server streams no lists, listing", kind=self.resource.kind, error=error.message)
                self.streaming = False
                self._list_next()
                return
            self._after(error)
            await self._pause(error)

    async def _list(self) -> None:
        request = self._request = _Request(self.clock.monotonic())
        self._metrics.lists.inc()
        objects, version = await self.client.list(
            self.resource,
            namespace=self.namespace,
            label_selector=self.label_selector,
            # Empty is the newest. The first list of a process reads from etcd. "0" (any cached state) could be older
            # than what the process before the restart saw, and old specs would be applied once more.
            resource_version="" if self.newest else self.version,
        )
        for obj in objects:
            obj["metadata"].pop("managedFields", None)
        self._replace(objects, version)
        self._metrics.list_duration.observe(self.clock.monotonic() - request.started)

    async def _watch(self) -> None:
        """Watch once. In STREAM the watch begins with the initial events."""
        request = self._request = _Request(self.clock.monotonic())
        streaming = self.state is State.STREAM
        self._metrics.watches.inc()
        if streaming:
            self._metrics.lists.inc()
        deadline = asyncio.timeout(self.initial_seconds if streaming else None)
        try:
            async with (
                deadline,
                self.client.watch(
                    self.resource,
                    namespace=self.namespace,
                    label_selector=self.label_selector,
                    resource_version="" if self.newest else self.version,
                    timeout_seconds=self.rng.randint(*self.watch_seconds),
                    idle_seconds=self.idle_seconds,
                    send_initial_events=streaming,
                ) as stream,
            ):
                request.opened = True
                async for event in stream:
                    request.received += 1
                    self._handle(event)
                    if streaming and self.state is State.WATCH:
                        self._metrics.list_duration.observe(self.clock.monotonic() - request.started)
                        streaming = False
                        deadline.reschedule(None)
        except TimeoutError as error:
            raise errors.UnreachableError(f"the list was not streamed within {self.initial_seconds:g} s") from error
        finally:
            elapsed = self.clock.monotonic() - request.started
            self._metrics.watch_duration.observe(elapsed)
            self._metrics.items_per_watch.observe(request.events)
            if elapsed < SHORT_WATCH and not request.events:
                self._metrics.short_watches.inc()
        if streaming:
            raise errors.UnreachableError("the stream ended before the list did")
        now = self.clock.monotonic()
        if now - request.started < SHORT_WATCH and not request.events:
            raise errors.UnreachableError("the watch ended at once and without an event")
        if now - self._listed_at >= self.relist_seconds:
            self._list_next()
        if now - request.started < SHORT_WATCH:
            await self.clock.sleep(request.started + SHORT_WATCH - now)

    def _handle(self, event: Any) -> None:
        kind, obj = (event.get("type"), event.get("object")) if isinstance(event, dict) else (None, None)
        if not isinstance(obj, dict):
            raise errors.UnreachableError(f"a watch event of type {kind!r} came without an object")
        if kind == "ERROR":
            raise errors.from_status(int(obj.get("code") or 500), obj)
        metadata = obj.get("metadata") or {}
        version = metadata.get("resourceVersion")
        # Without a version the next watch would start over without a list.
        if not version or not (kind == "BOOKMARK" or metadata.get("name")):
            raise errors.UnreachableError(f"a watch event of type {kind!r} came without a name or a version")
        if kind == "BOOKMARK":
            self._bookmark(version, metadata.get("annotations") or {})
            return
        metadata.pop("managedFields", None)
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            log.warning("unknown watch event skipped", type=kind, kind=self.resource.kind)
            return
        self._request.events += 1
        self._metrics.events.inc()
        if self.state is State.STREAM:
            self._collect(kind, obj)
            return
        if kind == "DELETED":
            self.sink.deleted(obj)
        else:
            self.sink.changed(obj)
        self.version = version

    def _bookmark(self, version: str, annotations: dict[str, str]) -> None:
        if self.state is State.WATCH:
            self.version = version
        elif annotations.get(INITIAL_EVENTS_END) == "true":
            self._replace(list(self._request.initial.values()), version)

    def _collect(self, kind: str, obj: Object) -> None:
        """Store an initial event. Initial events do not advance the version: they have no order."""
        if kind == "DELETED":
            self._request.initial.pop(key_of(obj), None)
        else:
            self._request.initial[key_of(obj)] = obj

    def _replace(self, objects: list[Object], version: str) -> None:
        # The newest state is older than one that was seen: etcd was restored from a backup.
        restored = self.newest and bool(self.version) and is_newer(self.version, version)
        if restored:
            log.warning("the server has gone back in time", kind=self.resource.kind, version=version, seen=self.version)
        self.version, self.newest, self.state = version, False, State.WATCH
        self._request.initial = {}  # the watch lasts for minutes
        self._listed_at = self.clock.monotonic()
        self._metrics.items_per_list.observe(len(objects))
        self.sink.replaced(objects, version, restored=restored)

    def _list_next(self) -> None:
        self.state = State.STREAM if self.streaming else State.LIST

    def _cannot_stream(self, error: errors.ApiError) -> bool:
        """Return whether the server refuses `sendInitialEvents` or, if it is older, `resourceVersionMatch`."""
        return self.state is State.STREAM and isinstance(error, errors.BadRequestError | errors.InvalidError)

    def _after(self, error: errors.ApiError) -> None:
        """Decide the next state."""
        if isinstance(error, errors.GoneError) or error.version_too_large:
            log.info("cannot go on from this version, listing", kind=self.resource.kind, version=self.version)
            # A version that is too old for a watch may still do for a list.
            self.newest = self.newest or self.state is not State.WATCH or error.version_too_large
            self._list_next()
        elif self.state is State.WATCH:
            # A watch from a version that a restored server does not have yet is silent. A list detects that.
            if isinstance(error, errors.SilentError) and not self._request.received:
                self._list_next()
        elif self.state is State.STREAM:
            # A plain list may work when the stream fails. An unreachable server answers neither, and only the plain
            # list may be stale.
            retried = errors.UnreachableError | errors.TooManyRequestsError | errors.UnauthorizedError
            if self._request.opened or not isinstance(error, retried):
                self.state = State.LIST

    async def _pause(self, error: errors.ApiError) -> None:
        self._metrics.restarts.inc()
        if self._unreachable and 400 <= error.status < 500:
            # The server is reachable again. It is not ready yet, or our version is too old: usual after a restart, so
            # no long backoff is needed.
            self.backoff.reset()
        self._unreachable = not self._request.opened and not 400 <= error.status < 500
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
