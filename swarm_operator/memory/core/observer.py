"""What the store tells whoever measures it. The service counts these in Prometheus; the engine knows no Prometheus."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called on the event loop; must be quick and must not raise."""

    def committed(self, *, requests: int, seconds: float) -> None:
        """A batch of that many requests was committed, in that time."""

    def failed(self, *, code: str, reason: str) -> None:
        """A commit, a checkpoint, a trial write or a garbage collection failed. `code` is an error's code."""

    def recovered(self) -> None:
        """The first write after failures has succeeded."""

    def expired(self, *, entries: int) -> None:
        """That many expired entries were deleted by a step of garbage collection."""

    def collected(self, *, seconds: float) -> None:
        """A garbage collection has ended well, after that time."""


class SilentObserver:
    """Measures nothing."""

    def committed(self, *, requests: int, seconds: float) -> None:
        """Ignore it."""

    def failed(self, *, code: str, reason: str) -> None:
        """Ignore it."""

    def recovered(self) -> None:
        """Ignore it."""

    def expired(self, *, entries: int) -> None:
        """Ignore it."""

    def collected(self, *, seconds: float) -> None:
        """Ignore it."""
