"""The pause of a caller whose large messages are refused.

The package grpc copies a whole message on the event loop before the server can see its size. A message of 4 MiB takes
some 8 ms of the processor, and the event loop serves no other request meanwhile. A refusal comes too late to prevent
that, so the next message is read later.
"""

from __future__ import annotations

import asyncio
from typing import Final

from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service.settings import MIB

BYTES_PER_SECOND: Final = 2 * MIB
"""Maximum bytes of refused messages that are read from one caller in a second. They take 4 ms of the event loop: fewer
than one request in a hundred of others waits for them."""


class Pause:
    """The time until which no message of a caller is read."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds that are left."""
        # Most callers have never had a pause, and need no look at the clock.
        return max(self._ends - asyncio.get_running_loop().time(), 0.0) if self._ends else 0.0

    def extend(self, size: int) -> None:
        """Extend the pause by what a refused message costs. Small ones, as mistakes are, cost nothing."""
        if size > LARGE_BYTES:
            now = asyncio.get_running_loop().time()
            self._ends = max(self._ends, now) + size / BYTES_PER_SECOND
