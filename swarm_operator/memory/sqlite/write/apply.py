"""Write operations, and their commit as one batch on the writer's thread. Compare-and-set conditions are checked here.

An operation reads rows, checks its conditions, and writes. Expired rows count as absent in every condition, so the
result does not depend on garbage collection.

Versions of an entry only increase, even if the entry is deleted and created again: new entries start above the highest
version of all deleted entries. So a version known to a client identifies one value or none.

PutOperation and DeleteOperation write one entry, and checked.CheckedPutOperation one that may have a twin. `batch` has
the operations that read before they write, or write several entries. `run` has puts that are written together. The
entries that an operation may write are known before it runs: their cached copies are dropped first (see read.entries).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.errors import (
    CorruptValueError,
    MemoryStoreError,
    StorageError,
    VersionConflictError,
)
from swarm_operator.memory.core.writes import Delete, Write
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.search.index import NO_TAGS
from swarm_operator.memory.sqlite.tables.compression import Codec, StoredValue
from swarm_operator.memory.sqlite.vectors import table as vectors
from swarm_operator.memory.sqlite.write.context import Head, WriteContext

sqlite3.register_adapter(Codec, int)  # as in database.driver
COLUMNS: Final = (
    "version", "created_at", "updated_at", "ttl", "expires_at", "size", "tags", "metadata", "value", "codec",
    "updated_by",
)  # fmt: skip
"""Columns of `entries` that a put writes, besides ID, namespace and key."""
_INSERT: Final = f"""
    INSERT INTO entries (namespace, key, {", ".join(COLUMNS)}) VALUES (?, ?, {", ".join("?" * len(COLUMNS))})
"""  # noqa: S608 - constants only
_UPDATE: Final = f"UPDATE entries SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE id = ?"  # noqa: S608
_DELETE = "DELETE FROM entries WHERE id = ?"
_TRIAL_BYTES: Final = 256 * 1024


class Applicable(Protocol):
    """Something that writes in a transaction."""

    def apply(self, context: WriteContext) -> Any:
        """Run inside a savepoint and return the result for the caller. An exception rolls back only this operation."""


class Operation(Applicable, Protocol):
    """A write request, queued for the writer."""

    @property
    def identities(self) -> Sequence[Identity]:
        """Return the entries that the operation may write."""

    @property
    def weight(self) -> int:
        """Return the bytes held while the operation is queued."""


class PutOperation(NamedTuple):
    """Writes an entry. The result is (entry, created).

    Attributes:
        draft: the entry to write.
        packed: the value in its stored form.
        create_only: fail with VersionConflictError when the entry exists.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    draft: Draft
    packed: StoredValue
    create_only: bool = False
    if_version: int | None = None

    @property
    def identity(self) -> Identity:
        """Return the entry that the operation writes."""
        return self.draft.namespace, self.draft.key

    @property
    def identities(self) -> tuple[Identity]:
        """Return the entry that the operation writes."""
        return ((self.draft.namespace, self.draft.key),)

    @property
    def weight(self) -> int:
        """Return the bytes held while queued: value, compressed copy, metadata, tags and vector."""
        draft, packed = self.draft, self.packed
        frame = 0 if packed.blob is draft.value_json else len(packed.blob)
        vector = 0 if draft.vector is None else len(draft.vector)
        return len(draft.value_json) + frame + len(draft.metadata_json) + len(draft.tags_json) + vector

    def apply(self, context: WriteContext) -> tuple[Entry, bool]:
        """Insert or update the row if the conditions hold. `run` does so for many puts together."""
        db, draft = context.db, self.draft
        head = context.head((draft.namespace, draft.key))
        entry, created = self.check(context, head)
        if draft.vector is not None:
            vectors.check_width(db, draft.namespace, draft.vector)
        row_id = head[0]
        if row_id is None:
            row_id = db.execute(_INSERT, (draft.namespace, draft.key, *self.columns(entry))).lastrowid
            assert row_id is not None  # noqa: S101 - for mypy: it was an INSERT
        else:
            words.forget(db, row_id, draft.namespace, head[4])
            db.execute(_UPDATE, (*self.columns(entry), row_id))
        if draft.vector is not None:
            vectors.put(db, row_id, draft.namespace, draft.vector)
        self.record(context, head, row_id, entry)
        return entry, created

    def check(self, context: WriteContext, head: Head) -> tuple[Entry, bool]:
        """Return what to write over a row, and whether it is a new entry. Raise VersionConflictError."""
        draft, _, create_only, if_version = self
        namespace, key, value, tags, metadata, ttl, _, author = draft
        row_id, old_version, created_at, old_expiry, _, _, _, _ = head
        now = context.now
        if live := row_id is not None and (old_expiry is None or old_expiry > now):
            version = old_version + 1
        else:
            version, created_at = max(old_version, context.highest_deleted) + 1, now
        if create_only and live:
            raise VersionConflictError(old_version)
        if if_version is not None and (not live or old_version != if_version):
            raise VersionConflictError(old_version if live else None)
        expires_at = now + ttl * 1000 if ttl else None
        entry = Entry(namespace, key, value, tags, metadata, ttl, version, created_at, now, expires_at, author)
        return entry, not live

    def columns(self, entry: Entry) -> tuple[Any, ...]:
        """Return what to write into COLUMNS."""
        _, _, value, tags, metadata, ttl, version, created_at, updated_at, expires_at, author, _ = entry
        codec, blob = self.packed
        return version, created_at, updated_at, ttl, expires_at, len(value), tags, metadata, blob, codec, author

    def record(self, context: WriteContext, head: Head, row_id: int, entry: Entry) -> None:
        """Record in the context what is written over a row."""
        old_id, _, _, _, old_size, old_codec, old_stored, old_tags = head
        namespace, key, value, tags, *_ = entry
        identity, size = (namespace, key), len(value)
        if tags != old_tags:
            context.tags.append((identity, old_tags, tags))
        context.changes.append((namespace, key, Op.PUT, entry.version, row_id, entry.updated_by))
        context.states.append((identity, entry))
        context.counts.append((namespace, int(old_id is None), size - old_size))
        if old_codec:
            context.stored.append((-1, old_codec, old_size, old_stored))
        codec, blob = self.packed
        context.stored.append((1, codec, size, len(blob)))


class DeleteOperation(NamedTuple):
    """Deletes an entry. The result is whether a live entry existed.

    Attributes:
        identity: the entry to delete.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    identity: Identity
    if_version: int | None = None

    @property
    def identities(self) -> tuple[Identity]:
        """Return the entry that the operation deletes."""
        return (self.identity,)

    @property
    def weight(self) -> int:
        """Return zero: a delete carries no value."""
        return 0

    def apply(self, context: WriteContext) -> bool:
        """Delete the row if the condition holds. An expired row is deleted but counts as not found."""
        head = context.head(self.identity)
        row_id, version, _, expires_at, size, codec, stored, tags = head
        live = row_id is not None and (expires_at is None or expires_at > context.now)
        if self.if_version is not None and (not live or version != self.if_version):
            raise VersionConflictError(version if live else None)
        context.states.append((self.identity, None))
        if row_id is not None:
            words.forget(context.db, row_id, self.identity[0], size)
            context.db.execute(_DELETE, (row_id,))
            if tags != NO_TAGS:
                context.tags.append((self.identity, tags, NO_TAGS))
            context.highest_deleted = max(context.highest_deleted, version)
            context.changes.append((*self.identity, Op.DELETE if live else Op.EXPIRE, version, row_id, None))
            context.counts.append((self.identity[0], -1, -size))
            context.stored.append((-1, codec, size, stored))
        return live


def operation_of(write: Write, pack: Callable[[bytes], StoredValue]) -> PutOperation | DeleteOperation:
    """Return the operation that carries out a write."""
    if isinstance(write, Delete):
        return DeleteOperation(write.identity, write.if_version)
    return PutOperation(write.draft, pack(write.draft.value_json), write.create_only, write.if_version)


def apply_in_savepoint(context: WriteContext, operation: Applicable) -> Any:
    """Apply an operation in its own savepoint. On error, roll the operation back and return a MemoryStoreError.

    Raises:
        Exception: the whole transaction must be rolled back.
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
        # A corrupt value affects only its own entry; the database remains usable.
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
    """Apply an operation without a savepoint: its conditions precede its single write statement, which is atomic.

    This saves two of five statements, 20% of the cost of a write.
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


def apply_alone(context: WriteContext, operations: Sequence[Operation]) -> list[Any]:
    """Apply operations one by one, each in a savepoint. Return the result of each, or its MemoryStoreError."""
    return [apply_in_savepoint(context, operation) for operation in operations]


@dataclass(slots=True)
class Outcome:
    """Result of a batch.

    Attributes:
        results: the result or the error of each operation, in order.
        states: new states of the written entries, in write order; empty if the batch failed.
        changes: changes for the feed, in order; empty if the batch failed.
        written: stored bytes of the written values.
        changed: whether the batch wrote to the database.
        failure: error of the whole batch; None if the batch was committed.
    """

    results: list[Any]
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    changes: Sequence[Change] = ()
    written: int = 0
    changed: bool = False
    failure: MemoryStoreError | None = None


def commit_batch(
    db: sqlite3.Connection,
    operations: Sequence[Operation],
    now: Callable[[], int],
    *,
    keep: int,
    apply: Callable[[WriteContext, Sequence[Operation]], list[Any]] = apply_alone,
) -> Outcome:
    """Apply operations in order and commit them. Return failures in the outcome; never raise.

    The clock is read once, inside the transaction, so that times within a batch never decrease.

    Args:
        db: the writer's connection.
        operations: the operations of the batch.
        now: returns the time in milliseconds since the Unix epoch.
        keep: number of changes to keep in the `changes` table.
        apply: applies the operations in order, and returns the result of each or its MemoryStoreError.
    """
    outcome = Outcome([])
    before = db.total_changes
    try:
        with write_transaction(db):
            context = WriteContext.begin(db, now())
            outcome.results = apply(context, operations)
            outcome.states = context.states
            outcome.written = context.written_bytes()
            outcome.changes = context.finish(keep=keep)
            outcome.changed = db.total_changes != before
    except Exception as error:  # noqa: BLE001 - the error is returned to every caller of the batch
        reason = from_sqlite(error)
        # Each caller gets a copy: raising one exception object in many tasks would mix their tracebacks.
        return Outcome([copy.copy(reason) for _ in operations], failure=reason)
    return outcome


def trial_write(db: sqlite3.Connection) -> None:
    """Write and commit 256 KiB of incompressible data, then delete them. Raises sqlite3.Error."""
    with write_transaction(db):
        db.execute("INSERT OR REPLACE INTO write_probe (id, filler) VALUES (1, ?)", (os.urandom(_TRIAL_BYTES),))
    db.execute("DELETE FROM write_probe")
