"""The store as requests see it: each operation is first held to what its token may do.

All protocols, and the records of the swarm, ask this one store, and with names that are decoded: there is no second way
to spell a namespace around it. Outside of a request there is nobody to act for, so that use of it is a defect
(LookupError) and not a hole.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.pages import Found, NamespacePage, Page, Position
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.stats import Collection, StoreStats
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.service.access.principal import acting, standing
from swarm_operator.memory.service.errors import UnauthorizedError
from swarm_operator.memory.sqlite import MemoryStore
from swarm_operator.memory.sqlite.feed import Watch


class GuardedStore(MemoryStore):
    """A view of a store. Every operation may also raise ForbiddenError.

    Args:
        store: an open one, which opens and closes as before.
    """

    def __init__(self, store: MemoryStore) -> None:
        # One state, two views of it: not a copy.
        self.__dict__ = store.__dict__

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Held to the entry's namespace; `put` comes by here too."""
        acting.get().check_write(draft.namespace)
        return await super().write(draft, create_only=create_only, if_version=if_version)

    async def get(self, namespace: str, key: str) -> Entry | None:
        """Held to the namespace, whether there is such an entry or not."""
        acting.get().check_read(namespace)
        return await super().get(namespace, key)

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Held to the namespace."""
        acting.get().check_write(namespace)
        return await super().delete(namespace, key, if_version=if_version)

    async def get_many(self, identities: Sequence[Identity]) -> list[Entry | None]:
        """Held to all of the namespaces."""
        principal = acting.get()
        for namespace, _ in identities:
            principal.check_read(namespace)
        return await super().get_many(identities)

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> list[Any]:
        """Held to all of the namespaces, atomic or not: nothing is written when one is refused."""
        principal = acting.get()
        for write in writes:
            principal.check_write(write.identity[0])
        return await super().batch(writes, atomic=atomic)

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> list[Any]:
        """Held to all of the namespaces that it announces; it can write no others."""
        principal = acting.get()
        for namespace, _ in identities:
            principal.check_write(namespace)
        return await super().transact(identities, decide)

    async def update(
        self, namespace: str, key: str, change: Callable[[Entry | None], Draft | None]
    ) -> tuple[Entry | None, bool]:
        """Held to the namespace."""
        acting.get().check_write(namespace)
        return await super().update(namespace, key, change)

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Held to the namespace."""
        acting.get().check_write(namespace)
        return await super().delete_range(namespace, prefix=prefix)

    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Held to the namespace."""
        acting.get().check_read(namespace)
        return await super().list(namespace, prefix=prefix, after=after, limit=limit)

    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> Found:
        """Held to the namespace that the query names; one that names none covers those that the token may read."""
        principal = acting.get()
        if query.namespace is not None:
            principal.check_read(query.namespace)
        elif principal.namespaces is not None:
            query = replace(query, within=principal.namespaces)
        return await super().search(query, position=position, limit=limit)

    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Only those that the token may read."""
        assert within is None  # noqa: S101 - it is for this class to say
        return await super().namespaces(after=after, limit=limit, within=acting.get().namespaces)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        namespace: str | None = None,
        *,
        prefix: str = "",
        since: int | None = None,
        within: Sequence[str] | None = None,
    ) -> AsyncIterator[Watch]:
        """Held to the namespace; one that names none is told of those that the token may read.

        It ends with UnauthorizedError before it tells anything after the token's rights have changed.
        """
        assert within is None  # noqa: S101 - it is for this class to say
        principal = acting.get()
        if namespace is not None:
            principal.check_read(namespace)
        async with super().watch(namespace, prefix=prefix, since=since, within=principal.namespaces) as watch:
            yield _GuardedWatch(watch, standing.get())

    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Held to all of the namespaces."""
        principal = acting.get()
        for namespace in namespaces:
            principal.check_read(namespace)
        return await super().counts(namespaces)

    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Held to the namespace."""
        acting.get().check_read(namespace)
        return await super().tag_counts(namespace, tags)

    async def collect_garbage(self) -> Collection:
        """For admins."""
        acting.get().check_admin()
        return await super().collect_garbage()

    async def backup(self, path: str | Path) -> Backup:
        """For admins."""
        acting.get().check_admin()
        return await super().backup(path)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """For admins."""
        acting.get().check_admin()
        async with super().snapshot() as snapshot:
            yield snapshot

    async def stats(self) -> StoreStats:
        """For those who may read everything."""
        acting.get().check_read(None)
        return await super().stats()


class _GuardedWatch(Watch):
    """A view of a watch that tells nothing any more once its token's rights have changed."""

    def __init__(self, watch: Watch, stands: Callable[[], bool]) -> None:
        self.__dict__ = watch.__dict__
        self._stands = stands

    async def next(self, patience: float | None = None) -> list[Change]:
        """Raises UnauthorizedError, too: the token must be shown anew."""
        changes = await super().next(patience)
        if not self._stands():
            raise UnauthorizedError("the token no longer gives the rights that it gave")
        return changes
