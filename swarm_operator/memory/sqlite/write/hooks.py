"""Hooks that the writer calls around its commits and between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from swarm_operator.memory.core.entry import Entry, Identity


class CacheInvalidation(Protocol):
    """Hooks for caches of entries (see read.entries), called on the event loop before and after each commit."""

    def before_commit(self, identities: Sequence[Identity]) -> None:
        """Drop copies of entries that the commit may change."""

    def after_commit(self, states: Iterable[tuple[Identity, Entry | None]]) -> None:
        """Accept the new states of entries after a commit. A failed commit has no states."""


class Follower(Protocol):
    """Follows the changes between batches, on the writer's connection (see search.indexer)."""

    @property
    def due(self) -> bool:
        """Return whether to call `catch_up` before the next batch."""

    async def catch_up(self) -> None:
        """Work until the next batch may be taken. Never raise an error."""

    def start(self, wake: Callable[[], None]) -> None:
        """Take a function to call when `due` may have changed."""

    def stop(self) -> None:
        """Be due only for what should be done before closing."""
