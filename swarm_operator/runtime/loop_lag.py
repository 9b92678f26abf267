"""Monitor of the event loop: its lag, its number of tasks, and the place of a hang.

The process has one event loop: code that blocks the loop delays lease renewals, watches and probes. The lag is sampled:
sleep for an interval and measure how much longer it took. A thread observes the loop, since a loop that hangs cannot
report that.

/healthz needs no check for a hang. The same loop answers /healthz, so probes time out while the loop hangs and pass
when the loop continues.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field

import structlog

from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.runnable import Runnable

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LoopMonitor(Runnable):
    """Measures the lag of the loop that `run` is called on, and logs the stack of whatever hangs it."""

    task_name = "loop monitor"

    interval: float = 0.25
    """Seconds between two samples."""
    stuck_seconds: float = 5.0
    """Seconds without a sample after which a hang of the loop is logged, once for each hang."""
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    _sampled_at: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    async def run(self) -> None:
        """Run until cancelled."""
        self._sampled_at = time.monotonic()
        self._stopped.clear()
        arguments = (threading.get_ident(),)
        watchdog = threading.Thread(target=self._look_on, args=arguments, name="loop watchdog", daemon=True)
        watchdog.start()
        try:
            while True:
                started = self.clock.monotonic()
                await self.clock.sleep(self.interval)
                self.metrics.loop_lag.observe(max(0.0, self.clock.monotonic() - started - self.interval))
                self.metrics.tasks.set(len(asyncio.all_tasks()))
                self._sampled_at = time.monotonic()
        finally:
            # The thread wakes up at once and ends: joining it would block the loop.
            self._stopped.set()

    def _look_on(self, loop_thread: int) -> None:
        reported = 0.0
        while not self._stopped.wait(self.stuck_seconds / 5):
            sampled_at = self._sampled_at
            silent = time.monotonic() - sampled_at
            if silent < self.stuck_seconds + self.interval or reported == sampled_at:
                continue
            reported = sampled_at
            frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 - the documented way to another thread's stack
            log.error(
                "the event loop hangs",
                seconds=round(silent, 1),
                stack="".join(traceback.format_stack(frame)) if frame else "",
            )
