"""Time, passed in, so that tests of waiting do not wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Source of time and of waits in the runtime."""

    def monotonic(self) -> float:
        """Return the seconds since some fixed moment. They never decrease."""

    def now(self) -> datetime:
        """Return the wall clock, in UTC. For what people read; never for measuring a delay."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock and the event loop's timers."""

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return time.monotonic()

    def now(self) -> datetime:
        """See Clock.now."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """See Clock.sleep."""
        await asyncio.sleep(seconds)


def rfc3339(moment: datetime) -> str:
    """Return a metav1.Time: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime) -> str:
    """Return a metav1.MicroTime: UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
