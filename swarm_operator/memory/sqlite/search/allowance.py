"""Limits of the work of a step of a search."""

from __future__ import annotations

import time
from typing import Final

_WAITING: Final = 10
"""Maximum wall-clock time of a step, as a multiple of its work: a step also waits for the disk and for other
threads."""


class Allowance:
    """Limit of this thread's work from now on, in seconds of CPU time.

    CPU time measures the cost of a search for other requests. With wall-clock time, a search on a stalled machine would
    find less, and tests of its results would fail.

    Args:
        seconds: maximum CPU time.
        clock: minimum of the limit of wall-clock time.
    """

    def __init__(self, seconds: float, *, clock: float = 0.0) -> None:
        self._work = time.thread_time() + seconds
        self._end = time.perf_counter() + max(_WAITING * seconds, clock)

    @property
    def spent(self) -> bool:
        """Return whether the thread has used its CPU time or its wall-clock time."""
        return time.thread_time() > self._work or time.perf_counter() > self._end
