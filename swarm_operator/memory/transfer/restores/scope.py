"""Scope of a restore: namespaces and a prefix of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core.entry import Entry, check_namespace, check_prefix
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.shared.limits import RESTORE_NAMESPACES

MAX_NAMESPACES: Final = RESTORE_NAMESPACES.most
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """Entries in some namespaces whose keys have a prefix.

    Attributes:
        namespaces: the namespaces, sorted; None: all.
        key_prefix: prefix of the keys.
    """

    namespaces: tuple[str, ...] | None = None
    key_prefix: str = ""

    @classmethod
    def create(cls, namespaces: Any, key_prefix: Any) -> Scope:
        """Return a checked scope. Raise InvalidInputError, also for an empty list of namespaces."""
        if namespaces is not None and not isinstance(namespaces, list):
            raise InvalidInputError("namespaces", "a list of namespaces")
        if namespaces is not None and not 1 <= len(namespaces) <= MAX_NAMESPACES:
            raise InvalidInputError("namespaces", f"1 to {MAX_NAMESPACES} namespaces; absent for all")
        names: set[str] = set()
        for index, name in enumerate(namespaces or ()):
            try:
                names.add(check_namespace(name))
            except InvalidInputError as error:
                raise InvalidInputError(f"namespaces[{index}]", error.allowed) from None
        prefix = check_prefix("" if key_prefix is None else key_prefix, field="key_prefix")
        return cls(None if namespaces is None else tuple(sorted(names)), prefix)

    @property
    def whole(self) -> bool:
        """Return whether the scope contains all entries."""
        return self.namespaces is None and not self.key_prefix


class Held(NamedTuple):
    """An entry, and the vector that a client wrote with it."""

    entry: Entry
    vector: bytes | None


async def pairs(backup: Store, store: Store, scope: Scope) -> AsyncIterator[tuple[Held | None, Held | None]]:
    """Yield the pairs of entries of a scope: the backup's and the store's, None for a missing entry.

    The pairs are sorted by name. One page of each side is in memory.
    """
    async for namespace in _namespaces(backup, store, scope.namespaces):
        wanted, there = _entries(backup, namespace, scope), _entries(store, namespace, scope)
        left, right = await anext(wanted, None), await anext(there, None)
        while left is not None or right is not None:
            if right is None or (left is not None and left.entry.key < right.entry.key):
                yield left, None
                left = await anext(wanted, None)
            elif left is None or right.entry.key < left.entry.key:
                yield None, right
                right = await anext(there, None)
            else:
                yield left, right
                left, right = await anext(wanted, None), await anext(there, None)


async def _entries(store: Store, namespace: str, scope: Scope) -> AsyncIterator[Held]:
    after: str | None = None
    while True:
        page = await store.list(namespace, prefix=scope.key_prefix, after=after, limit=_PAGE)
        for entry, vector in zip(page.entries, await store.vectors(page.entries), strict=True):
            yield Held(entry, vector)
        after = page.next_key
        if after is None:
            return


async def _namespaces(backup: Store, store: Store, names: Sequence[str] | None) -> AsyncIterator[str]:
    """Yield the given namespaces, or the namespaces of both stores in order."""
    if names is not None:
        for name in names:
            yield name
        return
    wanted, there = _every_namespace(backup), _every_namespace(store)
    left, right = await anext(wanted, None), await anext(there, None)
    while left is not None or right is not None:
        name = min(each for each in (left, right) if each is not None)
        yield name
        left = await anext(wanted, None) if left == name else left
        right = await anext(there, None) if right == name else right


async def _every_namespace(store: Store) -> AsyncIterator[str]:
    after: str | None = None
    while True:
        page = await store.namespaces(after=after)
        for count in page.namespaces:
            yield count.namespace
        after = page.next_name
        if after is None:
            return
