"""Starts everything in order, notices when a part of it ends, and stops everything in order.

Start: HTTP servers, then informers and the event recorder, then the controllers, which wait for the informers and for
this process to be the leader. A process that stands by has its cache and its queues filled. The event loop is monitored
from the first to the last.
Stop: controllers first, with time to finish what they do; then informers; then what is left of the events; then the
lease; then HTTP. When leadership is lost there is no time to finish anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from swarm_operator.runtime import metrics, server
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.delegated_auth import DelegatedAuth
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.health import Checks
from swarm_operator.runtime.leader_election import LeaderElector, LeadershipLostError
from swarm_operator.runtime.loop_lag import LoopMonitor
from swarm_operator.runtime.serving_cert import ServingCertificate

log = structlog.get_logger(__name__)


class TaskEndedError(Exception):
    """A part that should have run for ever has ended: the process must end too, rather than go on without it."""


class Manager:
    """See the module's docstring.

    Args:
        cache: its informers are started here.
        recorder: sends the events.
        controllers: what to run.
        elector: decides whether the controllers run here; None when there is only one process.
        metrics_address: where /metrics is served; None for nowhere.
        metrics_auth: asked who may read /metrics; None lets everybody.
        metrics_certificate: serves /metrics over HTTPS; None is HTTP.
        health_address: where /healthz and /readyz are served; None for nowhere.
        graceful_timeout: seconds that reconciles under way have to end, before they are cancelled.
    """

    def __init__(
        self,
        cache: Cache,
        recorder: EventRecorder,
        controllers: Iterable[Controller],
        *,
        elector: LeaderElector | None = None,
        metrics_address: tuple[str, int] | None = None,
        metrics_auth: DelegatedAuth | None = None,
        metrics_certificate: ServingCertificate | None = None,
        health_address: tuple[str, int] | None = None,
        graceful_timeout: float = 30.0,
    ) -> None:
        self._cache = cache
        self._recorder = recorder
        self._controllers = list(controllers)
        self._elector = elector
        self._graceful_timeout = graceful_timeout
        self._failure: str | None = None
        self.healthz = Checks()
        self.readyz = Checks()
        self.healthz.add("tasks", lambda: self._failure)
        self.readyz.add("informers", self._unsynced)
        self._servers: list[server.Server] = []
        self._certificate = metrics_certificate if metrics_address else None
        if metrics_address:
            app = server.metrics_app(metrics.REGISTRY, auth=metrics_auth)
            context = metrics_certificate.context if metrics_certificate else None
            self._servers.append(server.Server(app, metrics_address, context=context))
        if health_address:
            self._servers.append(server.Server(server.health_app(self.healthz, self.readyz), health_address))

    async def wait_synced(self) -> None:
        """Wait until every informer has its first list."""
        await self._cache.wait_synced()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order.

        Raises:
            TaskEndedError: a part ended by itself; its own error is the cause.
        """
        async with contextlib.AsyncExitStack() as stack:
            for http in self._servers:
                host, port = await http.start()
                stack.push_async_callback(http.stop)
                log.info("serving", host=host, port=port)
            certificate = []
            if self._certificate:
                certificate = [_task("certificate watcher", self._certificate.run())]
                stack.push_async_callback(_cancel, certificate)
            election = []
            if self._elector:
                election = [_task("leader election", self._elector.run())]
                stack.push_async_callback(self._elector.release)
                stack.push_async_callback(_cancel, election)
            monitor = [_task("loop monitor", LoopMonitor().run())]
            stack.push_async_callback(_cancel, monitor)
            recorder = [_task("event recorder", self._recorder.run())]
            stack.push_async_callback(_cancel, recorder)
            stack.push_async_callback(self._drain_events)
            informers = [
                _task(f"informer {informer.resource.plural}", informer.run()) for informer in self._cache.informers
            ]
            stack.push_async_callback(_cancel, informers)
            controllers = [_task(f"controller {c.name}", self._run_when_leading(c)) for c in self._controllers]
            stack.push_async_callback(self._drain, controllers)
            await self._supervise([*certificate, *election, *monitor, *recorder, *informers, *controllers], stop)

    async def _run_when_leading(self, controller: Controller) -> None:
        if self._elector:
            await self._elector.elected.wait()
        await controller.run()

    async def _supervise(self, tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        stopping = _task("stop signal", _wait(stop))
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([stopping])
        for task in done - {stopping}:
            self._failure = f"{task.get_name()} has ended"
            error = None if task.cancelled() else task.exception()
            if isinstance(error, LeadershipLostError):
                self._graceful_timeout = 0.0
            log.error("a part of the manager has ended", task=task.get_name(), exc_info=error)
            raise TaskEndedError(self._failure) from error
        log.info("stopping")

    async def _drain(self, controllers: list[asyncio.Task[None]]) -> None:
        for controller in self._controllers:
            controller.stop()
        working = [task for task, controller in zip(controllers, self._controllers, strict=True) if controller.working]
        if working:
            await asyncio.wait(working, timeout=self._graceful_timeout)
        await _cancel(controllers)

    async def _drain_events(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.drain(), timeout=min(2.0, self._graceful_timeout))

    def _unsynced(self) -> str | None:
        behind = sorted({informer.resource.plural for informer in self._cache.informers if not informer.synced})
        return f"not listed yet: {', '.join(behind)}" if behind else None


def _task(name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
