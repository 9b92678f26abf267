"""Restores the entries of a scope: writes the backup's entries and deletes all others of the scope.

Each batch compares and writes in one transaction, so the comparison includes concurrent writes, and a repeated restore
completes an interrupted one. Equal entries are not written. Clients read and write meanwhile; their writes to an entry
after its comparison are kept. Versions grow as with any write, and watches receive the changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swarm_operator.memory.core import vectors
from swarm_operator.memory.core.entry import MAX_TTL_SECONDS, Draft, Entry, Identity
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Delete, Put, Write
from swarm_operator.memory.transfer.restores.scope import Held, Scope, pairs

_BATCH_ENTRIES: Final = 100
_BATCH_BYTES: Final = 1024 * 1024
_EXPIRY_TOLERANCE: Final = 1000
"""Milliseconds by which equal expiry times may differ: lifetimes are whole seconds."""


@dataclass(slots=True)
class Changes:
    """Changes of a restore.

    Attributes:
        entries_new: entries that the store lacks.
        entries_changed: entries that differ.
        entries_removed: entries that the backup lacks.
        bytes: bytes of the values that are written.
        examined: entries of the scope that were compared.
    """

    entries_new: int = 0
    entries_changed: int = 0
    entries_removed: int = 0
    bytes: int = 0
    examined: int = 0

    def count(self, wanted: Held | None, there: Held | None) -> None:
        """Count a pair of entries that differ."""
        if wanted is None:
            self.entries_removed += 1
            return
        self.bytes += wanted.entry.size
        if there is None:
            self.entries_new += 1
        else:
            self.entries_changed += 1


async def plan(backup: Store, store: Store, scope: Scope, progress: Callable[[int], None]) -> Changes:
    """Return the changes that a restore would make, without writing.

    Args:
        backup: the opened backup.
        store: the store.
        scope: the entries that are compared.
        progress: receives the number of compared entries.
    """
    changes = Changes()
    async for wanted, there in pairs(backup, store, scope):
        changes.examined += 1
        if not _equal(wanted, there):
            changes.count(wanted, there)
        if changes.examined % _BATCH_ENTRIES == 0:
            progress(changes.examined)
    return changes


async def restore(backup: Store, store: Store, scope: Scope, progress: Callable[[int], None]) -> Changes:
    """Restore the entries of a scope; arguments as for `plan`. Return the changes.

    Raises:
        StorageError, OverloadedError, StoreClosedError: a batch failed; earlier batches stay written.
    """
    batch = _Batch(store)
    async for wanted, there in pairs(backup, store, scope):
        batch.changes.examined += 1
        if not _equal(wanted, there):
            await batch.add(wanted, there)
        if batch.changes.examined % _BATCH_ENTRIES == 0:
            progress(batch.changes.examined)
    await batch.flush()
    return batch.changes


@dataclass(slots=True)
class _Batch:
    """Entries to write or delete in one transaction."""

    store: Store
    changes: Changes = field(default_factory=Changes)
    _pairs: dict[Identity, tuple[Held | None, Held | None]] = field(default_factory=dict)
    _bytes: int = 0

    async def add(self, wanted: Held | None, there: Held | None) -> None:
        held = wanted or there
        assert held is not None  # noqa: S101 - for mypy
        self._pairs[held.entry.namespace, held.entry.key] = wanted, there
        self._bytes += 0 if wanted is None else wanted.entry.size + len(wanted.vector or b"")
        if len(self._pairs) >= _BATCH_ENTRIES or self._bytes >= _BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        found, self._pairs, self._bytes = self._pairs, {}, 0
        changed: list[tuple[Held | None, Held | None]] = []

        def decide(entries: list[Entry | None], now: int) -> list[Write]:
            changed.clear()
            writes: list[Write] = []
            for (identity, (wanted, compared)), entry in zip(found.items(), entries, strict=True):
                live = wanted if wanted is not None and wanted.entry.live_at(now) else None
                there = _now(entry, compared)
                if _equal(live, there):
                    continue
                changed.append((live, there))
                writes.append(Delete(identity) if live is None else Put(_draft(live, now)))
            return writes

        if found:
            await self.store.transact(list(found), decide)
            for pair in changed:
                self.changes.count(*pair)


def _now(entry: Entry | None, compared: Held | None) -> Held | None:
    """Return the current entry, with the vector read for its comparison; None as vector of a later version."""
    if entry is None:
        return None
    return Held(entry, compared.vector if compared is not None and compared.entry.version == entry.version else None)


def _draft(held: Held, now: int) -> Draft:
    """Return the draft of an entry that expires when the entry does, with its author and its client's vector."""
    entry, ttl = held.entry, 0
    if entry.expires_at is not None:
        ttl = min(math.ceil((entry.expires_at - now) / 1000), MAX_TTL_SECONDS)
    return Draft(
        namespace=entry.namespace,
        key=entry.key,
        value_json=entry.value_json,
        tags_json=entry.tags_json,
        metadata_json=entry.metadata_json,
        ttl=ttl,
        vector=held.vector,
        updated_by=entry.updated_by,
    )


def _equal(one: Held | None, other: Held | None) -> bool:
    """Return whether two entries have the same contents and vectors, and expire at the same time."""
    if one is None or other is None:
        return one is other
    wanted, there = one.entry, other.entry
    if (wanted.expires_at is None) != (there.expires_at is None):
        return False
    apart = abs((wanted.expires_at or 0) - (there.expires_at or 0))
    contents = (wanted.value_json, wanted.tags_json, wanted.metadata_json)
    return (
        contents == (there.value_json, there.tags_json, there.metadata_json)
        and apart <= _EXPIRY_TOLERANCE
        and vectors.same(one.vector, other.vector)
    )
