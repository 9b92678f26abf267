"""The contract of a store: what a caller may ask for, whatever engine holds the entries.

Guarantees:
    A write that returned is durable. A read that starts after it sees it. Conditions (create only, if version) are
    decided atomically with their write. An expired entry is never returned or counted. Versions of an entry only grow,
    also when it is deleted and created again.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.errors import StorageError
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.writes import Write


class Watch(Protocol):
    """A subscription to changes. Call `next` repeatedly from a single task."""

    @property
    def position(self) -> int:
        """Return the position of the last change that was examined, delivered or not."""

    async def next(self, patience: float | None = None) -> list[Change]:
        """Return the next changes in commit order; wait until there is one.

        Args:
            patience: seconds to wait, then the list is empty; None waits without limit.

        Raises:
            MissedChangesError: changes were discarded. `position` is now the oldest one to resume from.
            StoreClosedError: the store is closing.
            StorageError: changes can't be read.
        """


class EntryReads(Protocol):
    """Reads of entries."""

    async def get(self, namespace: str, key: str) -> Entry | None:
        """Return a live entry, or None."""

    async def get_many(self, identities: Sequence[Identity]) -> builtins.list[Entry | None]:
        """Return several entries as `get` does, in order; at most 1000."""

    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Return a page of a namespace's live entries in key order.

        Pages are cut by key: entries that stay are neither skipped nor repeated, whatever is written in between.

        Args:
            namespace: the namespace to list.
            prefix: only keys with this prefix.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A page may be shorter and not be the last.
        """

    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> SearchPage:
        """Return a page of the live entries that match a query.

        Args:
            query: made by Query.create.
            position: `position` of the previous page of the same query.
            limit: 1 to 1000. A page may be shorter, even empty, and have a position to continue from.

        Raises:
            InvalidInputError: names the field.
            StorageError, StoreClosedError: nothing was read.
        """

    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Return a page of the namespaces that have live entries, by name.

        Args:
            after: `next_name` of the previous page.
            limit: 1 to 1000.
            within: only these namespaces and those below them; None: all.
        """

    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Return the number of live entries in each of these namespaces."""

    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Return the number of entries with each of these tags. Expired entries may count until they are collected."""


class EntryWrites(Protocol):
    """Writes of entries. Each raises OverloadedError, StorageError or StoreClosedError when nothing was written."""

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Write an entry. Return it, and True if it is new.

        Raises:
            VersionConflictError: a condition was not met.
        """

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. Return False if it did not exist.

        Raises:
            VersionConflictError: `if_version` was given and the entry has another version or does not exist.
        """

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> builtins.list[Any]:
        """Carry out at most 1000 writes in order, in one transaction.

        Args:
            writes: the writes, with their conditions.
            atomic: True: all or none. False: a write that fails does not affect the others.

        Returns:
            The result of each write; with `atomic=False` the MemoryStoreError of a write that failed.

        Raises:
            BatchItemError: an atomic batch failed; names the write and the reason.
        """

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[builtins.list[Entry | None], int], Sequence[Write]]
    ) -> builtins.list[Any]:
        """Read entries, decide, and write some of them as one transaction.

        Args:
            identities: the entries that are read and may be written.
            decide: gets the live entries in order (None: no such entry) and the time in milliseconds since the Unix
                epoch; returns the writes. It may run on another thread, and must be quick and free of side effects.

        Returns:
            The result of each write.

        Raises:
            MemoryStoreError: an error of `decide` or of a write; nothing was written.
        """

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Delete a namespace's entries whose keys have a prefix, in steps. Return how many were deleted."""


class Store(EntryReads, EntryWrites, Protocol):
    """All of a store."""

    @property
    def swarm_id(self) -> str:
        """Return the swarm that the store belongs to."""

    @property
    def max_value_bytes(self) -> int:
        """Return the size limit of a value, in bytes of compact JSON."""

    @property
    def alive(self) -> bool:
        """Return False once a defect has stopped the store: only a restart helps."""

    @property
    def fault(self) -> StorageError | None:
        """Return the reason why writes fail at present, or None."""

    def now(self) -> int:
        """Return the time by the store's clock, in milliseconds since the Unix epoch."""

    def watch(
        self,
        namespace: str | None = None,
        *,
        prefix: str = "",
        since: int | None = None,
        within: Sequence[str] | None = None,
    ) -> AbstractAsyncContextManager[Watch]:
        """Subscribe to changes.

        Args:
            namespace: only changes there; None: everywhere.
            prefix: only keys with this prefix.
            since: the position of the last change that is known; None: now.
            within: only these namespaces and those below them; None: all.

        Raises:
            MissedChangesError: changes after `since` were discarded. Raised on entry.
            InvalidInputError: names the field.
        """

    async def collect_garbage(self) -> GcRun:
        """Delete expired entries and give unused space back."""

    async def backup(self, path: str | Path) -> Backup:
        """Write a verified copy of the store, as it is at one moment, to a new file.

        Raises:
            InvalidInputError: the file exists.
            CorruptDatabaseError: the copy did not pass its check.
            StorageError, StoreClosedError: there is no file of that name.
        """

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Make a verified copy of the store in an unlinked file, for reading; the copy is deleted on exit."""

    async def stats(self) -> StoreStats:
        """Return counts and sizes."""
