"""Measurement callbacks of the store. The service exports them to Prometheus; the engine does not use Prometheus."""

from __future__ import annotations

from typing import Literal, Protocol

FormerOutcome = Literal["put-back", "kept", "no-room", "dropped"]
"""Fate of the copy of the database from before a change of its schema."""
SearchMode = Literal["conditions", "words"]
"""Source of a search's candidates: the conditions on entries, or the words of a text."""
DuplicateOutcome = Literal["refused", "linked"]
"""Outcome of a write that has a near-duplicate."""


class Observer(Protocol):
    """Receiver of measurements. Called on the event loop: methods must be fast and must not raise."""

    def committed(self, *, requests: int, seconds: float) -> None:
        """Record a committed batch: its number of requests, and its duration."""

    def failed(self, *, code: str, reason: str) -> None:
        """Record a failed commit, checkpoint, trial write or garbage collection. `code` is the code of the error."""

    def recovered(self) -> None:
        """Record the first successful write after failures."""

    def expired(self, *, entries: int) -> None:
        """Record the number of expired entries that a step of garbage collection deleted."""

    def collected(self, *, seconds: float) -> None:
        """Record a successful garbage collection and its duration."""

    def searched(self, mode: SearchMode, *, slices: int) -> None:
        """Record a page of a search: the source of its candidates, and the number of its slices."""

    def duplicate(self, outcome: DuplicateOutcome) -> None:
        """Record a write that has a near-duplicate."""

    def former_database(self, outcome: FormerOutcome) -> None:
        """Record the fate of the copy of the database from before a change of its schema."""


class SilentObserver:
    """Observer that ignores all measurements."""

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

    def searched(self, mode: SearchMode, *, slices: int) -> None:
        """Ignore it."""

    def duplicate(self, outcome: DuplicateOutcome) -> None:
        """Ignore it."""

    def former_database(self, outcome: FormerOutcome) -> None:
        """Ignore it."""
