"""The manager, with reconciles that last as long as their polls, and with one background task that fails at SIGUSR1.

Run as a program: `breakable.py PART FLAG...`; the part `none` does not fail.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from swarm_operator.cmd import manager
from swarm_operator.controllers.swarmmemorystore import stats
from swarm_operator.runtime import cache, controller, events, leader_election, loop_lag, serving_cert
from swarm_operator.runtime.resource import key_of

PARTS = {
    "informer": (cache.Informer, "run"),
    "event recorder": (events.EventRecorder, "run"),
    "loop monitor": (loop_lag.LoopMonitor, "run"),
    "controller": (controller.Controller, "run"),
    "worker": (controller.Controller, "_work"),
    "gauges": (controller.Controller, "_refresh_gauges"),
    "leader election": (leader_election.LeaderElector, "run"),
    "certificate watcher": (serving_cert.ServingCertificate, "run"),
}


def break_at_signal(part: str) -> None:
    """Let `part` run as always until SIGUSR1 comes, and then fail."""
    owner, name = PARTS[part]
    original = getattr(owner, name)

    async def run(self) -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
        working = asyncio.ensure_future(original(self))
        telling = asyncio.ensure_future(told.wait())
        try:
            await asyncio.wait([working, telling], return_when=asyncio.FIRST_COMPLETED)
            if told.is_set():
                raise LookupError(f"the {part} is broken, as the test wants it")
            await working
        finally:
            working.cancel()
            telling.cancel()
            await asyncio.gather(working, telling, return_exceptions=True)

    setattr(owner, name, run)


def wait_for_polls() -> None:
    """Let each pass over a store wait for the poll that it starts, so that a test can be in the middle of one."""
    original = stats.StatsPoll.run

    async def run(self, r):
        outcome = await original(self, r)
        poll = self.poller._polls.get(key_of(r.obj))
        if poll is None or poll.task is None:
            return outcome
        await asyncio.wait([poll.task])
        return await original(self, r)

    stats.StatsPoll.run = run


if __name__ == "__main__":
    wait_for_polls()
    if sys.argv[1] != "none":
        break_at_signal(sys.argv[1])
    sys.exit(manager.main(sys.argv[2:]))
