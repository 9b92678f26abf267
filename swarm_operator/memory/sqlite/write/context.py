"""One transaction of the writer: what its operations changed, and what has to be kept in step with the entries.

Operations change rows and record here what they did. `finish` then writes, once for the whole transaction, what is
derived from the entries: counts by namespace, totals of compression, the highest version that was deleted, the indexes
and the table of changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.changes import ChangeNote
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import index
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, IndexedFields, IndexUpdate
from swarm_operator.memory.sqlite.tables.compression import Codec

# SQLite knows a blob's length from the row's header: this reads no page of the value.
_HEAD = "id, version, created_at, expires_at, size, codec, length(value), tags"
_SELECT_HEAD = f"SELECT {_HEAD}, NULL FROM entries WHERE namespace = ? AND key = ?"  # noqa: S608 - constants only
# The full-text index must be given the text to forget. It has indexed only the start of an uncompressed value.
_SELECT_HEAD_AND_TEXT = f"""
    SELECT {_HEAD}, CASE codec WHEN 0 THEN substr(value, 1, {MAX_TEXT_BYTES}) ELSE value END
    FROM entries WHERE namespace = ? AND key = ?
"""  # noqa: S608
_NO_HEAD: Final = (None, 0, 0, None, 0, Codec.PLAIN, 0, "[]", None)
_COUNT = """
    INSERT INTO namespaces (name, entries, bytes) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes
"""
_FORGET = "DELETE FROM namespaces WHERE name = ? AND entries = 0"
_COMPRESSED = "UPDATE compression SET entries = entries + ?, raw = raw + ?, stored = stored + ? WHERE id = 1"
_HIGHEST_DELETED = "SELECT highest FROM deleted_versions WHERE id = 1"
_RAISE_HIGHEST = "UPDATE deleted_versions SET highest = ? WHERE id = 1 AND highest < ?"


@dataclass(slots=True)
class WriteContext:
    """A transaction of the writer. Only the writer's thread may use it.

    The lists only grow; `rollback_to` removes what an operation that was undone has added.

    Attributes:
        db: the writer's connection, inside the transaction.
        now: the time of the transaction, in milliseconds since the Unix epoch.
        full_text: whether values are in the full-text index.
        states: entries that were written, as they are now, in the order of the writes; None: deleted.
        counts: by how many rows, and by how many bytes of values, namespaces changed.
        stored: rows that came (1) or went (-1): sign, codec, bytes of the value, bytes as they are stored.
        notes: updates of the indexes.
        changes: changes for the feed.
        highest_deleted: the highest version that a deleted entry had.
    """

    db: sqlite3.Connection
    now: int
    full_text: bool = False
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    counts: list[tuple[str, int, int]] = field(default_factory=list)
    stored: list[tuple[int, int, int, int]] = field(default_factory=list)
    notes: list[IndexUpdate] = field(default_factory=list)
    changes: list[ChangeNote] = field(default_factory=list)
    highest_deleted: int = 0
    _highest_before: int = 0

    @classmethod
    def begin(cls, db: sqlite3.Connection, now: int, *, full_text: bool) -> WriteContext:
        """Return the context of a transaction that has begun."""
        highest: int = db.execute(_HIGHEST_DELETED).fetchone()[0]
        return cls(db, now, full_text, highest_deleted=highest, _highest_before=highest)

    def savepoint(self) -> tuple[int, int, int, int, int, int]:
        """Return the present state, for `rollback_to`."""
        lengths = len(self.states), len(self.counts), len(self.stored), len(self.notes), len(self.changes)
        return *lengths, self.highest_deleted

    def rollback_to(self, savepoint: tuple[int, int, int, int, int, int]) -> None:
        """Remove what was recorded since a savepoint."""
        states, counts, stored, notes, changes, self.highest_deleted = savepoint
        del self.states[states:], self.counts[counts:], self.stored[stored:], self.notes[notes:], self.changes[changes:]

    def head(self, identity: Identity) -> tuple[Any, ...]:
        """Return the row's header columns (see _HEAD), or _NO_HEAD if the row does not exist."""
        sql = _SELECT_HEAD_AND_TEXT if self.full_text else _SELECT_HEAD
        return self.db.execute(sql, identity).fetchone() or _NO_HEAD

    def indexed(self, head: tuple[Any, ...]) -> IndexedFields | None:
        """Return what the indexes have of a row; None if the row does not exist."""
        row_id, *_, size, codec, _, tags_json, value = head
        if row_id is None:
            return None
        return IndexedFields(tags_json, None if value is None else index.stored_text(value, codec, size))

    def written_bytes(self) -> int:
        """Return the bytes of values that were stored."""
        return sum(stored for sign, _, _, stored in self.stored if sign > 0)

    def finish(self, *, keep: int) -> list[Change]:
        """Write what is derived from the entries. Return the changes, numbered.

        Args:
            keep: changes that the table of changes keeps.
        """
        self._write_counts()
        self._write_compression()
        if self.highest_deleted > self._highest_before:
            self.db.execute(_RAISE_HIGHEST, (self.highest_deleted, self.highest_deleted))
        index.write(self.db, self.notes, full_text=self.full_text)
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
                self.db.execute(_FORGET, (namespace,))

    def _write_compression(self) -> None:
        entries = raw = stored = 0
        for sign, codec, size, stored_size in self.stored:
            if codec != Codec.PLAIN:
                entries += sign
                raw += sign * size
                stored += sign * stored_size
        if entries or raw or stored:
            self.db.execute(_COMPRESSED, (entries, raw, stored))
