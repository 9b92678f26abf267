"""Stages the items of all sources on disk, and selects one of several items of the same name.

The item that was written last wins; of two items with equal times, the greater text wins. So the result depends neither
on the order of the sources nor on interruptions of the migration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from swarm_operator.memory.swarm import times
from swarm_operator.memory.transfer.migration.items import Item, Kind

_SCHEMA: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -16384;
    CREATE TABLE items (
        id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL,
        updated_at INTEGER NOT NULL, line BLOB NOT NULL, UNIQUE (namespace, key)
    );
    BEGIN;
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """An item to write.

    Attributes:
        source: label of the source.
        kind: kind of the item.
        updated_at: time of the last write, in milliseconds.
        line: the item as a line of an export, with its newline.
    """

    source: str
    kind: Kind
    updated_at: int
    line: bytes

    @property
    def content(self) -> tuple[object, object]:
        """Return the value and the tags, by which items of one name are compared."""
        document = orjson.loads(self.line)
        return document["value"], document["tags"]


@dataclass(frozen=True, slots=True)
class Lost:
    """An item that loses to another item of the same name.

    Attributes:
        item: the item that is not written.
        winner: the other item.
    """

    item: Staged
    winner: Staged

    @property
    def same(self) -> bool:
        """Return whether nothing is lost: both have the same value and tags."""
        return self.item.content == self.winner.content


class Staging:
    """The staged items by name.

    Args:
        folder: directory of the staging file.
    """

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "staging.db", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, source: str, item: Item) -> Lost | None:
        """Add an item. If another item has its name, return the one of the two that is not written."""
        draft = item.draft
        name = (draft.namespace, draft.key)
        new = Staged(source, item.kind, item.updated_at, _line(item))
        known = self._db.execute(
            "SELECT source, kind, updated_at, line FROM items WHERE namespace = ? AND key = ?", name
        ).fetchone()
        if known is None:
            self._db.execute(
                "INSERT INTO items (namespace, key, source, kind, updated_at, line) VALUES (?, ?, ?, ?, ?, ?)",
                (*name, source, item.kind, item.updated_at, new.line),
            )
            return None
        old = _staged(known)
        if (old.updated_at, old.line) >= (new.updated_at, new.line):
            return Lost(new, old)
        self._db.execute(
            "UPDATE items SET source = ?, kind = ?, updated_at = ?, line = ? WHERE namespace = ? AND key = ?",
            (source, item.kind, item.updated_at, new.line, *name),
        )
        return Lost(old, new)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM items").fetchone()[0])

    def items(self) -> Iterator[Staged]:
        """Yield the items, grouped by source and kind."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_source ON items (source, kind, namespace, key)")
        rows = self._db.execute(
            "SELECT source, kind, updated_at, line FROM items ORDER BY source, kind, namespace, key"
        )
        yield from map(_staged, rows)


def _staged(row: tuple[str, str, int, bytes]) -> Staged:
    return Staged(row[0], Kind(row[1]), row[2], row[3])


def _line(item: Item) -> bytes:
    draft = item.draft
    document = {
        "namespace": draft.namespace,
        "key": draft.key,
        "value": orjson.Fragment(draft.value_json),
        "tags": orjson.Fragment(draft.tags_json),
        "metadata": orjson.Fragment(draft.metadata_json),
        "expiresAt": None if item.expires_at is None else times.to_text(item.expires_at),
        "updatedAt": times.to_text(item.updated_at) if item.updated_at else None,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
