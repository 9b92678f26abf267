"""Parts of a process that a manager runs, and the phases in which they start.

After controller-runtime's `manager.Runnable` and its groups of runnables. Each part declares its own phase, so it
cannot be added to the wrong one.
"""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Phases start in this order and stop in the reverse one."""

    SERVERS = 1
    """Servers that answer from the start to the end of the process, such as health checks."""
    ELECTION = 2
    ALWAYS = 3
    """Parts that every process runs, leader or not."""
    CACHES = 4
    LEADER = 5
    """Parts that only the leader runs, such as controllers. If there is no election, each process leads."""


class Runnable:
    """A part of the process. The manager calls `start`, `run`, `stop` and `close`, in this order."""

    phase: Phase = Phase.ALWAYS
    task_name: str
    """Name of the part in logs and in the reason for which /healthz fails."""

    async def start(self) -> None:
        """Get ready, before any part of this phase or a later one runs. Raise what makes the start fail."""

    async def run(self) -> None:
        """Run until cancelled. A return ends the process, as an error does."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Finish the work in progress while `run` continues. The manager cancels both after the grace period."""

    async def close(self) -> None:
        """Release the resources of `start` and `run`, which has ended."""
