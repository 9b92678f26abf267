"""The counts that a transaction keeps beside its rows: entries and bytes by namespace, and what compression saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm_operator.memory.engine.compression import Codec

if TYPE_CHECKING:
    import sqlite3

__all__ = ["PackedDelta", "Tally"]

_COUNT = """
    INSERT INTO namespaces (name, entries, bytes) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes
"""
_FORGET = "DELETE FROM namespaces WHERE name = ? AND entries = 0"
_PACKED = "UPDATE compression SET entries = entries + ?, raw = raw + ?, stored = stored + ? WHERE id = 1"


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
