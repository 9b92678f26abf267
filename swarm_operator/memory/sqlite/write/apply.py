"""Operations, and a batch of them as one transaction on the writer's thread. Compare-and-set is decided here.

An operation reads what it needs, decides, and writes. An expired row counts as absent for every decision, so what
succeeds does not depend on whether it has been collected.

The versions of an entry only ever grow, also when it was deleted and is created anew: a new entry begins above the
highest version of all that were deleted. So a version that a client remembers is that value or none.

Put, Delete and Update are one entry each; Batch and Transaction are several that hold or fail together. What each
may write is known before it runs: copies of those entries are dropped first (see lookup).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from swarm_operator.memory.core.changes import Change, Op
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
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search.index import IndexedFields, IndexUpdate
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.compression import StoredValue
from swarm_operator.memory.sqlite.write.context import WriteContext

_INSERT = """
    INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, metadata, value,
    codec) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE entries SET version = ?, created_at = ?, updated_at = ?, ttl = ?, expires_at = ?, size = ?, tags = ?,
    metadata = ?, value = ?, codec = ? WHERE id = ?
"""
_TRIAL_BYTES = 256 * 1024
_DELETE = "DELETE FROM entries WHERE id = ?"


class Operation(Protocol):
    """A request to the writer."""

    @property
    def identities(self) -> Sequence[Identity]:
        """The entries that it may write."""

    @property
    def weight(self) -> int:
        """Bytes that it holds while it waits."""

    def apply(self, context: WriteContext) -> Any:
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
    packed: StoredValue
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

    def apply(self, context: WriteContext) -> tuple[Entry, bool]:
        """Insert or update, as the conditions allow."""
        db, now, draft = context.db, context.now, self.draft
        identity = (draft.namespace, draft.key)
        head = context.head(identity)
        row_id, old_version, created_at, old_expiry, old_size, old_codec, old_stored, *_ = head
        if live := row_id is not None and (old_expiry is None or old_expiry > now):
            version = old_version + 1
        else:
            version, created_at = max(old_version, context.highest_deleted) + 1, now
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
        if context.full_text or draft.tags_json != "[]" or head[7] != "[]":
            new = IndexedFields(draft.tags_json, draft.value_json if context.full_text else None)
            context.notes.append(IndexUpdate(new_id, identity, context.indexed(head), new))
        context.changes.append((draft.namespace, draft.key, Op.PUT, version))
        context.states.append((identity, entry))
        context.counts.append((draft.namespace, int(row_id is None), size - old_size))
        if old_codec:
            context.stored.append((-1, old_codec, old_size, old_stored))
        context.stored.append((1, codec, size, len(blob)))
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

    def apply(self, context: WriteContext) -> bool:
        """Delete the row, as the condition allows; an expired one is swept away and counts as not found."""
        head = context.head(self.identity)
        row_id, version, _, expires_at, size, codec, stored, *_ = head
        live = row_id is not None and (expires_at is None or expires_at > context.now)
        if self.if_version is not None and (not live or version != self.if_version):
            raise VersionConflictError(version if live else None)
        context.states.append((self.identity, None))
        if row_id is not None:
            context.db.execute(_DELETE, (row_id,))
            context.notes.append(IndexUpdate(row_id, self.identity, context.indexed(head), None))
            context.highest_deleted = max(context.highest_deleted, version)
            context.changes.append((*self.identity, Op.DELETE if live else Op.EXPIRE, version))
            context.counts.append((self.identity[0], -1, -size))
            context.stored.append((-1, codec, size, stored))
        return live


def operation_of(write: Write, pack: Callable[[bytes], StoredValue]) -> PutOperation | DeleteOperation:
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

    def apply(self, context: WriteContext) -> list[Any]:
        """Apply one after the other."""
        results: list[Any] = []
        for index, write in enumerate(self.writes):
            try:
                results.append(write.apply(context))
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
    pack: Callable[[bytes], StoredValue]

    @property
    def weight(self) -> int:
        """Nothing while it waits: what it writes is made when it runs."""
        return 0

    def apply(self, context: WriteContext) -> list[Any]:
        """Read, decide, write."""
        writes = self.decide([_live(context, identity) for identity in self.identities], context.now)
        allowed = frozenset(self.identities)
        results: list[Any] = []
        for write in writes:
            if write.identity not in allowed:
                raise InternalStoreError(f"a transaction wrote {write.identity}, which it had not announced")
            results.append(operation_of(write, self.pack).apply(context))
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
    pack: Callable[[bytes], StoredValue]

    @property
    def identities(self) -> tuple[Identity]:
        """The entry that it may write."""
        return (self.identity,)

    @property
    def weight(self) -> int:
        """Nothing while it waits: what it writes is made when it runs."""
        return 0

    def apply(self, context: WriteContext) -> tuple[Entry | None, bool]:
        """Read, change, write."""
        entry = _live(context, self.identity)
        draft = self.change(entry)
        if draft is None:
            return entry, False
        if (draft.namespace, draft.key) != self.identity:
            raise InternalStoreError(f"an update of {self.identity} wrote {(draft.namespace, draft.key)}")
        written, _ = PutOperation(draft, self.pack(draft.value_json)).apply(context)
        return written, True


def apply_in_savepoint(context: WriteContext, operation: Operation) -> Any:
    """Apply one operation in a savepoint of its own: its error undoes it and is returned as a MemoryStoreError.

    Raises:
        Exception: the transaction as a whole can't go on.
    """
    db = context.db
    if isinstance(operation, PutOperation | DeleteOperation):
        return _apply_statement(context, operation)
    savepoint = context.savepoint()
    db.execute("SAVEPOINT request")
    try:
        result = operation.apply(context)
    except Exception as error:
        reason = from_sqlite(error)
        # A damaged value is its own entry's trouble: the file as a whole still works.
        fatal = isinstance(reason, StorageError) and not isinstance(reason, CorruptValueError)
        if fatal or not db.in_transaction:
            raise
        db.execute("ROLLBACK TO request")
        db.execute("RELEASE request")
        context.rollback_to(savepoint)
        return reason
    db.execute("RELEASE request")
    return result


def _apply_statement(context: WriteContext, operation: PutOperation | DeleteOperation) -> Any:
    """The same for an operation that decides first and then writes by one statement, which SQLite does whole or not.

    It spares two statements of five: a fifth of what a write costs.
    """
    savepoint = context.savepoint()
    try:
        return operation.apply(context)
    except (MemoryStoreError, sqlite3.Error) as error:
        reason = from_sqlite(error)
        if isinstance(reason, StorageError) or not context.db.in_transaction:
            raise
        context.rollback_to(savepoint)
        return reason


def _live(context: WriteContext, identity: Identity) -> Entry | None:
    entry = entry_rows.read(context.db, identity)
    return entry if entry is not None and entry.live_at(context.now) else None


@dataclass(slots=True)
class Outcome:
    """How a batch ended.

    Attributes:
        results: for each operation, in order: its result, or the error for its caller.
        states: what the touched entries are now, in the order of their writes; empty when the batch failed.
        changes: for those who watch, in order; empty when the batch failed.
        written: bytes of values as they were stored.
        changed: whether anything was written.
        failure: why the batch as a whole failed; None when it was committed.
    """

    results: list[Any]
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    changes: Sequence[Change] = ()
    written: int = 0
    changed: bool = False
    failure: MemoryStoreError | None = None


def commit_batch(
    db: sqlite3.Connection, operations: Sequence[Operation], now: Callable[[], int], *, full_text: bool, keep: int
) -> Outcome:
    """Apply operations in order and commit them. Never raises: a failure is part of the outcome.

    The clock is read once, inside the transaction, so that times in a batch do not run backwards.

    Args:
        db: the writer's connection.
        operations: what to do.
        now: the clock, in milliseconds.
        full_text: whether values are in the full-text index.
        keep: changes that the feed's table keeps.
    """
    outcome = Outcome([])
    before = db.total_changes
    try:
        with write_transaction(db):
            context = WriteContext.begin(db, now(), full_text=full_text)
            outcome.results = [apply_in_savepoint(context, operation) for operation in operations]
            outcome.states = context.states
            outcome.written = context.written_bytes()
            outcome.changes = context.finish(keep=keep)
            outcome.changed = db.total_changes != before
    except Exception as error:  # noqa: BLE001 - it becomes the answer to every caller of the batch
        reason = from_sqlite(error)
        # Each caller gets an error of its own: one exception object raised in many tasks would mix their tracebacks.
        return Outcome([copy.copy(reason) for _ in operations], failure=reason)
    return outcome


def trial_write(db: sqlite3.Connection) -> None:
    """Write 256 KiB that can't be compressed away, commit, and take them back. Raises what SQLite raises."""
    with write_transaction(db):
        db.execute("INSERT OR REPLACE INTO write_probe (id, filler) VALUES (1, ?)", (os.urandom(_TRIAL_BYTES),))
    db.execute("DELETE FROM write_probe")
