"""What a request does inside the writer's transaction. Compare-and-set is decided here, where nothing can come between.

An operation reads what it needs, decides, and writes. An expired row counts as absent for every decision, so what
succeeds does not depend on whether it has been collected.

The versions of an entry only ever grow, also when it was deleted and is created anew: a new entry begins above the
highest version of all that were deleted. So a version that a client remembers is that value or none.

Put, Delete and Update are one entry each; Batch and Transaction are several that hold or fail together. What each
may write is known before it runs: copies of those entries are dropped first (see lookup).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.errors import (
    BatchItemError,
    CorruptValueError,
    InternalStoreError,
    MemoryStoreError,
    StorageError,
    VersionConflictError,
)
from swarm_operator.memory.core.writes import Delete, Write
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, Indexed, Note, stored_text
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.change_log import ChangeNote
from swarm_operator.memory.sqlite.tables.compression import Codec, Packed

# SQLite knows a blob's length from the row's header: this reads no page of the value.
_HEAD = "id, version, created_at, expires_at, size, codec, length(value), tags"
_SELECT_HEAD = f"SELECT {_HEAD}, NULL FROM entries WHERE namespace = ? AND key = ?"  # noqa: S608 - constants only
# The full-text index must be told what it is to forget. Of a plain value it has only seen the start.
_SELECT_HEAD_AND_TEXT = f"""
    SELECT {_HEAD}, CASE codec WHEN 0 THEN substr(value, 1, {MAX_TEXT_BYTES}) ELSE value END
    FROM entries WHERE namespace = ? AND key = ?
"""  # noqa: S608
_INSERT = """
    INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, metadata, value,
    codec) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE entries SET version = ?, created_at = ?, updated_at = ?, ttl = ?, expires_at = ?, size = ?, tags = ?,
    metadata = ?, value = ?, codec = ? WHERE id = ?
"""
_DELETE = "DELETE FROM entries WHERE id = ?"
_NO_HEAD = (None, 0, 0, None, 0, Codec.PLAIN, 0, "[]", None)


@dataclass(slots=True)
class Work:
    """A transaction of the writer: what operations work on, and where they note what they did.

    The lists only grow; what an operation that is undone has added is cut off again, see `apply_alone`.

    Attributes:
        db: the writer's connection, inside the transaction. Only its own thread may touch it.
        now: the transaction's moment, in milliseconds since the Unix epoch.
        full_text: whether values are in the full-text index.
        states: the entries that were written, as they are now, in the order of the writes; None: there is none.
        counts: by how many rows, and by how many bytes of values, namespaces changed.
        packed: rows that came (1) or went (-1): sign, codec, bytes of the value, bytes as they are stored.
        notes: what the indexes must learn.
        changes: what watches must learn.
        highest_deleted: the highest version that a deleted entry had.
    """

    db: sqlite3.Connection
    now: int
    full_text: bool = False
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    counts: list[tuple[str, int, int]] = field(default_factory=list)
    packed: list[tuple[int, int, int, int]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    changes: list[ChangeNote] = field(default_factory=list)
    highest_deleted: int = 0

    def marks(self) -> tuple[int, int, int, int, int, int]:
        """Where things stand now, for `cut`."""
        lengths = len(self.states), len(self.counts), len(self.packed), len(self.notes), len(self.changes)
        return *lengths, self.highest_deleted

    def cut(self, marks: tuple[int, int, int, int, int, int]) -> None:
        """Forget what came since."""
        states, counts, packed, notes, changes, self.highest_deleted = marks
        del self.states[states:], self.counts[counts:], self.packed[packed:], self.notes[notes:], self.changes[changes:]

    def head(self, identity: Identity) -> tuple[Any, ...]:
        """What there is of a row, see _HEAD; _NO_HEAD when there is none."""
        sql = _SELECT_HEAD_AND_TEXT if self.full_text else _SELECT_HEAD
        return self.db.execute(sql, identity).fetchone() or _NO_HEAD

    def indexed(self, head: tuple[Any, ...]) -> Indexed | None:
        """What the indexes know of a row."""
        row_id, *_, size, codec, _, tags_json, value = head
        if row_id is None:
            return None
        return Indexed(tags_json, None if value is None else stored_text(value, codec, size))


class Operation(Protocol):
    """A request to the writer."""

    @property
    def identities(self) -> Sequence[Identity]:
        """The entries that it may write."""

    @property
    def weight(self) -> int:
        """Bytes that it holds while it waits."""

    def apply(self, work: Work) -> Any:
        """Do it, inside a savepoint; return the answer for its caller. An exception undoes it and no other."""


@dataclass(frozen=True, slots=True)
class PutOperation:
    """Write an entry. The result is (entry, created).

    Attributes:
        draft: what to write.
        packed: its value as it is to be stored.
        create_only: fail with VersionConflictError when the entry exists.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    draft: Draft
    packed: Packed
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
        frame = 0 if packed.blob is draft.value_json else len(packed.blob)
        return len(draft.value_json) + frame + len(draft.metadata_json) + len(draft.tags_json)

    def apply(self, work: Work) -> tuple[Entry, bool]:
        """Insert or update, as the conditions allow."""
        db, now, draft = work.db, work.now, self.draft
        identity = (draft.namespace, draft.key)
        head = work.head(identity)
        row_id, old_version, created_at, old_expiry, old_size, old_codec, old_stored, *_ = head
        if live := row_id is not None and (old_expiry is None or old_expiry > now):
            version = old_version + 1
        else:
            version, created_at = max(old_version, work.highest_deleted) + 1, now
        if self.create_only and live:
            raise VersionConflictError(old_version)
        if self.if_version is not None and (not live or old_version != self.if_version):
            raise VersionConflictError(old_version if live else None)
        codec, blob = self.packed.codec, self.packed.blob
        ttl, size = draft.ttl, len(draft.value_json)
        expires_at = now + ttl * 1000 if ttl else None
        values = (version, created_at, now, ttl, expires_at, size, draft.tags_json, draft.metadata_json)
        if row_id is None:
            cursor = db.execute(_INSERT, (draft.namespace, draft.key, *values, blob, codec))
            new_id = cursor.lastrowid
            assert new_id is not None  # noqa: S101 - for mypy: it was an INSERT
        else:
            new_id = row_id
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
        if work.full_text or draft.tags_json != "[]" or head[7] != "[]":
            new = Indexed(draft.tags_json, draft.value_json if work.full_text else None)
            work.notes.append(Note(new_id, identity, work.indexed(head), new))
        work.changes.append((draft.namespace, draft.key, Op.PUT, version))
        work.states.append((identity, entry))
        work.counts.append((draft.namespace, int(row_id is None), size - old_size))
        if old_codec:
            work.packed.append((-1, old_codec, old_size, old_stored))
        work.packed.append((1, codec, size, len(blob)))
        return entry, not live


@dataclass(frozen=True, slots=True)
class DeleteOperation:
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

    def apply(self, work: Work) -> bool:
        """Delete the row, as the condition allows; an expired one is swept away and counts as not found."""
        head = work.head(self.identity)
        row_id, version, _, expires_at, size, codec, stored, *_ = head
        live = row_id is not None and (expires_at is None or expires_at > work.now)
        if self.if_version is not None and (not live or version != self.if_version):
            raise VersionConflictError(version if live else None)
        work.states.append((self.identity, None))
        if row_id is not None:
            work.db.execute(_DELETE, (row_id,))
            work.notes.append(Note(row_id, self.identity, work.indexed(head), None))
            work.highest_deleted = max(work.highest_deleted, version)
            work.changes.append((*self.identity, Op.DELETE if live else Op.EXPIRE, version))
            work.counts.append((self.identity[0], -1, -size))
            work.packed.append((-1, codec, size, stored))
        return live


def operation_of(write: Write, pack: Callable[[bytes], Packed]) -> PutOperation | DeleteOperation:
    """Return the operation that carries out a write."""
    if isinstance(write, Delete):
        return DeleteOperation(write.identity, write.if_version)
    return PutOperation(write.draft, pack(write.draft.value_json), write.create_only, write.if_version)


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """Several writes in their order. The result is the list of theirs.

    Attributes:
        writes: what to do. A later one sees what an earlier one did.
        atomic: all or none: the first that fails undoes all and is raised as BatchItemError. Else each stands alone,
            and the result of one that failed is its MemoryStoreError.
    """

    writes: Sequence[PutOperation | DeleteOperation]
    atomic: bool = True

    @property
    def identities(self) -> list[Identity]:
        """Those of its writes."""
        return [write.identities[0] for write in self.writes]

    @property
    def weight(self) -> int:
        """The sum of its writes."""
        return sum(write.weight for write in self.writes)

    def apply(self, work: Work) -> list[Any]:
        """Apply one after the other."""
        results: list[Any] = []
        for index, write in enumerate(self.writes):
            try:
                results.append(write.apply(work))
            except MemoryStoreError as error:
                if self.atomic:
                    raise BatchItemError(index, error) from error
                results.append(error)
        return results


@dataclass(frozen=True, slots=True)
class TransactionOperation:
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

    def apply(self, work: Work) -> list[Any]:
        """Read, decide, write."""
        writes = self.decide([_live(work, identity) for identity in self.identities], work.now)
        allowed = frozenset(self.identities)
        results: list[Any] = []
        for write in writes:
            if write.identity not in allowed:
                raise InternalStoreError(f"a transaction wrote {write.identity}, which it had not announced")
            results.append(operation_of(write, self.pack).apply(work))
        return results


@dataclass(frozen=True, slots=True)
class UpdateOperation:
    """Read an entry and write what is made of it; nothing comes between. The result is (entry, written).

    `entry` is the entry as it is now, None when there is none; `written` is False when `change` left it as it was.

    Attributes:
        identity: which.
        change: gets the live entry, or None; gives what to write, or None to leave it. Else as Transaction.decide.
        pack: how a value that it writes is to be stored.
    """

    identity: Identity
    change: Callable[[Entry | None], Draft | None]
    pack: Callable[[bytes], Packed]

    @property
    def identities(self) -> tuple[Identity]:
        """The entry that it may write."""
        return (self.identity,)

    @property
    def weight(self) -> int:
        """Nothing while it waits: what it writes is made when it runs."""
        return 0

    def apply(self, work: Work) -> tuple[Entry | None, bool]:
        """Read, change, write."""
        entry = _live(work, self.identity)
        draft = self.change(entry)
        if draft is None:
            return entry, False
        if (draft.namespace, draft.key) != self.identity:
            raise InternalStoreError(f"an update of {self.identity} wrote {(draft.namespace, draft.key)}")
        written, _ = PutOperation(draft, self.pack(draft.value_json)).apply(work)
        return written, True


def apply_alone(work: Work, operation: Operation) -> Any:
    """Apply one operation in a savepoint of its own: its error undoes it and is returned as a MemoryStoreError.

    Raises:
        Exception: the transaction as a whole can't go on.
    """
    db = work.db
    if isinstance(operation, PutOperation | DeleteOperation):
        return _apply_statement(work, operation)
    marks = work.marks()
    db.execute("SAVEPOINT request")
    try:
        result = operation.apply(work)
    except Exception as error:
        reason = from_sqlite(error)
        # A damaged value is its own entry's trouble: the file as a whole still works.
        fatal = isinstance(reason, StorageError) and not isinstance(reason, CorruptValueError)
        if fatal or not db.in_transaction:
            raise
        db.execute("ROLLBACK TO request")
        db.execute("RELEASE request")
        work.cut(marks)
        return reason
    db.execute("RELEASE request")
    return result


def _apply_statement(work: Work, operation: PutOperation | DeleteOperation) -> Any:
    """The same for an operation that decides first and then writes by one statement, which SQLite does whole or not.

    It spares two statements of five: a fifth of what a write costs.
    """
    marks = work.marks()
    try:
        return operation.apply(work)
    except (MemoryStoreError, sqlite3.Error) as error:
        reason = from_sqlite(error)
        if isinstance(reason, StorageError) or not work.db.in_transaction:
            raise
        work.cut(marks)
        return reason


def _live(work: Work, identity: Identity) -> Entry | None:
    entry = entry_rows.read(work.db, identity)
    return entry if entry is not None and entry.live_at(work.now) else None
