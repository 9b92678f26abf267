"""What the store tells whoever measures it. The service counts these in Prometheus; the engine knows no Prometheus."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Observer", "SilentObserver"]


class Observer(Protocol):
    """Called on the event loop; must be quick and must not raise."""

    def committed(self, *, requests: int, seconds: float) -> None:
        """A batch of that many requests was committed, in that time."""

    def failed(self, *, code: str, reason: str) -> None:
        """A commit, a checkpoint or a trial write failed. `code` is an error's code."""

    def recovered(self) -> None:
        """The first write after failures has succeeded."""


class SilentObserver:
    """Measures nothing."""

    def committed(self, *, requests: int, seconds: float) -> None:
        """Ignore it."""

    def failed(self, *, code: str, reason: str) -> None:
        """Ignore it."""

    def recovered(self) -> None:
        """Ignore it."""
