"""Rate-limited priority work queue of the keys to reconcile.

Guarantees, as of client-go's `workqueue` and controller-runtime's `priorityqueue`:

- A key is in the queue at most once, and is handed to one worker at a time.
- An add is never lost: after an add while the key is processed, the key is handed out again after `done`.
- Of several adds of a waiting key the highest priority and the earliest time win.
- Within a priority, keys come out in the order in which they became ready.
- Failures back off per key, 5 ms doubling to 1000 s, until `forget`.

Everything runs on one event loop; no method but `get` waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.metrics import Metrics, QueueMetrics

LOW_PRIORITY = -100
"""Priority of objects of the first list: later changes come first (controller-runtime `handler.LowPriority`)."""

_BASE_DELAY = 0.005
_MAX_DELAY = 1000.0

K = TypeVar("K")


class ShutDownError(Exception):
    """Raised by `get` when the queue has been shut down."""


@dataclass(slots=True)
class _Entry(Generic[K]):
    key: K
    priority: int
    ready_at: float
    order: int
    added_at: float
    ready: bool = field(default=False)


class WorkQueue(Generic[K]):
    """See the module's docstring.

    Args:
        name: the `name` and `controller` labels of the metrics.
        clock: where the time comes from.
        metrics: counts what the queue does.
    """

    def __init__(self, name: str, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self.name = name
        self._clock = clock or SystemClock()
        self._metrics = QueueMetrics(metrics or Metrics(), name)
        self._entries: dict[K, _Entry[K]] = {}
        # Heaps. They keep outdated entries, which are skipped when popped. The serial number makes every tuple
        # distinct, so entries themselves are never compared.
        self._waiting: list[tuple[float, int, _Entry[K]]] = []
        self._ready: list[tuple[int, int, int, _Entry[K]]] = []
        self._serial = itertools.count()
        self._locked: dict[K, float] = {}
        self._failures: Tally[K] = Tally()
        self._order = itertools.count()
        self._getters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._shut_down = False
        self._depth: Tally[int] = Tally()
        for priority in (0, LOW_PRIORITY):
            self._depth_changed(priority, 0)  # the series are there from the start

    def __len__(self) -> int:
        """Return the number of keys that are ready, without those that wait for their time or are being worked on."""
        return sum(self._depth.values())

    def add(self, key: K, *, priority: int = 0, after: float = 0.0) -> None:
        """Queue a key, at the earliest `after` seconds from now. Ignored after shutdown."""
        if self._shut_down:
            return
        now = self._clock.monotonic()
        ready_at = now + max(0.0, after)
        if after > 0:
            self._metrics.retries.inc()
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(key, priority, ready_at, next(self._order), now)
            self._entries[key] = entry
            self._place(entry, now)
            return
        if entry.ready:
            # It cannot become ready any earlier; a higher priority puts it at the tail of that level.
            if priority > entry.priority:
                self._depth_changed(entry.priority, -1)
                entry.priority, entry.order = priority, next(self._order)
                self._push_ready(entry)
        elif ready_at < entry.ready_at or priority > entry.priority:
            entry.priority = max(priority, entry.priority)
            entry.ready_at = min(ready_at, entry.ready_at)
            self._place(entry, now)

    def add_rate_limited(self, key: K, *, priority: int = 0, at_least: float = 0.0) -> float:
        """Queue a key after its back-off, which this lengthens. Returns the delay in seconds.

        Args:
            key: the key.
            priority: as for `add`.
            at_least: seconds to wait at the least, such as a server's Retry-After.
        """
        delay: float = max(at_least, min(_BASE_DELAY * 2.0 ** min(self._failures[key], 64), _MAX_DELAY))
        self._failures[key] += 1
        self.add(key, priority=priority, after=delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the key's back-off over."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often the key has been rate limited since it was last forgotten."""
        return self._failures[key]

    async def get(self) -> tuple[K, int]:
        """Wait for the next key and lock it. Call `done` when finished with it.

        Returns:
            The key and the priority that it had.

        Raises:
            ShutDownError: the queue is shut down. Keys still queued are dropped, as by controller-runtime.
        """
        while True:
            if self._shut_down:
                raise ShutDownError
            entry = self._pop()
            if entry is not None:
                now = self._clock.monotonic()
                self._locked[entry.key] = now
                self._metrics.queue_duration.observe(now - entry.added_at)
                return entry.key, entry.priority
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # Woken and cancelled at once: the key that we were woken for is another's now.
                if getter.done() and not getter.cancelled():
                    self._wake()
                raise
            finally:
                if getter in self._getters:
                    self._getters.remove(getter)

    def done(self, key: K) -> None:
        """Unlock a key that `get` returned; if it was added since, it may be handed out again."""
        started = self._locked.pop(key, None)
        if started is not None:
            now = self._clock.monotonic()
            self._metrics.work_duration.observe(now - started)
        entry = self._entries.get(key)
        if entry is not None and entry.ready:
            self._offer(entry)

    def shut_down(self) -> None:
        """Stop handing out keys; waiting `get` calls raise ShutDownError."""
        self._shut_down = True
        if self._timer is not None:
            self._timer.cancel()
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    def refresh_metrics(self) -> None:
        """Bring the gauges of work in progress up to date; to be called about twice a second."""
        now = self._clock.monotonic()
        ages = [now - started for started in self._locked.values()]
        self._metrics.unfinished_work.set(sum(ages))
        self._metrics.longest_running.set(max(ages, default=0.0))

    def _place(self, entry: _Entry[K], now: float) -> None:
        if entry.ready_at <= now:
            entry.ready = True
            entry.order = next(self._order)
            entry.added_at = now
            self._metrics.adds.inc()
            self._push_ready(entry)
        else:
            heapq.heappush(self._waiting, (entry.ready_at, next(self._serial), entry))
            self._arm()

    def _push_ready(self, entry: _Entry[K]) -> None:
        self._depth_changed(entry.priority, +1)
        self._offer(entry)

    def _offer(self, entry: _Entry[K]) -> None:
        heapq.heappush(self._ready, (-entry.priority, entry.order, next(self._serial), entry))
        self._wake()

    def _pop(self) -> _Entry[K] | None:
        self._promote()
        while self._ready:
            *_, entry = heapq.heappop(self._ready)
            # A locked key is skipped here and pushed again by `done`. An entry with a raised priority is in the heap
            # twice. It is handed out at the higher priority; `_entries` no longer has the lower one.
            if self._entries.get(entry.key) is entry and entry.key not in self._locked:
                del self._entries[entry.key]
                self._depth_changed(entry.priority, -1)
                return entry
        return None

    def _promote(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            ready_at, _, entry = heapq.heappop(self._waiting)
            if self._entries.get(entry.key) is entry and not entry.ready and entry.ready_at == ready_at:
                self._place(entry, now)
        self._arm()

    def _arm(self) -> None:
        """Wake a worker when the next waiting key is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not self._shut_down:
            delay = max(0.0, self._waiting[0][0] - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._promote()

    def _wake(self) -> None:
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)
                return

    def _depth_changed(self, priority: int, by: int) -> None:
        self._depth[priority] += by
        self._metrics.depth.labels(*self._metrics.labels, str(priority)).set(self._depth[priority])
