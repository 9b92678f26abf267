"""What searches look up, kept in the transaction that changes the entries: their tags and their texts.

Operations only note which rows changed from what to what. The notes are written once, right before COMMIT: FTS5 writes
a segment of its own at each savepoint, so indexing inside the requests' savepoints would make a segment of each row.

The full-text table keeps no texts, only where words occur. To forget a row it must be told the very text that it was
given, which is made again from the row's former value: so `index_text` can't change without a rebuild (`REVISION`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.core.errors import CorruptValueError
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.tables.compression import decompress

REVISION: Final = 1
"""Of `index_text` and of the table's columns. A file that was indexed by another one is indexed anew when opened."""
MAX_TEXT_BYTES: Final = 64 * 1024
"""The part of a value's JSON whose words are found: its start."""

_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
_INSERT_TEXT = "INSERT INTO entries_text (rowid, namespace, key, value) VALUES (?, ?, ?, ?)"
_FORGET_TEXT = "INSERT INTO entries_text (entries_text, rowid, namespace, key, value) VALUES ('delete', ?, ?, ?, ?)"
_INSERT_TAG = "INSERT INTO entry_tags (tag, namespace, key) VALUES (?, ?, ?)"
_DELETE_TAG = "DELETE FROM entry_tags WHERE tag = ? AND namespace = ? AND key = ?"
_ALL = "SELECT id, namespace, key, value, codec, size FROM entries"
_STATE = "SELECT revision FROM text_index WHERE id = 1"
_SET_STATE = "UPDATE text_index SET revision = ? WHERE id = 1"
# FTS5 merges when so many parts of the index are of the same age. By its default, 4, one commit in a hundred took 10 ms
# at a million entries; with 8, 0.7 ms, and searches take as long.
_MERGE_AT: Final = 8
_MERGES = "SELECT v FROM entries_text_config WHERE k = 'automerge'"
_SET_MERGES = "INSERT INTO entries_text (entries_text, rank) VALUES ('automerge', ?)"
_NO_TAGS: Final = "[]"


class IndexedFields(NamedTuple):
    """What is looked up of a row: its tags as a JSON array, and its text (None: it is not in the full-text index)."""

    tags_json: str
    value: bytes | None


class IndexUpdate(NamedTuple):
    """A row that changed: what it was and what it is; None: there was none, or is none."""

    row_id: int
    identity: Identity
    old: IndexedFields | None
    new: IndexedFields | None


def index_text(value_json: bytes) -> str:
    """The text whose words are found: the start of the value's JSON, names of members included."""
    text = value_json[:MAX_TEXT_BYTES].decode(errors="ignore")
    # In JSON a line break is a backslash and an n, which would stick to the next word.
    return _ESCAPE.sub(" ", text) if "\\" in text else text


def stored_text(value: bytes, codec_number: int, size: int) -> bytes | None:
    """A stored value's JSON, for IndexedFields; None if it is damaged: nobody can say what was indexed."""
    try:
        return decompress(codec_number, value, size)
    except CorruptValueError:
        return None


def write(db: sqlite3.Connection, notes: Iterable[IndexUpdate], *, full_text: bool) -> None:
    """Bring both tables up to date, inside the transaction that changed the rows."""
    changes: dict[tuple[int, Identity], IndexUpdate] = {}
    for note in notes:
        place = (note.row_id, note.identity)
        known = changes.get(place)
        changes[place] = note if known is None else note._replace(old=known.old)
    tags_gone: list[tuple[str, str, str]] = []
    tags_new: list[tuple[str, str, str]] = []
    texts_gone: list[tuple[Any, ...]] = []
    texts_new: list[tuple[Any, ...]] = []
    for note in changes.values():
        old_tags = _NO_TAGS if note.old is None else note.old.tags_json
        new_tags = _NO_TAGS if note.new is None else note.new.tags_json
        if old_tags != new_tags:
            before, after = _tags(old_tags), _tags(new_tags)
            tags_gone += [(tag, *note.identity) for tag in before - after]
            tags_new += [(tag, *note.identity) for tag in after - before]
        if full_text:
            old_text = None if note.old is None or note.old.value is None else index_text(note.old.value)
            new_text = None if note.new is None or note.new.value is None else index_text(note.new.value)
            if old_text != new_text:
                if old_text is not None:
                    texts_gone.append((note.row_id, *note.identity, old_text))
                if new_text is not None:
                    texts_new.append((note.row_id, *note.identity, new_text))
    # A row's number may have gone from one entry to another in this transaction: all that is gone goes first.
    for sql, rows in ((_DELETE_TAG, tags_gone), (_INSERT_TAG, tags_new)):
        if rows:
            db.executemany(sql, rows)
    for sql, texts in ((_FORGET_TEXT, texts_gone), (_INSERT_TEXT, texts_new)):
        if texts:
            db.executemany(sql, texts)


def prepare(db: sqlite3.Connection, *, full_text: bool) -> bool:
    """Make the full-text index as complete as the setting wants it, when the file is opened. False: it was.

    Switched on for a file without it, or with that of another revision: every entry is indexed, in one transaction.
    That takes about 6 s for a million entries of 200 bytes and a log as large as the index. Switched off: emptied.
    """
    if db.execute(_MERGES).fetchone() != (_MERGE_AT,):
        db.execute(_SET_MERGES, (_MERGE_AT,))
    wanted = REVISION if full_text else 0
    if db.execute(_STATE).fetchone()[0] == wanted:
        return False
    with write_transaction(db):
        db.execute("INSERT INTO entries_text (entries_text) VALUES ('delete-all')")
        if full_text:
            db.executemany(_INSERT_TEXT, _every_text(db))
        db.execute(_SET_STATE, (wanted,))
    return True


def _every_text(db: sqlite3.Connection) -> Iterable[tuple[int, str, str, str]]:
    for row_id, namespace, key, value, codec_number, size in db.execute(_ALL):
        raw = stored_text(value, codec_number, size)
        if raw is not None:
            yield row_id, namespace, key, index_text(raw)


def _tags(tags_json: str) -> set[str]:
    return set() if tags_json == _NO_TAGS else set(strict_json.decode(tags_json.encode()))
