"""Controller: watches fill its queue with keys, and workers call its reconciler for them.

The results of a reconcile, as in controller-runtime `pkg/internal/controller`:

    returns Result()                   forget the key's back-off                       result="success"
    returns Result(requeue_after=s)    forget, and again in s seconds                  result="requeue_after"
    raises TerminalError               not again until something changes               result="error"
    raises ApiError                    again after the key's back-off, or Retry-After  result="error"
    raises anything else               the same, and counted as a panic                result="error"

Anything else includes a CancelledError of a worker that was not cancelled: the reconcile awaited a cancelled task.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass
from typing import Protocol

import structlog

from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import Cache, Informer
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.errors import ApiError, TerminalError
from swarm_operator.runtime.metrics import ControllerMetrics, Metrics
from swarm_operator.runtime.resource import Key, Resource
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.runtime.store import Change
from swarm_operator.runtime.workqueue import LOW_PRIORITY, ShutDownError, WorkQueue

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """Next step after a reconcile without an exception."""

    requeue_after: float = 0.0
    """Seconds after which to reconcile again; 0 waits for a change."""


class Reconciler(Protocol):
    """Makes the cluster match what one object asks for."""

    async def reconcile(self, key: Key) -> Result:
        """Bring the cluster one step closer to the spec of the object at `key`, which may no longer exist.

        Called for one key by one worker at a time. It must be correct with a cache that is behind, and make no write
        when everything is as wanted.
        """


class Controller(Runnable):
    """See the module's docstring.

    Args:
        name: unique; the `controller` label of the metrics.
        reconciler: what to run.
        cache: where the watched kinds come from.
        workers: how many keys are reconciled at once.
        reconcile_timeout: seconds after which a reconcile is cancelled and counted as a timeout; None for never.
        clock: where the time comes from.
        metrics: counts reconciles, and what the queue does.
    """

    phase = Phase.LEADER

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        cache: Cache,
        *,
        workers: int = 1,
        reconcile_timeout: float | None = 120.0,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self.task_name = f"controller {name}"
        self._reconciler = reconciler
        self._cache = cache
        self._workers = workers
        self._timeout = reconcile_timeout
        self._clock = clock or SystemClock()
        self._informers: dict[Informer, None] = {}
        self._stopping = asyncio.Event()
        metrics = metrics or Metrics()
        self._metrics = ControllerMetrics(metrics, name, workers=workers)
        self.queue: WorkQueue[Key] = WorkQueue(name, clock=self._clock, metrics=metrics)
        self._idle = asyncio.Event()
        self._idle.set()

    def watch(
        self,
        resource: Resource,
        mapper: handlers.Mapper = handlers.enqueue_self,
        *,
        predicate: handlers.Predicate = handlers.any_change,
    ) -> None:
        """Queue what `mapper` makes of every change of `resource` that `predicate` lets through."""

        def enqueue(change: Change) -> None:
            if predicate(change):
                for key in handlers.keys_of(change, mapper):
                    self.queue.add(key, priority=LOW_PRIORITY if change.initial else 0)

        self.reads(resource)
        for informer in self._cache.add(resource):
            informer.add_handler(enqueue)

    def reads(self, *resources: Resource) -> None:
        """Have workers wait for the first lists of kinds that the reconciler reads, but need not be called for."""
        for resource in resources:
            self._informers.update(dict.fromkeys(self._cache.add(resource)))

    async def run(self) -> None:
        """Reconcile until cancelled or until the queue is shut down.

        Workers start when the cache and all handlers have the first lists of the kinds that this controller watches
        or reads. So no reconcile mistakes an object that is not listed yet for a missing one. Workers do not wait for
        other kinds.
        """
        await self._wait_synced()
        if self._stopping.is_set():
            return
        log.info("starting workers", controller=self.name, workers=self._workers)
        self._idle.clear()
        try:
            async with asyncio.TaskGroup() as group:
                gauges = group.create_task(self._refresh_gauges())
                workers = [group.create_task(self._work()) for _ in range(self._workers)]
                await asyncio.gather(*workers)
                gauges.cancel()
        finally:
            self._idle.set()

    async def stop(self) -> None:
        """Stop the queue and wait for the reconciles in progress; then `run` returns."""
        self._stopping.set()
        self.queue.shut_down()
        await self._idle.wait()

    async def _wait_synced(self) -> None:
        """Wait for the first lists or for `stop`: an unreachable API server sends no list."""

        async def synced() -> None:
            for informer in self._informers:
                await informer.wait_synced()

        waits = [asyncio.ensure_future(wait) for wait in (synced(), self._stopping.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                key, priority = await self.queue.get()
            except ShutDownError:
                return
            try:
                await self._reconcile(key, priority)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key, priority: int) -> None:
        self._metrics.active_workers.inc()
        started = self._clock.monotonic()
        with structlog.contextvars.bound_contextvars(
            controller=self.name, namespace=key.namespace, name=key.name, reconcileID=str(uuid.uuid4())
        ):
            try:
                result = await self._call(key, priority)
            finally:
                self._metrics.active_workers.dec()
                self._metrics.time.observe(self._clock.monotonic() - started)
        self._metrics.total[result].inc()

    async def _call(self, key: Key, priority: int) -> str:
        """Run the reconciler once and queue what follows. Returns the `result` label."""
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                result = await self._reconciler.reconcile(key)
        except TerminalError as error:
            log.error("reconcile failed for good", error=str(error))  # noqa: TRY400 - no bug, so no traceback
            self._metrics.terminal_errors.inc()
            self._metrics.errors.inc()
            return "error"
        except ApiError as error:
            return self._retry(key, priority, error.message, at_least=error.retry_after or 0.0)
        except (Exception, asyncio.CancelledError) as error:
            worker = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and worker and worker.cancelling():
                raise
            if deadline.expired() and isinstance(error, TimeoutError):
                self._metrics.timeouts.inc()
                return self._retry(key, priority, f"reconcile took longer than {self._timeout} s")
            self._metrics.panics.inc()
            log.exception("reconcile raised something unforeseen")
            return self._retry(key, priority, repr(error))
        self.queue.forget(key)
        if result.requeue_after > 0:
            self.queue.add(key, priority=priority, after=result.requeue_after)
            return "requeue_after"
        return "success"

    def _retry(self, key: Key, priority: int, reason: str, *, at_least: float = 0.0) -> str:
        self._metrics.errors.inc()
        delay = self.queue.add_rate_limited(key, priority=priority, at_least=at_least)
        log.warning("reconcile failed, will try again", error=reason, seconds=round(delay, 3))
        return "error"

    async def _refresh_gauges(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                self.queue.refresh_metrics()
                await asyncio.sleep(0.5)
