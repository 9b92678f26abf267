"""The counts that a transaction keeps beside its rows: by namespace, of compression, and of versions that are gone."""

from __future__ import annotations

import sqlite3

from swarm_operator.memory.sqlite.tables.compression import Codec

_COUNT = """
    INSERT INTO namespaces (name, entries, bytes) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes
"""
_FORGET = "DELETE FROM namespaces WHERE name = ? AND entries = 0"
_PACKED = "UPDATE compression SET entries = entries + ?, raw = raw + ?, stored = stored + ? WHERE id = 1"


_HIGHEST_DELETED = "SELECT highest FROM deleted_versions WHERE id = 1"
_RAISE = "UPDATE deleted_versions SET highest = ? WHERE id = 1 AND highest < ?"


def highest_deleted(db: sqlite3.Connection) -> int:
    """The highest version that a deleted entry had."""
    highest: int = db.execute(_HIGHEST_DELETED).fetchone()[0]
    return highest


def raise_highest_deleted(db: sqlite3.Connection, version: int) -> None:
    """An entry of that version is deleted."""
    db.execute(_RAISE, (version, version))


class PackedDelta:
    """By how much the compressed rows changed: their number, the bytes of their values, the bytes of their frames."""

    __slots__ = ("entries", "raw", "stored")

    def __init__(self) -> None:
        self.entries = 0
        self.raw = 0
        self.stored = 0

    def row(self, sign: int, codec: int, size: int, stored: int) -> None:
        """A row came (1) or went (-1); one that isn't compressed changes nothing."""
        if codec != Codec.PLAIN:
            self.entries += sign
            self.raw += sign * size
            self.stored += sign * stored


class Tally:
    """Gathers changes; `write` adds them to the file, in the transaction that made them."""

    def __init__(self) -> None:
        self.packed = PackedDelta()
        self._namespaces: dict[str, list[int]] = {}

    def add(self, namespace: str, *, rows: int, size: int) -> None:
        """By how many rows, and by how many bytes of values, the namespace changed."""
        count = self._namespaces.setdefault(namespace, [0, 0])
        count[0] += rows
        count[1] += size

    def write(self, db: sqlite3.Connection) -> None:
        """Write the sums."""
        for namespace, (rows, size) in self._namespaces.items():
            if rows or size:
                db.execute(_COUNT, (namespace, rows, size))
            if rows < 0:
                db.execute(_FORGET, (namespace,))
        packed = self.packed
        if packed.entries or packed.raw or packed.stored:
            db.execute(_PACKED, (packed.entries, packed.raw, packed.stored))
