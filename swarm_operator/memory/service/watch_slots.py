"""Slots for open watches, shared by all protocols."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import Gauge

from swarm_operator.memory.core.errors import OverloadedError


class WatchSlots:
    """Bounds the watches of all protocols together."""

    def __init__(self, most: int, gauge: Gauge) -> None:
        self._most = most
        self._gauge = gauge
        self._taken = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """A slot, for as long as this is entered. Raises OverloadedError when none is left."""
        if self._taken >= self._most:
            raise OverloadedError(f"{self._most} watches are open, which is the most")
        self._taken += 1
        self._gauge.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.set(self._taken)
