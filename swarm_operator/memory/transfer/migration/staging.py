"""Holds the items of all sources on disk until it is known which of several of the same name is written.

The one that was written last wins; of two of the same time the greater text does. So the result does not depend on the
order of the sources, and a migration that was interrupted and is run again ends as one that was not.
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
    """An item as it is written.

    Attributes:
        source: the label of its source.
        kind: what it is.
        updated_at: when it was last written, in milliseconds.
        line: the line of an export that has it, with its newline.
    """

    source: str
    kind: Kind
    updated_at: int
    line: bytes

    @property
    def content(self) -> tuple[object, object]:
        """Return what makes two items of the same name the same: value and tags."""
        document = orjson.loads(self.line)
        return document["value"], document["tags"]


@dataclass(frozen=True, slots=True)
class Lost:
    """An item that is not written because of another one of its name.

    Attributes:
        item: the item that is not written.
        winner: the other one.
    """

    item: Staged
    winner: Staged

    @property
    def same(self) -> bool:
        """Return whether nothing is lost: both have the same value and tags."""
        return self.item.content == self.winner.content


class Staging:
    """The items by their names.

    Args:
        folder: the directory of its file.
    """

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "staging.db", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, source: str, item: Item) -> Lost | None:
        """Add an item. If there is another one of its name, return that of the two which is not to be written."""
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
        """Yield the items, those of a source and kind together."""
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
