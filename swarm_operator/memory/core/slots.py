"""Slots: limits on the number of concurrent operations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from swarm_operator.memory.core.errors import OverloadedError


class Slots:
    """Limits the number of concurrent operations.

    Args:
        most: number of slots.
        refusal: error message if all slots are taken.
        changed: called with the number of taken slots when it changes.
    """

    def __init__(self, most: int, refusal: str, changed: Callable[[int], object] | None = None) -> None:
        self._most = most
        self._refusal = refusal
        self._changed = changed
        self._taken = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot inside this context. Raise OverloadedError if no slot is free."""
        if self._taken >= self._most:
            raise OverloadedError(self._refusal)
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, number: int) -> None:
        self._taken += number
        if self._changed is not None:
            self._changed(self._taken)


def watch_slots(most: int, changed: Callable[[int], object]) -> Slots:
    """Return the slots of watches, shared by all protocols."""
    return Slots(most, f"{most} watches are open, which is the most", changed)
