"""State of a write transaction: the changes of its operations, and the updates of derived data.

Operations change rows and record the changes here. `finish` then updates the derived data once per transaction: counts
by namespace, compression totals, the highest deleted version, the index of tags and the `changes` table. The index of
words is none of them: it follows the changes (see search.words).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.changes import ChangeNote
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.many_rows import RowsStatement
from swarm_operator.memory.sqlite.search import index
from swarm_operator.memory.sqlite.search.index import NO_TAGS, TagUpdate
from swarm_operator.memory.sqlite.tables.compression import Codec

Head: TypeAlias = tuple[Any, ...]
"""Columns of a row that a write needs, see _HEAD."""

# length(value) reads no overflow page: SQLite gets a blob's length from the record header.
_HEAD = "id, version, created_at, expires_at, size, codec, length(value), tags"
_SELECT_HEAD = f"SELECT {_HEAD} FROM entries WHERE namespace = ? AND key = ?"  # noqa: S608 - constants only
NO_HEAD: Final[Head] = (None, 0, 0, None, 0, Codec.PLAIN, 0, NO_TAGS)
_SELECT_HEADS: Final = RowsStatement(
    "WITH wanted (space, name) AS (",
    2,
    f") SELECT namespace, key, {_HEAD} FROM wanted CROSS JOIN entries ON namespace = space AND key = name",  # noqa: S608 - constants only
)
_COUNT = """
    INSERT INTO namespaces (name, entries, bytes) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes
"""
_DELETE_NAMESPACE = "DELETE FROM namespaces WHERE name = ? AND entries = 0"
_COMPRESSED = "UPDATE compression SET entries = entries + ?, raw = raw + ?, stored = stored + ? WHERE id = 1"
_HIGHEST_DELETED = "SELECT highest FROM deleted_versions WHERE id = 1"
_RAISE_HIGHEST = "UPDATE deleted_versions SET highest = ? WHERE id = 1 AND highest < ?"


@dataclass(slots=True)
class WriteContext:
    """A write transaction. Only the writer's thread may use this object.

    Operations only append to the lists; `rollback_to` removes the items of a rolled-back operation.

    Attributes:
        db: the writer's connection, inside the transaction.
        now: the time of the transaction, in milliseconds since the Unix epoch.
        states: new states of the written entries, in write order; None: deleted.
        counts: namespace, change of the number of rows, change of the bytes of values.
        stored: sign (1: row added, -1: row removed), codec, bytes of the value, stored bytes.
        tags: updates of the index of tags.
        changes: changes for the feed.
        highest_deleted: the highest version of all deleted entries.
    """

    db: sqlite3.Connection
    now: int
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    counts: list[tuple[str, int, int]] = field(default_factory=list)
    stored: list[tuple[int, int, int, int]] = field(default_factory=list)
    tags: list[TagUpdate] = field(default_factory=list)
    changes: list[ChangeNote] = field(default_factory=list)
    highest_deleted: int = 0
    _highest_before: int = 0

    @classmethod
    def begin(cls, db: sqlite3.Connection, now: int) -> WriteContext:
        """Return the context of an open transaction."""
        highest: int = db.execute(_HIGHEST_DELETED).fetchone()[0]
        return cls(db, now, highest_deleted=highest, _highest_before=highest)

    def savepoint(self) -> tuple[int, int, int, int, int, int]:
        """Return the current state, for `rollback_to`."""
        lengths = len(self.states), len(self.counts), len(self.stored), len(self.tags), len(self.changes)
        return *lengths, self.highest_deleted

    def rollback_to(self, savepoint: tuple[int, int, int, int, int, int]) -> None:
        """Remove the records added since a savepoint."""
        states, counts, stored, tags, changes, self.highest_deleted = savepoint
        del self.states[states:], self.counts[counts:], self.stored[stored:], self.tags[tags:], self.changes[changes:]

    def head(self, identity: Identity) -> Head:
        """Return the row's header columns (see _HEAD), or NO_HEAD if the row does not exist."""
        return self.db.execute(_SELECT_HEAD, identity).fetchone() or NO_HEAD

    def heads(self, identities: Sequence[Identity]) -> dict[Identity, Head]:
        """Return the header columns of the rows that exist."""
        return {(row[0], row[1]): row[2:] for row in _SELECT_HEADS.execute(self.db, identities)}

    def written_bytes(self) -> int:
        """Return the stored bytes of the written values."""
        return sum(stored for sign, _, _, stored in self.stored if sign > 0)

    def finish(self, *, keep: int) -> list[Change]:
        """Update the derived data. Return the changes with their numbers.

        Args:
            keep: number of changes to keep in the `changes` table.
        """
        self._write_counts()
        self._write_compression()
        if self.highest_deleted > self._highest_before:
            self.db.execute(_RAISE_HIGHEST, (self.highest_deleted, self.highest_deleted))
        index.write_tags(self.db, self.tags)
        return changes.append(self.db, self.changes, now=self.now, keep=keep)

    def _write_counts(self) -> None:
        sums: dict[str, tuple[int, int]] = {}
        for namespace, rows, size in self.counts:
            rows_before, size_before = sums.get(namespace, (0, 0))
            sums[namespace] = (rows_before + rows, size_before + size)
        for namespace, (rows, size) in sums.items():
            if rows or size:
                self.db.execute(_COUNT, (namespace, rows, size))
            if rows < 0:
                self.db.execute(_DELETE_NAMESPACE, (namespace,))

    def _write_compression(self) -> None:
        entries = raw = stored = 0
        for sign, codec, size, stored_size in self.stored:
            if codec != Codec.PLAIN:
                entries += sign
                raw += sign * size
                stored += sign * stored_size
        if entries or raw or stored:
            self.db.execute(_COMPRESSED, (entries, raw, stored))
