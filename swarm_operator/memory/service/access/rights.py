"""Principals, and the store wrapper that checks a principal's permissions before each operation.

All protocols and the records of a swarm use this wrapper with decoded names, so a namespace has one spelling.
Operations are denied by default: Store is abstract, so the class cannot be instantiated if it lacks a method.
"""

from __future__ import annotations

import builtins
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import Draft, Entry, Identity, check_namespace
from swarm_operator.memory.core.errors import MemoryStoreError, StorageError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.store import Store, Watch
from swarm_operator.memory.core.writes import Put, Write
from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.access.seal import Seal
from swarm_operator.memory.service.errors import ForbiddenError, UnauthorizedError


@dataclass(frozen=True, slots=True)
class Principal:
    """Holder of a token.

    Attributes:
        name: name of the token, or service account and pod; never the token itself.
        admin: whether operations on the whole store are permitted: collect garbage, clean up, back up.
        writes: whether the principal may change the entries that it may read.
        namespaces: permitted namespaces, including those below them; None: all.
    """

    name: str
    admin: bool = False
    writes: bool = True
    namespaces: tuple[str, ...] | None = None

    def may_read(self, namespace: str) -> bool:
        """Return whether the principal may read in a namespace."""
        return self.namespaces is None or covers(self.namespaces, check_namespace(namespace))

    def may_write(self, namespace: str) -> bool:
        """Return whether the principal may change entries in a namespace."""
        return self.writes and self.may_read(namespace)

    def check_read(self, namespace: str | None) -> None:
        """Raise ForbiddenError unless the principal may read in a namespace; None means all namespaces."""
        if self.namespaces is None:
            return
        if namespace is None or not self.may_read(namespace):
            raise _refusal()

    def check_write(self, namespace: str) -> None:
        """Raise ForbiddenError unless the principal may change entries in a namespace."""
        self.check_writer()
        self.check_read(namespace)

    def check_writer(self) -> None:
        """Raise ForbiddenError if the principal may only read."""
        if not self.writes:
            raise _refusal()

    def check_admin(self) -> None:
        """Raise ForbiddenError unless the principal is an admin."""
        if not self.admin:
            raise _refusal()


CLIENT: Final = Principal("client")
ADMIN: Final = Principal("admin", admin=True)


class Credential(NamedTuple):
    """Token that a request presented.

    Attributes:
        principal: holder of the token.
        still_valid: returns False once the token is no longer valid, or its permissions have changed.
        seal: seals the cursors that the caller gets.
        expires_at: Unix time at which the token expires.
    """

    principal: Principal
    still_valid: Callable[[], bool]
    seal: Seal = Seal()
    expires_at: float = math.inf


def _refusal() -> ForbiddenError:
    # The message reveals neither what exists nor which permission is missing.
    return ForbiddenError("this token may not do that")


class AuthorizedStore(Store):
    """Store wrapper that checks the permissions of a credential. Every operation may also raise ForbiddenError.

    Args:
        store: an open store.
        credential: credential whose permissions are checked.
    """

    __slots__ = ("_credential", "_principal", "_store")

    def __init__(self, store: Store, credential: Credential) -> None:
        self._store = store
        self._credential = credential
        self._principal = credential.principal

    @property
    def credential(self) -> Credential:
        """Return the credential whose permissions are checked."""
        return self._credential

    @property
    def origin(self) -> object:
        """Return the origin of the store that this is a view of. Requires no permission."""
        return self._store.origin

    @property
    def swarm_id(self) -> str:
        """Return the swarm that the store belongs to. Requires no permission."""
        return self._store.swarm_id

    @property
    def max_value_bytes(self) -> int:
        """Return the size limit of a value. Requires no permission."""
        return self._store.max_value_bytes

    @property
    def alive(self) -> bool:
        """Return whether the store works. Requires no permission."""
        return self._store.alive

    @property
    def fault(self) -> StorageError | None:
        """Return the error that makes writes fail, or None. Requires no permission."""
        return self._store.fault

    def now(self) -> int:
        """Return the store's current time. Requires no permission."""
        return self._store.now()

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Require write permission for the namespace. The entry says that the principal wrote it."""
        self._principal.check_write(draft.namespace)
        return await self._store.write(self._signed(draft), create_only=create_only, if_version=if_version)

    async def write_checked(
        self, draft: Draft, rule: DuplicateRule, *, create_only: bool = False, if_version: int | None = None
    ) -> CheckedWrite:
        """Require write permission for the namespace, which includes reading there: the result may name an entry."""
        self._principal.check_write(draft.namespace)
        return await self._store.write_checked(
            self._signed(draft), rule, create_only=create_only, if_version=if_version
        )

    async def get(self, namespace: str, key: str) -> Entry | None:
        """Require read permission for the namespace, whether the entry exists or not."""
        self._principal.check_read(namespace)
        return await self._store.get(namespace, key)

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Require write permission for the namespace."""
        self._principal.check_write(namespace)
        return await self._store.delete(namespace, key, if_version=if_version)

    async def get_many(self, identities: Sequence[Identity]) -> list[Entry | None]:
        """Require read permission for all of the namespaces."""
        self.check_reads(identities)
        return await self._store.get_many(identities)

    async def get_each(self, identities: Sequence[Identity]) -> builtins.list[Entry | MemoryStoreError | None]:
        """Require read permission for all of the namespaces."""
        self.check_reads(identities)
        return await self._store.get_each(identities)

    async def vectors(self, entries: Sequence[Entry]) -> builtins.list[bytes | None]:
        """Require read permission for all of the namespaces."""
        self.check_reads([(entry.namespace, entry.key) for entry in entries])
        return await self._store.vectors(entries)

    def check_reads(self, identities: Sequence[Identity]) -> None:
        """Raise ForbiddenError unless the principal may read all of the entries."""
        for namespace, _ in identities:
            self._principal.check_read(namespace)

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> builtins.list[Any]:
        """Require write permission for all of the namespaces, atomic or not: otherwise nothing is written.

        The entries say that the principal wrote them.
        """
        for write in writes:
            self._principal.check_write(write.identity[0])
        return await self._store.batch(self._all_signed(writes), atomic=atomic)

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[builtins.list[Entry | None], int], Sequence[Write]]
    ) -> builtins.list[Any]:
        """Require write permission for the namespaces of all identities; the transaction can write no others.

        The entries say that the principal wrote them.
        """
        for namespace, _ in identities:
            self._principal.check_write(namespace)

        def signed(entries: builtins.list[Entry | None], now: int) -> Sequence[Write]:
            return self._all_signed(decide(entries, now))

        return await self._store.transact(identities, signed)

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Require write permission for the namespace."""
        self._principal.check_write(namespace)
        audit.record("delete-range", self._principal.name, namespace=namespace, prefix=prefix)
        return await self._store.delete_range(namespace, prefix=prefix)

    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Require read permission for the namespace."""
        self._principal.check_read(namespace)
        return await self._store.list(namespace, prefix=prefix, after=after, limit=limit)

    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> SearchPage:
        """Require read permission for the query's namespace; without one, search the permitted namespaces.

        Both are limited to the permitted namespaces: the store then counts and ranks no other entries.
        """
        assert query.within is None  # noqa: S101 - set by this class
        if query.namespace is not None:
            self._principal.check_read(query.namespace)
        query = replace(query, within=self._principal.namespaces, owner=self._principal.name)
        return await self._store.search(query, position=position, limit=limit)

    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Return the permitted namespaces only."""
        assert within is None  # noqa: S101 - set by this class
        return await self._store.namespaces(after=after, limit=limit, within=self._principal.namespaces)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        namespace: str | None = None,
        *,
        prefix: str = "",
        since: int | None = None,
        within: Sequence[str] | None = None,
    ) -> AsyncIterator[Watch]:
        """Require read permission for the namespace; without one, deliver changes of the permitted namespaces.

        The watch raises UnauthorizedError instead of further changes once the token's permissions have changed.
        """
        assert within is None  # noqa: S101 - set by this class
        if namespace is not None:
            self._principal.check_read(namespace)
        permitted = self._principal.namespaces
        async with self._store.watch(namespace, prefix=prefix, since=since, within=permitted) as watch:
            yield _AuthorizedWatch(watch, self._credential)

    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Require read permission for all of the namespaces."""
        for namespace in namespaces:
            self._principal.check_read(namespace)
        return await self._store.counts(namespaces)

    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Require read permission for the namespace."""
        self._principal.check_read(namespace)
        return await self._store.tag_counts(namespace, tags)

    async def collect_garbage(self) -> GcRun:
        """Require an admin."""
        self._check_admin("gc")
        return await self._store.collect_garbage()

    async def backup(self, path: str | Path) -> Backup:
        """Require an admin."""
        self._check_admin("backup", path=str(path))
        return await self._store.backup(path)

    @contextlib.asynccontextmanager
    async def snapshot(self, directory: Path | None = None) -> AsyncIterator[Snapshot]:
        """Require an admin."""
        self._check_admin("backup")
        async with self._store.snapshot(directory) as snapshot:
            yield snapshot

    async def stop_writes(self, backup: str) -> None:
        """Require an admin."""
        self._check_admin("stop-writes", backup=backup)
        await self._store.stop_writes(backup)

    async def resume_writes(self, backup: str) -> None:
        """Require an admin."""
        self._check_admin("resume-writes", backup=backup)
        await self._store.resume_writes(backup)

    async def confirm_upgrade(self) -> None:
        """Require nothing: every probe that finds the service ready asks for it."""
        await self._store.confirm_upgrade()

    async def replace(self, file: Path, *, former: Path, before: Callable[[int], Awaitable[None]]) -> None:
        """Require an admin."""
        self._check_admin("replace", file=str(file))
        await self._store.replace(file, former=former, before=before)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Require an admin."""
        self._principal.check_admin()
        return self._store.settings

    def configure(self, **settings: Any) -> None:
        """Require an admin."""
        self._principal.check_admin()
        self._store.configure(**settings)

    async def stats(self) -> StoreStats:
        """Require read permission for all namespaces."""
        self._principal.check_read(None)
        return await self._store.stats()

    def _signed(self, draft: Draft) -> Draft:
        """Return the draft as the principal's. An author that it names already, as an import does, is an admin's only.

        No request but an import can name an author.
        """
        if draft.updated_by is not None and self._principal.admin:
            return draft
        return Draft(*draft[:-1], self._principal.name)  # `updated_by` is last; `_replace` takes twice as long

    def _all_signed(self, writes: Sequence[Write]) -> builtins.list[Write]:
        return [
            Put(self._signed(write.draft), write.create_only, write.if_version, write.duplicates)
            if isinstance(write, Put)
            else write
            for write in writes
        ]

    def _check_admin(self, action: str, **details: Any) -> None:
        """Require an admin, and record what the admin does."""
        self._principal.check_admin()
        audit.record(action, self._principal.name, **details)


class _AuthorizedWatch(Watch):
    def __init__(self, watch: Watch, credential: Credential) -> None:
        self._watch = watch
        self._credential = credential

    @property
    def position(self) -> int:
        """Return the position of the last change that was examined."""
        return self._watch.position

    async def next(self, patience: float | None = None) -> list[Change]:
        """Return the next changes. Raise UnauthorizedError once the token's permissions have changed."""
        changes = await self._watch.next(patience)
        if not self._credential.still_valid():
            raise UnauthorizedError("the token's rights have changed; authenticate again")
        return changes
