"""What a request does inside the writer's transaction. Compare-and-set is decided here, where nothing can come between.

An operation reads the row's head, decides, and writes. An expired row counts as absent for every decision, so results
do not depend on whether it has been collected; writing over it starts a new entry at version 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from swarm_operator.memory.engine.compression import Codec, Packed
from swarm_operator.memory.engine.entry import Draft, Entry, Identity
from swarm_operator.memory.engine.errors import VersionConflictError
from swarm_operator.memory.engine.tally import PackedDelta

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Applied", "Delete", "Operation", "Put"]

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
class Applied:
    """What an operation did.

    Attributes:
        result: for its caller.
        entry: the entry as it is now; None when there is none.
        rows: by how much the namespace's count of rows changed.
        size: by how many bytes of values the namespace changed.
        packed: by how much the compressed rows changed.
        written: bytes of the value as it was stored.
    """

    result: Any
    entry: Entry | None
    rows: int = 0
    size: int = 0
    packed: PackedDelta = field(default_factory=PackedDelta)
    written: int = 0


class Operation(Protocol):
    """A request to the writer."""

    @property
    def identity(self) -> Identity:
        """The entry that it writes."""

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
    def identity(self) -> Identity:
        """The entry that it writes."""
        return self.draft.namespace, self.draft.key

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
        applied = Applied((entry, not live), entry, int(row_id is None), size - old_size, written=len(blob))
        applied.packed.row(-1, old_codec, old_size, old_stored)
        applied.packed.row(1, codec, size, len(blob))
        return applied


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
            return Applied(False, None)
        db.execute(_DELETE, (row_id,))
        applied = Applied(live, None, rows=-1, size=-size)
        applied.packed.row(-1, codec, size, stored)
        return applied
