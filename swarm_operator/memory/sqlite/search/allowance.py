"""Time that a step of a search may take."""

from __future__ import annotations

import time
from typing import Final

_WAITING: Final = 10
"""Multiple of the work that a step may take by the clock: it also waits for the disk, and for other threads."""


class Allowance:
    """Work of this thread from now on, in seconds of the processor.

    Time of the processor says how much a search costs others. By the clock a search would find less on a machine that
    stalls, and tests of what it finds would fail there.

    Args:
        seconds: the work.
        clock: least seconds by the clock.
    """

    def __init__(self, seconds: float, *, clock: float = 0.0) -> None:
        self._work = time.thread_time() + seconds
        self._end = time.perf_counter() + max(_WAITING * seconds, clock)

    @property
    def spent(self) -> bool:
        """Return whether the thread has done more work, or has waited long."""
        return time.thread_time() > self._work or time.perf_counter() > self._end
