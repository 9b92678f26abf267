"""The contract of a store, which every engine implements.

Guarantees:
    When a write returns, the entry is as durable as the engine makes it, and later reads see it. Conditions (create
    only, if version) are checked atomically with their write. No call returns an expired entry; only `tag_counts` may
    count it. Versions of an entry only grow, also across deletion, expiry and another creation.

Operations check namespaces, keys, prefixes and sizes by core.entry. They raise InvalidInputError, which names the
field, before they read or write. Names are ordered by their UTF-8 bytes, which is Python's order of strings.
"""

from __future__ import annotations

import builtins
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.errors import MemoryStoreError, StorageError
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.writes import Write


class Watch(Protocol):
    """A subscription to changes. Call `next` repeatedly from a single task."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Return the position of the last change that was examined, delivered or not."""

    @abstractmethod
    async def next(self, patience: float | None = None) -> list[Change]:
        """Wait for changes and return them in commit order.

        Args:
            patience: seconds to wait; the list is empty after that time. None waits without limit.

        Raises:
            MissedChangesError: changes were discarded. `position` is now the oldest position to resume from, and the
                next call continues there.
            StoreClosedError: the store is closing.
            StorageError: changes can't be read.
        """


class EntryReads(Protocol):
    """Reads of entries."""

    @abstractmethod
    async def get(self, namespace: str, key: str) -> Entry | None:
        """Return a live entry, or None."""

    @abstractmethod
    async def get_many(self, identities: Sequence[Identity]) -> builtins.list[Entry | None]:
        """Return several entries as `get` does, in order; at most 1000."""

    @abstractmethod
    async def get_each(self, identities: Sequence[Identity]) -> builtins.list[Entry | MemoryStoreError | None]:
        """Return the result of each of several reads, in order; at most 1000: an entry, None, or the read's own error.

        The values together have at most `max_value_bytes`; the last value may exceed the limit. The result of each
        further read is InvalidInputError.
        """

    @abstractmethod
    async def vectors(self, entries: Sequence[Entry]) -> builtins.list[bytes | None]:
        """Return the vectors that clients wrote with these versions of entries, in order; at most 1000.

        The vector is None if the client wrote none, or if the entry was changed or deleted since.
        The numbers may be rounded, see core.vectors.same.
        """

    @abstractmethod
    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Return a page of a namespace's live entries in key order.

        Pages are cut by key: concurrent writes never make a list skip or repeat other entries.

        Args:
            namespace: the namespace to list.
            prefix: only keys with this prefix.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A page may be shorter and not be the last.
        """

    @abstractmethod
    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> SearchPage:
        """Return a page of the live entries that match a query.

        Args:
            query: made by Query.create.
            position: `position` of the previous page of the same query; in the order of keys also a key_position.
            limit: 1 to 1000. A page may be shorter, even empty, and not be the last.

        Raises:
            InvalidInputError: names the field.
            EmbeddingError: the mode is `meaning`, and the embedder made no vector of the text.
            StorageError, StoreClosedError: nothing was read.
        """

    @abstractmethod
    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Return a page of the namespaces that have live entries, by name.

        Args:
            after: `next_name` of the previous page.
            limit: 1 to 1000.
            within: only these namespaces and those below them; None: all.
        """

    @abstractmethod
    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Return the number of live entries in each of these namespaces."""

    @abstractmethod
    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Return the number of entries with each of these tags. Expired entries count until they are removed."""


class EntryWrites(Protocol):
    """Writes of entries. OverloadedError, StorageError and StoreClosedError mean that nothing was written."""

    @abstractmethod
    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Write an entry. Return it, and True if it is new.

        Raises:
            VersionConflictError: a condition was not met. The error has the version of the live entry.
            InvalidInputError: `value` has more than `max_value_bytes`, or `vector` has another width than the
                namespace's vectors.
        """

    @abstractmethod
    async def write_checked(
        self, draft: Draft, rule: DuplicateRule, *, create_only: bool = False, if_version: int | None = None
    ) -> CheckedWrite:
        """Write an entry, after a search for its near-duplicate: the live entry with the most similar vector.

        The comparison includes the namespace's other entries whose write was acknowledged before the call, and those of
        checked writes that were committed before this one. So of several concurrent checked writes of one text, the
        first finds nothing and the others find the first.

        Raises:
            DuplicateError: the rule refuses near-duplicates, and there is one. Nothing was changed.
            InvalidInputError: see `write`; or the draft has no vector, and the store cannot make one.
            EmbeddingError: the embedder made no vector, or earlier writes cannot be compared yet. Nothing was changed.
            OverloadedError, VersionConflictError: see `write`.
        """

    @abstractmethod
    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. Return False if it did not exist.

        Raises:
            VersionConflictError: `if_version` was given and the entry has another version or does not exist.
        """

    @abstractmethod
    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> builtins.list[Any]:
        """Apply at most 1000 writes in order, in one transaction.

        Args:
            writes: the writes, with their conditions.
            atomic: True: all or none. False: a write that fails does not affect the others.

        Returns:
            The result of each write; with `atomic=False` the MemoryStoreError of a write that failed.

        Raises:
            EmbeddingError: near-duplicates of a write cannot be found at present, see `write_checked`.
            BatchItemError: an atomic batch failed; names the write and the reason.
            InvalidInputError: a value is too large, atomic or not. Field `operations[2].value` is the value of the
                third write.
        """

    @abstractmethod
    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[builtins.list[Entry | None], int], Sequence[Write]]
    ) -> builtins.list[Any]:
        """Read entries, decide, and write some of them as one transaction.

        The transactions of one event loop are committed in the order of the calls.

        Args:
            identities: the entries that are read and may be written.
            decide: receives the live entries in order (None: no such entry) and the time in milliseconds since the Unix
                epoch; returns the writes, which are applied in order. The function may run on another thread and more
                than once. It must be quick and free of side effects.

        Returns:
            The result of each write.

        Raises:
            MemoryStoreError: an error of `decide` or of a write; nothing was written. InternalStoreError stands for
                other exceptions of `decide`, and for a write of an entry that is not in `identities`.
        """

    @abstractmethod
    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Delete a namespace's entries whose keys have a prefix, in steps. Return how many were deleted."""


class Store(EntryReads, EntryWrites, Protocol):
    """The complete contract of a store. A subclass that lacks a member can't be instantiated."""

    @property
    @abstractmethod
    def origin(self) -> object:
        """Return an object that all views of one store share. It is hashable and supports weak references.

        A view forwards operations to another store and must return that store's origin. Process-wide state of a store,
        such as the order of its messages, is stored by origin.
        """

    @property
    @abstractmethod
    def swarm_id(self) -> str:
        """Return the ID of the store's swarm."""

    @property
    @abstractmethod
    def max_value_bytes(self) -> int:
        """Return the size limit of a value, in bytes of compact JSON."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Return False once a defect has stopped the store. Recovery then requires a restart of the process."""

    @property
    @abstractmethod
    def fault(self) -> StorageError | None:
        """Return the reason why writes fail at present, or None."""

    @abstractmethod
    def now(self) -> int:
        """Return the time by the store's clock, in milliseconds since the Unix epoch."""

    @abstractmethod
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
            namespace: only changes in this namespace; None: in all.
            prefix: only keys with this prefix.
            since: position of the last known change; 0: before the first change; None: now.
            within: only these namespaces and those below them; None: all.

        Raises:
            MissedChangesError: changes after `since` were discarded, or `since` is beyond the last change. Raised when
                the context is entered.
            InvalidInputError: names the field.
        """

    @abstractmethod
    async def collect_garbage(self) -> GcRun:
        """Delete expired entries, which watches see as Op.EXPIRE, and return unused space to the file system."""

    @abstractmethod
    async def backup(self, path: str | Path) -> Backup:
        """Write a verified, consistent copy of the store to a new file in the engine's own format.

        Raises:
            InvalidInputError: `path` exists.
            CorruptDatabaseError: the copy did not pass its check.
            StorageError, StoreClosedError: the backup failed and left no file.
        """

    @abstractmethod
    def snapshot(self, directory: Path | None = None) -> AbstractAsyncContextManager[Snapshot]:
        """Make an unlinked copy like `backup`, for reading. The copy is deleted on exit.

        Args:
            directory: directory of the copy; None: that of the store's files.
        """

    @abstractmethod
    async def stop_writes(self, backup: str) -> None:
        """Refuse writes with DeletingError from now on, and return when all accepted writes are on disk.

        The refusal survives a restart if the store's settings name this final backup.

        Args:
            backup: name of the final backup.

        Raises:
            StorageError, StoreClosedError, RestoringError: writes are still accepted, unless they were refused before.
        """

    @abstractmethod
    async def resume_writes(self, backup: str) -> None:
        """Accept writes again if they are refused for this backup. After StorageError, writes are still refused."""

    @abstractmethod
    async def confirm_upgrade(self) -> None:
        """Accept writes that were refused with UpgradingError: the release that changed the schema is ready.

        Raises:
            StorageError, StoreClosedError: writes are still refused.
        """

    @abstractmethod
    async def replace(self, file: Path, *, former: Path, before: Callable[[int], Awaitable[None]]) -> None:
        """Replace all data with those of a backup, while reads continue.

        Afterwards all earlier versions and positions are invalid: conditions on versions fail, and watches get
        MissedChangesError. After an error the data are unchanged and writes are accepted.

        The former data include every acknowledged write. The caller owns the former data and backs them up.

        Args:
            file: a verified backup, in its own directory on the store's file system. The store changes the file, and on
                success owns the file.
            former: new path for the former data, in a directory beside the store's file. No file may exist there. After
                an error this path may be a hard link to the store's file, which the caller deletes.
            before: called with the store's new position once the copy is ready and writes are refused with
                RestoringError. The store awaits the call. If the call raises, nothing is replaced.

        Raises:
            ForeignDatabaseError, NewerSchemaError, CorruptDatabaseError: the file can't be used.
            StorageError, StoreClosedError: nothing was replaced.
        """

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return the current settings, as in StoreStats.settings."""

    @abstractmethod
    def configure(self, **settings: Any) -> None:
        """Change some settings while requests continue.

        Raises:
            ConfigError: a value is out of range, or a setting cannot be changed; nothing was changed.
            StoreClosedError: nothing was changed.
        """

    @abstractmethod
    async def stats(self) -> StoreStats:
        """Return counts and sizes."""
