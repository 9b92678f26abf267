"""What a request does inside the writer's transaction. Compare-and-set is decided here, where nothing can come between.

An operation reads the row's head, decides, and writes. An expired row counts as absent for every decision, so results
do not depend on whether it has been collected; writing over it starts a new entry at version 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from swarm_operator.memory.engine.entry import Draft, Entry, Identity
from swarm_operator.memory.engine.errors import VersionConflictError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Applied", "Delete", "Operation", "Put"]

_SELECT_HEAD = "SELECT id, version, created_at, expires_at, size FROM entries WHERE namespace = ? AND key = ?"
_INSERT = """
    INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, metadata, value)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE entries SET version = ?, created_at = ?, updated_at = ?, ttl = ?, expires_at = ?, size = ?, tags = ?,
    metadata = ?, value = ? WHERE id = ?
"""
_DELETE = "DELETE FROM entries WHERE id = ?"


@dataclass(slots=True)
class Applied:
    """What an operation did.

    Attributes:
        result: for its caller.
        entry: the entry as it is now; None when there is none.
        rows: by how much the namespace's count of rows changed.
        size: by how many bytes of values the namespace changed.
    """

    result: Any
    entry: Entry | None
    rows: int = 0
    size: int = 0


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
        create_only: fail with VersionConflictError when the entry exists.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    draft: Draft
    create_only: bool = False
    if_version: int | None = None

    @property
    def identity(self) -> Identity:
        """The entry that it writes."""
        return self.draft.namespace, self.draft.key

    @property
    def weight(self) -> int:
        """Bytes of the value and its company."""
        return len(self.draft.value_json) + len(self.draft.metadata_json) + len(self.draft.tags_json)

    def apply(self, db: sqlite3.Connection, now: int) -> Applied:
        """Insert or update, as the conditions allow."""
        draft = self.draft
        head = db.execute(_SELECT_HEAD, (draft.namespace, draft.key)).fetchone()
        row_id, old_version, created_at, old_expiry, old_size = head or (None, 0, now, None, 0)
        if live := row_id is not None and (old_expiry is None or old_expiry > now):
            version = old_version + 1
        else:
            version, created_at = 1, now
        if self.create_only and live:
            raise VersionConflictError(old_version)
        if self.if_version is not None and (not live or old_version != self.if_version):
            raise VersionConflictError(old_version if live else None)
        ttl, size = draft.ttl, len(draft.value_json)
        expires_at = now + ttl * 1000 if ttl else None
        values = (version, created_at, now, ttl, expires_at, size, draft.tags_json, draft.metadata_json)
        if row_id is None:
            db.execute(_INSERT, (draft.namespace, draft.key, *values, draft.value_json))
        else:
            db.execute(_UPDATE, (*values, draft.value_json, row_id))
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
        return Applied((entry, not live), entry, rows=int(row_id is None), size=size - old_size)


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
        row_id, version, _, expires_at, size = head or (None, 0, None, None, 0)
        live = row_id is not None and (expires_at is None or expires_at > now)
        if self.if_version is not None and (not live or version != self.if_version):
            raise VersionConflictError(version if live else None)
        if row_id is None:
            return Applied(False, None)
        db.execute(_DELETE, (row_id,))
        return Applied(live, None, rows=-1, size=-size)
