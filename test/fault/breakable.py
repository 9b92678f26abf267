"""The manager, with one background task that fails at SIGUSR1. Run as a program: `breakable.py PART FLAG...`."""

from __future__ import annotations

import asyncio
import signal
import sys

from swarm_operator.cmd import manager
from swarm_operator.runtime import cache, controller, events, leader_election, loop_lag, serving_cert

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


if __name__ == "__main__":
    break_at_signal(sys.argv[1])
    sys.exit(manager.main(sys.argv[2:]))
