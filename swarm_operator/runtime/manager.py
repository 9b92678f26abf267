"""Manager: starts the parts of a process phase by phase, notices when one ends, and stops all in reverse order.

A standby process has its cache and its queues filled: only parts of the last phase wait for leadership. At a stop each
phase has time to finish its work before the phase that it relies on stops. When leadership is lost, work in progress is
cancelled at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.health import Checks
from swarm_operator.runtime.leader_election import LeaderElector, LeadershipLostError
from swarm_operator.runtime.runnable import Phase, Runnable

log = structlog.get_logger(__name__)


class TaskEndedError(Exception):
    """A part that should run until the stop has ended. The process must end too, rather than continue without it."""


class Manager:
    """See the module's docstring.

    Args:
        cache: its informers run here.
        elector: decides whether parts of the phase LEADER run here; None when there is only one process.
        graceful_timeout: seconds that each phase has to finish its work, before it is cancelled.
    """

    def __init__(self, cache: Cache, *, elector: LeaderElector | None = None, graceful_timeout: float = 30.0) -> None:
        self.cache = cache
        self._elector = elector
        self._graceful_timeout = graceful_timeout
        self._failure: str | None = None
        self.runnables: list[Runnable] = [elector] if elector else []
        self.healthz = Checks()
        self.readyz = Checks()
        self.healthz.add("tasks", lambda: self._failure)
        self.readyz.add("informers", self._unsynced)

    def add(self, *runnables: Runnable) -> None:
        """Run further parts. Call this before `run`."""
        self.runnables.extend(runnables)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order.

        Raises:
            TaskEndedError: a part ended unexpectedly; its own error is the cause.
        """
        parts = [*self.runnables, *self.cache.informers]
        tasks: list[asyncio.Task[None]] = []
        async with contextlib.AsyncExitStack() as stack:
            for phase in Phase:
                of_phase = [part for part in parts if part.phase is phase]
                for part in of_phase:
                    await part.start()
                    stack.push_async_callback(part.close)
                started = [_task(part.task_name, self._run(part)) for part in of_phase]
                stack.push_async_callback(self._stop, of_phase, started)
                tasks += started
            await self._supervise(tasks, stop)

    async def _run(self, part: Runnable) -> None:
        if self._elector and part.phase is Phase.LEADER:
            await self._elector.elected.wait()
        await part.run()

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

    async def _stop(self, parts: Iterable[Runnable], tasks: list[asyncio.Task[None]]) -> None:
        """Let the parts of one phase finish their work, then cancel them."""
        stops = [_task(f"stop of {part.task_name}", part.stop()) for part in parts]
        try:
            if stops:
                await asyncio.wait(stops, timeout=self._graceful_timeout)
        finally:
            await _cancel([*stops, *tasks])

    def _unsynced(self) -> str | None:
        behind = sorted({informer.resource.plural for informer in self.cache.informers if not informer.synced})
        return f"not listed yet: {', '.join(behind)}" if behind else None


def _task(name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine, name=name)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
