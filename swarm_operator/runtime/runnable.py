"""What a manager runs, and when: the parts of a process and the phases of its start.

After controller-runtime's `manager.Runnable` and its groups of runnables. A part says its phase itself, so that it
cannot be added to the wrong one.
"""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Phases start in this order and stop in the reverse one."""

    SERVERS = 1
    """What answers from the first moment to the last, such as health checks."""
    ELECTION = 2
    ALWAYS = 3
    """What every process does, whether it leads or stands by."""
    CACHES = 4
    LEADER = 5
    """What only the leader does, such as controllers. Without an election each process leads."""


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
        """Finish what is under way, while `run` goes on; the manager cancels both when the grace is over."""

    async def close(self) -> None:
        """Release what `start` or `run` has taken; `run` has ended."""
