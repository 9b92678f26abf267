"""Turns: how many stores have their pod replaced at one time, and which one is next.

A store without a pass for a while loses its turn or its place: it may be paused, or its API calls fail. So no store
blocks the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from swarm_operator.runtime.resource import Key

WAIT_INTERVAL: Final = 60.0
"""Seconds after which a waiting store asks again, if its turn has not come before."""
_PATIENCE: Final = 3 * WAIT_INTERVAL
"""Seconds for which a store that does not ask keeps its place."""


@dataclass(slots=True)
class Turns:
    """Gives turns in the order in which they are asked for."""

    most: int
    """Number of turns at one time."""
    enqueue: Callable[[Key], None] = field(default=lambda _: None)
    """Has a store looked at again."""
    _until: dict[Key, float] = field(default_factory=dict)
    """Stores that have a turn, and until when by the monotonic clock, if they do not end it."""
    _waiting: dict[Key, float] = field(default_factory=dict)
    """Stores that wait, the first one first, and when they last asked."""
    _is_seeded: bool = False

    def seed(self, under_way: Callable[[], Iterable[Key]], *, until: float) -> None:
        """Give turns to the stores whose pods an operator before this one has begun to replace; does so once."""
        if not self._is_seeded:
            self._is_seeded = True
            self._until = {**dict.fromkeys(under_way(), until), **self._until}

    def take(self, key: Key, now: float, *, lasts: float) -> bool:
        """Return whether a store has a turn, which then lasts that many seconds from now on, if it does not end it."""
        self._until = {other: until for other, until in self._until.items() if until > now}
        if key not in self._until:
            self._waiting[key] = now
            asking = [other for other, asked in self._waiting.items() if now - asked < _PATIENCE]
            self._waiting = {other: self._waiting[other] for other in asking}
            if asking.index(key) >= self.most - len(self._until):
                return False
            del self._waiting[key]
        self._until[key] = now + lasts
        return True

    def others(self, key: Key) -> list[Key]:
        """Return the stores that have a turn besides this one."""
        return [other for other in self._until if other != key]

    def end(self, key: Key) -> None:
        """End a store's turn, or its waiting for one. The next one is looked at."""
        self._waiting.pop(key, None)
        if self._until.pop(key, None) is not None and self._waiting:
            self.enqueue(next(iter(self._waiting)))
