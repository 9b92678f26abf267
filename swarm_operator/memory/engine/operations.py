"""What a request does inside the writer's transaction. Compare-and-set is decided here, where nothing can come between.

An operation reads what it needs, decides, and writes. An expired row counts as absent for every decision, so results
do not depend on whether it has been collected; writing over it starts a new entry at version 1.

Put and Delete are one entry each; Batch and Transaction are made of them and hold together or fail together. What each
may write is known before it runs: copies of those entries are dropped first (see lookup).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from swarm_operator.memory.engine import rows
from swarm_operator.memory.engine.compression import Codec, Packed
from swarm_operator.memory.engine.entry import Draft, Entry, Identity
from swarm_operator.memory.engine.errors import (
    BatchItemError,
    InternalStoreError,
    MemoryStoreError,
    VersionConflictError,
)
from swarm_operator.memory.engine.tally import PackedDelta

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

__all__ = ["Applied", "Batch", "Change", "Delete", "Operation", "Put", "Transaction", "Write"]

# SQLite knows a blob's length from the row's header: this reads no page of the value.
_SELECT_HEAD = """
    SELECT id, version, created_at, expires_at, size, codec, length(value) FROM entries WHERE namespace = ? AND key = ?
"""
_INSERT = """
    INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, metadata, value,
    codec) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE entries SET version = ?, created_at = ?, updated_at = ?, ttl = ?, expires_at = ?, size = ?, tags = ?,
    metadata = ?, value = ?, codec = ? WHERE id = ?
"""
_DELETE = "DELETE FROM entries WHERE id = ?"
_NO_HEAD = (None, 0, 0, None, 0, Codec.PLAIN, 0)


@dataclass(slots=True)
class Change:
    """What became of one entry.

    Attributes:
        identity: which.
        entry: as it is now; None when there is none.
        rows: by how much the namespace's count of rows changed.
        size: by how many bytes of values the namespace changed.
        packed: by how much the compressed rows changed.
        written: bytes of the value as it was stored.
    """

    identity: Identity
    entry: Entry | None
    rows: int = 0
    size: int = 0
    packed: PackedDelta = field(default_factory=PackedDelta)
    written: int = 0


@dataclass(slots=True)
class Applied:
    """What an operation did: the result for its caller, and the entries that it touched, in order."""

    result: Any
    changes: Sequence[Change]


class Operation(Protocol):
    """A request to the writer."""

    @property
    def identities(self) -> Sequence[Identity]:
        """The entries that it may write."""

    @property
    def weight(self) -> int:
        """Bytes that it holds while it waits."""

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Do it, inside a savepoint. An exception undoes this operation and no other."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write an entry. The result is (entry, created).

    Attributes:
        draft: what to write.
        packed: its value as it is to be stored; None: as it is.
        create_only: fail with VersionConflictError when the entry exists.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    draft: Draft
    packed: Packed | None = None
    create_only: bool = False
    if_version: int | None = None

    @property
    def identities(self) -> tuple[Identity]:
        """The entry that it writes."""
        return ((self.draft.namespace, self.draft.key),)

    @property
    def weight(self) -> int:
        """Bytes of the value, its compressed form and its company."""
        draft, packed = self.draft, self.packed
        frame = 0 if packed is None or packed.blob is draft.value_json else len(packed.blob)
        return len(draft.value_json) + frame + len(draft.metadata_json) + len(draft.tags_json)

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Insert or update, as the conditions allow."""
        draft = self.draft
        head = db.execute(_SELECT_HEAD, (draft.namespace, draft.key)).fetchone()
        row_id, old_version, created_at, old_expiry, old_size, old_codec, old_stored = head or _NO_HEAD
        if live := row_id is not None and (old_expiry is None or old_expiry > now):
            version = old_version + 1
        else:
            version, created_at = 1, now
        if self.create_only and live:
            raise VersionConflictError(old_version)
        if self.if_version is not None and (not live or old_version != self.if_version):
            raise VersionConflictError(old_version if live else None)
        codec, blob = (Codec.PLAIN, draft.value_json) if self.packed is None else (self.packed.codec, self.packed.blob)
        ttl, size = draft.ttl, len(draft.value_json)
        expires_at = now + ttl * 1000 if ttl else None
        values = (version, created_at, now, ttl, expires_at, size, draft.tags_json, draft.metadata_json)
        if row_id is None:
            db.execute(_INSERT, (draft.namespace, draft.key, *values, blob, codec))
        else:
            db.execute(_UPDATE, (*values, blob, codec, row_id))
        entry = Entry(
            namespace=draft.namespace,
            key=draft.key,
            value_json=draft.value_json,
            tags_json=draft.tags_json,
            metadata_json=draft.metadata_json,
            ttl=ttl,
            version=version,
            created_at=created_at,
            updated_at=now,
            expires_at=expires_at,
        )
        identity = (draft.namespace, draft.key)
        change = Change(identity, entry, int(row_id is None), size - old_size, written=len(blob))
        change.packed.row(-1, old_codec, old_size, old_stored)
        change.packed.row(1, codec, size, len(blob))
        return Applied((entry, not live), (change,))


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an entry. The result says whether there was one.

    Attributes:
        identity: which.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    identity: Identity
    if_version: int | None = None

    @property
    def identities(self) -> tuple[Identity]:
        """The entry that it deletes."""
        return (self.identity,)

    @property
    def weight(self) -> int:
        """Nothing to speak of."""
        return 0

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Delete the row, as the condition allows; an expired one is swept away and counts as not found."""
        head = db.execute(_SELECT_HEAD, self.identity).fetchone()
        row_id, version, _, expires_at, size, codec, stored = head or _NO_HEAD
        live = row_id is not None and (expires_at is None or expires_at > now)
        if self.if_version is not None and (not live or version != self.if_version):
            raise VersionConflictError(version if live else None)
        if row_id is None:
            return Applied(False, (Change(self.identity, None),))
        db.execute(_DELETE, (row_id,))
        change = Change(self.identity, None, rows=-1, size=-size)
        change.packed.row(-1, codec, size, stored)
        return Applied(live, (change,))


Write: TypeAlias = Put | Delete
"""An operation on one entry. It writes in one statement, so one that fails has written nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several writes in their order. The result is the list of theirs.

    Attributes:
        writes: what to do. A later one sees what an earlier one did.
        atomic: all or none: the first that fails undoes all and is raised as BatchItemError. Else each stands alone,
            and the result of one that failed is its MemoryStoreError.
    """

    writes: Sequence[Write]
    atomic: bool = True

    @property
    def identities(self) -> list[Identity]:
        """Those of its writes."""
        return [write.identities[0] for write in self.writes]

    @property
    def weight(self) -> int:
        """The sum of its writes."""
        return sum(write.weight for write in self.writes)

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Apply one after the other."""
        results: list[Any] = []
        changes: list[Change] = []
        for index, write in enumerate(self.writes):
            try:
                applied = write.apply(db, now)
            except MemoryStoreError as error:
                if self.atomic:
                    raise BatchItemError(index, error) from error
                results.append(error)
                continue
            results.append(applied.result)
            changes.extend(applied.changes)
        return Applied(results, changes)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Read some entries, decide, write some of them; nothing comes between. The result is the list of the writes' own.

    Attributes:
        identities: the entries that are read and may be written.
        decide: gets the live ones, in that order, None where there is none, and the time (milliseconds since the Unix
            epoch); returns what to write. It runs on the writer's thread while others wait: it must be quick, and must
            not touch what the event loop touches. A MemoryStoreError that it raises undoes this transaction and no
            other.
        pack: how a value that it writes is to be stored.
    """

    identities: Sequence[Identity]
    decide: Callable[[list[Entry | None], int], Sequence[Write]]
    pack: Callable[[bytes], Packed]

    @property
    def weight(self) -> int:
        """Nothing while it waits: what it writes is made when it runs."""
        return 0

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Read, decide, write."""
        found = [rows.read(db, identity) for identity in self.identities]
        entries = [entry if entry is not None and entry.live_at(now) else None for entry in found]
        writes = self.decide(entries, now)
        allowed = frozenset(self.identities)
        results: list[Any] = []
        changes: list[Change] = []
        for write in writes:
            if write.identities[0] not in allowed:
                raise InternalStoreError(f"a transaction wrote {write.identities[0]}, which it had not announced")
            if isinstance(write, Put) and write.packed is None:
                write = replace(write, packed=self.pack(write.draft.value_json))  # noqa: PLW2901 - the same write
            applied = write.apply(db, now)
            results.append(applied.result)
            changes.extend(applied.changes)
        return Applied(results, changes)
