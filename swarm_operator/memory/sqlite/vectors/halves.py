"""Runs a computation over arrays on two threads: numpy does large operations without Python's lock.

One thread beside the caller's serves all stores of the process.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

Compute: TypeAlias = Callable[[int, int], None]
"""Computes the items from a start to an end."""
Run: TypeAlias = Callable[[Compute, int], None]
"""Computes so many items."""

_LEAST: Final = 4096
"""Items for which another thread is worth its start."""
_HELPER: Final = ThreadPoolExecutor(1, thread_name_prefix="memory-vectors")


def at_once(compute: Compute, count: int) -> None:
    """Compute so many items on this thread."""
    compute(0, count)


def in_halves(compute: Compute, count: int) -> None:
    """Compute half of so many items on this thread, and half on the other one; few of them on this one."""
    middle = count // 2 if count >= _LEAST else count
    second = _HELPER.submit(compute, middle, count) if middle < count else None
    try:
        compute(0, middle)
    finally:
        if second is not None:
            second.result()
