"""Search indexes of tags and texts, updated in the transaction that changes the entries.

Operations record index updates, which are written once, right before COMMIT. FTS5 writes a new segment at each
savepoint, so indexing inside the savepoints of requests would create one segment per row.

The full-text table is contentless. To delete a row, FTS5 needs the exact text that was indexed, which is computed from
the old value. Therefore a change of `index_text` requires a rebuild (`REVISION`).

The column `namespace` of the full-text table holds tokens in place of words: a search that is limited to namespaces
must not count or rank entries of others, and the words of `a.b` are those of `a:b`.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.core.errors import CorruptValueError
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction
from swarm_operator.memory.sqlite.tables.compression import decompress

REVISION: Final = 2
"""Revision of `index_text`, of the tokens of namespaces and of the columns. Opening a file with another revision
rebuilds its index."""
MAX_TEXT_BYTES: Final = 64 * 1024
"""Length of the indexed prefix of a value's JSON."""

_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
_INSERT_TEXT = "INSERT INTO entries_text (rowid, namespace, key, value) VALUES (?, ?, ?, ?)"
_DELETE_TEXT = "INSERT INTO entries_text (entries_text, rowid, namespace, key, value) VALUES ('delete', ?, ?, ?, ?)"
_INSERT_TAG = "INSERT INTO entry_tags (tag, namespace, key) VALUES (?, ?, ?)"
_DELETE_TAG = "DELETE FROM entry_tags WHERE tag = ? AND namespace = ? AND key = ?"
_ALL = "SELECT id, namespace, key, value, codec, size FROM entries"
_STATE = "SELECT revision FROM text_index WHERE id = 1"
_SET_STATE = "UPDATE text_index SET revision = ? WHERE id = 1"
# Segments on one level that start an automerge, https://sqlite.org/fts5.html#the_automerge_configuration_option. With
# the default of 4, 1% of commits took 10 ms at a million entries; with 8, 0.7 ms. Search times are equal.
_MERGE_AT: Final = 8
_MERGES = "SELECT v FROM entries_text_config WHERE k = 'automerge'"
_SET_MERGES = "INSERT INTO entries_text (entries_text, rank) VALUES ('automerge', ?)"
_NO_TAGS: Final = "[]"


class IndexedFields(NamedTuple):
    """Indexed fields of a row: tags as a JSON array, and the value (None: not in the full-text index)."""

    tags_json: str
    value: bytes | None


class IndexUpdate(NamedTuple):
    """Old and new indexed fields of a changed row. None: the row did not exist, or was deleted."""

    row_id: int
    identity: Identity
    old: IndexedFields | None
    new: IndexedFields | None


def index_text(value_json: bytes) -> str:
    """Return the text to index: the start of the value's JSON, including member names."""
    text = value_json[:MAX_TEXT_BYTES].decode(errors="ignore")
    # JSON escapes a line break as \n; the tokenizer would join the n to the next word.
    return _ESCAPE.sub(" ", text) if "\\" in text else text


def exact_token(namespace: str) -> str:
    """Return the token that the entries of a namespace have."""
    return "x" + _digest(namespace)


def subtree_token(root: str) -> str:
    """Return the token that the entries of a namespace and of those below it have."""
    return "s" + _digest(root)


@functools.lru_cache(maxsize=1024)
def index_namespace(namespace: str) -> str:
    """Return the text to index for a namespace: its own token, and the token of each subtree that contains it."""
    roots = [namespace[:end] for end, char in enumerate(namespace) if char == "/" and end]
    return " ".join([exact_token(namespace), *map(subtree_token, roots), subtree_token(namespace)])


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def stored_text(value: bytes, codec_number: int, size: int) -> bytes | None:
    """Return the JSON of a stored value; None if the value is damaged, as its indexed text is then unknown."""
    try:
        return decompress(codec_number, value, size)
    except CorruptValueError:
        return None


def write(db: sqlite3.Connection, notes: Iterable[IndexUpdate], *, full_text: bool) -> None:
    """Update both indexes inside the transaction that changed the rows."""
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
                namespace, key = note.identity
                if old_text is not None:
                    texts_gone.append((note.row_id, index_namespace(namespace), key, old_text))
                if new_text is not None:
                    texts_new.append((note.row_id, index_namespace(namespace), key, new_text))
    # Delete first: a rowid may have moved from one entry to another in this transaction.
    for sql, rows in ((_DELETE_TAG, tags_gone), (_INSERT_TAG, tags_new)):
        if rows:
            db.executemany(sql, rows)
    for sql, texts in ((_DELETE_TEXT, texts_gone), (_INSERT_TEXT, texts_new)):
        if texts:
            db.executemany(sql, texts)


def prepare(db: sqlite3.Connection, *, full_text: bool) -> bool:
    """Build or empty the full-text index to match the setting, when a file is opened. Return False if unchanged.

    A missing index, or one of another revision, is rebuilt in one transaction. For a million entries of 200 bytes this
    takes about 6 s, and the WAL grows to the size of the index. If full text is disabled, the index is emptied.
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


def prepare_opened(db: sqlite3.Connection, config: StoreConfig) -> None:
    """Prepare the index of a file that is being opened, and keep its write-ahead log short."""
    with translated():
        if prepare(db, full_text=config.full_text) and config.enable_wal:
            checkpoint.truncate(db)


def _every_text(db: sqlite3.Connection) -> Iterable[tuple[int, str, str, str]]:
    for row_id, namespace, key, value, codec_number, size in db.execute(_ALL):
        raw = stored_text(value, codec_number, size)
        if raw is not None:
            yield row_id, index_namespace(namespace), key, index_text(raw)


def _tags(tags_json: str) -> set[str]:
    return set() if tags_json == _NO_TAGS else set(strict_json.decode(tags_json.encode()))
