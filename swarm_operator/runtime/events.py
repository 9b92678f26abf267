"""Records events (events.k8s.io/v1) that `kubectl describe` shows, without ever holding up a reconcile.

A repeated event becomes a series: one object with a rising count instead of a new object each time (client-go
`tools/events`). The count is written now and then while it grows, and a last time when it has stopped. An event that
cannot be sent is dropped after a few tries and logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import structlog

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock, rfc3339_micro
from swarm_operator.runtime.errors import ApiError, ConflictError, ForbiddenError, NotFoundError
from swarm_operator.runtime.resource import Object, Resource
from swarm_operator.runtime.runnable import Runnable

log = structlog.get_logger(__name__)

EVENTS = Resource("events.k8s.io", "v1", "Event", "events")

_QUEUE_SIZE = 1000
_SENDERS = 4
_TRIES = 4
_DRAINING = 2.0
"""Seconds by which sending the last events may delay the end of the process."""
_SERIES_ENDS = 360.0
"""Seconds of silence after which the same event starts a new object."""
_SERIES_WRITE = 60.0
"""A series is written at most once in so many seconds, counts in between are kept here; and so often ended ones are
looked for."""
_MAX_SERIES = 4096
"""Series that are kept; of more, those that were silent for longest end early (client-go keeps as many)."""
_MAX_NOTE = 1024  # bytes; what the API allows


@dataclass(slots=True)
class _Series:
    event: Object
    last_seen: float
    observed: datetime
    """Time of the last occurrence, for people."""
    count: int = 1
    written: int = 0
    """The count that the server has."""
    last_write: float = field(default=float("-inf"))
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One request of a series at a time: its first makes the object that the others change."""


class EventRecorder(Runnable):
    """See the module's docstring.

    Args:
        client: where to send events.
        controller: the `reportingController`, such as `swarm-operator`.
        instance: the `reportingInstance`, such as the pod's name.
        clock: where the time comes from.
    """

    task_name = "event recorder"

    def __init__(self, client: Client, *, controller: str, instance: str, clock: Clock | None = None) -> None:
        self._client = client
        self._controller = controller
        self._instance = instance
        self._clock = clock or SystemClock()
        self._series: dict[tuple[str, ...], _Series] = {}
        """By what makes events the same; the one that was silent for longest is first."""
        self._queue: asyncio.Queue[_Series] = asyncio.Queue(_QUEUE_SIZE)

    def event(
        self, regarding: Object, kind: Literal["Normal", "Warning"], reason: str, note: str, *, action: str
    ) -> None:
        """Record an event about an object; returns at once.

        Args:
            regarding: the object, with its uid.
            kind: Normal or Warning.
            reason: why, in one CamelCase word.
            note: for people; cut to 1024 bytes.
            action: what was being done, in one CamelCase word.
        """
        now = self._clock.monotonic()
        metadata = regarding["metadata"]
        identity = (kind, action, reason, metadata["uid"], note)
        self._finish_ended(now)
        series = self._series.pop(identity, None)
        if series:
            self._series[identity] = series
            series.count += 1
            series.last_seen, series.observed = now, self._clock.now()
            if now - series.last_write >= _SERIES_WRITE:
                series.last_write = now
                self._put(series)
            return
        observed = self._clock.now()
        event: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{metadata['name'][:220]}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata.get("namespace") or "default",
            },
            "eventTime": rfc3339_micro(observed),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": kind,
            "note": note.encode()[:_MAX_NOTE].decode(errors="ignore"),
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
        }
        series = _Series(event, last_seen=now, observed=observed)
        self._series[identity] = series
        self._put(series)

    async def run(self) -> None:
        """Send events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(self._send_all())
            group.create_task(self._finish_all())

    async def stop(self) -> None:
        """Wait until all recorded events have been sent or dropped, for a limited time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.drain(), _DRAINING)

    async def _finish_all(self) -> None:
        while True:
            await self._clock.sleep(_SERIES_WRITE)
            self._finish_ended(self._clock.monotonic())

    async def _send_all(self) -> None:
        while True:
            series = await self._queue.get()
            try:
                async with series.sending:
                    await self._send(series)
            finally:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until all recorded events have been sent or dropped."""
        await self._queue.join()

    def _put(self, series: _Series) -> None:
        try:
            self._queue.put_nowait(series)
        except asyncio.QueueFull:
            log.warning("event dropped: too many are waiting", reason=series.event["reason"])

    async def _send(self, series: _Series) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._write(series)
            except ConflictError:
                return  # it exists: an earlier try went through, and its answer was lost
            except ApiError as error:
                # A refused event is not retried, as in client-go: a namespace that is being deleted refuses all events,
                # and the next event must not wait.
                if not error.transient or isinstance(error, ForbiddenError) or attempt == _TRIES:
                    log.warning("event dropped", reason=series.event["reason"], error=error.message)
                    return
                await self._clock.sleep(error.retry_after or 0.5 * 2**attempt)
            else:
                return

    async def _write(self, series: _Series) -> None:
        namespace, name = series.event["metadata"]["namespace"], series.event["metadata"]["name"]
        count = series.count
        if count == series.written:
            return  # it was queued twice before it was sent
        if count == 1:
            await self._client.create(EVENTS, series.event, field_manager=self._controller)
            series.written = count
            return
        seen = {"count": count, "lastObservedTime": rfc3339_micro(series.observed)}
        try:
            await self._client.merge(EVENTS, namespace, name, {"series": seen}, field_manager=self._controller)
        except NotFoundError:  # events live for an hour
            await self._client.create(EVENTS, {**series.event, "series": seen}, field_manager=self._controller)
        series.written = count

    def _finish_ended(self, now: float) -> None:
        """Forget series that have ended or are too many, with a last write of counts that the server does not have."""
        while self._series:
            identity, series = next(iter(self._series.items()))
            if now - series.last_seen <= _SERIES_ENDS and len(self._series) <= _MAX_SERIES:
                return
            del self._series[identity]
            if series.written < series.count > 1:
                self._put(series)
