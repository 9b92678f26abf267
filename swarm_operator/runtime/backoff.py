"""Exponential back-off with jitter, as client-go's reflector uses it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from swarm_operator.runtime.clock import Clock, SystemClock


@dataclass(slots=True)
class Backoff:
    """Delays that double up to a cap and start over after a healthy while.

    The defaults are those of client-go's reflector and of kube-rs' `DefaultBackoff`.
    """

    initial: float = 0.8
    """First delay, in seconds, before jitter."""
    cap: float = 30.0
    """Largest delay, in seconds, before jitter."""
    jitter: float = 1.0
    """Each delay is drawn from [delay, delay * (1 + jitter)], and never exceeds `cap`."""
    reset_after: float = 120.0
    """Seconds without a failure after which the next one starts at `initial` again."""
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    _failures: int = 0
    _last: float | None = None

    def next(self) -> float:
        """Return the seconds to wait before the next try, given one more failure now."""
        now = self.clock.monotonic()
        if self._last is not None and now - self._last > self.reset_after:
            self._failures = 0
        # The exponent is bounded so that years of failures do not overflow a float.
        delay = min(self.cap, self.initial * 2.0 ** min(self._failures, 64))
        self._failures += 1
        delay = min(self.cap, delay * (1.0 + self.rng.random() * self.jitter))
        self._last = now + delay
        return delay

    def reset(self) -> None:
        """Start over at `initial`: what failed is known to be well again."""
        self._failures = 0
