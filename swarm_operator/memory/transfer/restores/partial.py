"""Restores the entries of a scope: those of the backup are written, others of the scope are deleted.

Each batch compares and writes in one transaction, so a restore that was interrupted is completed by the next one, and a
write that comes between is seen. Entries that are equal are not written. Clients read and write meanwhile; what they
write in the scope after its comparison stays. Versions grow as with any write, and watches are told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swarm_operator.memory.core.entry import MAX_TTL_SECONDS, Draft, Entry, Identity
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Delete, Put, Write
from swarm_operator.memory.transfer.restores.scope import Scope, pairs

_BATCH_ENTRIES: Final = 100
_BATCH_BYTES: Final = 1024 * 1024
_EXPIRY_TOLERANCE: Final = 1000
"""Milliseconds by which equal expiry times may differ: lifetimes are whole seconds."""


@dataclass(slots=True)
class Changes:
    """What a restore changes, or would change.

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

    def count(self, wanted: Entry | None, there: Entry | None) -> None:
        """Count a pair of entries that differ."""
        if wanted is None:
            self.entries_removed += 1
            return
        self.bytes += wanted.size
        if there is None:
            self.entries_new += 1
        else:
            self.entries_changed += 1


async def plan(backup: Store, store: Store, scope: Scope, progress: Callable[[int], None]) -> Changes:
    """Return what a restore would change; nothing is written.

    Args:
        backup: the opened backup.
        store: the store.
        scope: the entries that are compared.
        progress: gets the number of compared entries.
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
    """Restore the entries of a scope; arguments as for `plan`. Return what was changed.

    Raises:
        StorageError, OverloadedError, StoreClosedError: a batch failed; earlier batches stay written.
    """
    batch = _Batch(backup, store)
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

    backup: Store
    store: Store
    changes: Changes = field(default_factory=Changes)
    _wanted: dict[Identity, Entry | None] = field(default_factory=dict)
    _bytes: int = 0

    async def add(self, wanted: Entry | None, there: Entry | None) -> None:
        entry = wanted or there
        assert entry is not None  # noqa: S101 - for mypy
        self._wanted[entry.namespace, entry.key] = wanted
        self._bytes += 0 if wanted is None else wanted.size
        if len(self._wanted) >= _BATCH_ENTRIES or self._bytes >= _BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        wanted, self._wanted, self._bytes = self._wanted, {}, 0
        changed: list[tuple[Entry | None, Entry | None]] = []
        entries = [entry for entry in wanted.values() if entry is not None]
        found = zip(entries, await self.backup.vectors(entries) if entries else (), strict=True)
        vectors = {(entry.namespace, entry.key): vector for entry, vector in found}

        def decide(entries: list[Entry | None], now: int) -> list[Write]:
            changed.clear()
            writes: list[Write] = []
            for (identity, entry), there in zip(wanted.items(), entries, strict=True):
                live = entry if entry is not None and entry.live_at(now) else None
                if _equal(live, there):
                    continue
                changed.append((live, there))
                writes.append(Delete(identity) if live is None else Put(_draft(live, vectors[identity], now)))
            return writes

        if wanted:
            await self.store.transact(list(wanted), decide)
            for pair in changed:
                self.changes.count(*pair)


def _draft(entry: Entry, vector: bytes | None, now: int) -> Draft:
    """Return the draft of an entry that expires when the entry does, with its author and its client's vector."""
    ttl = 0
    if entry.expires_at is not None:
        ttl = min(math.ceil((entry.expires_at - now) / 1000), MAX_TTL_SECONDS)
    return Draft(
        namespace=entry.namespace,
        key=entry.key,
        value_json=entry.value_json,
        tags_json=entry.tags_json,
        metadata_json=entry.metadata_json,
        ttl=ttl,
        vector=vector,
        updated_by=entry.updated_by,
    )


def _equal(wanted: Entry | None, there: Entry | None) -> bool:
    """Return whether two entries have the same contents and expire at the same time."""
    if wanted is None or there is None:
        return wanted is there
    if (wanted.expires_at is None) != (there.expires_at is None):
        return False
    apart = abs((wanted.expires_at or 0) - (there.expires_at or 0))
    contents = (wanted.value_json, wanted.tags_json, wanted.metadata_json)
    return contents == (there.value_json, there.tags_json, there.metadata_json) and apart <= _EXPIRY_TOLERANCE
