"""Verifies that derived data (counters, tags, text index, vectors, changes) matches the entries. Used by backup.verify.

The page checks of backup.verify run first. The entries are read once. SQLite compares the tables in temporary files.

The index of words may lag behind the changes, see search.words. The rows that it may lack are known, and the check
allows only these.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.entry import check_key, check_namespace, check_tags, check_ttl
from swarm_operator.memory.core.errors import CorruptValueError, InvalidInputError
from swarm_operator.memory.sqlite.backup import vector_consistency
from swarm_operator.memory.sqlite.backup.findings import Findings
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import blocks
from swarm_operator.memory.sqlite.search.identifiers import expanded
from swarm_operator.memory.sqlite.search.index import index_namespace, index_text, stored_text
from swarm_operator.memory.sqlite.search.tokenizer import TOKENIZERS, language_of
from swarm_operator.memory.sqlite.search.words import REVISION
from swarm_operator.memory.sqlite.tables.compression import Codec, decompress

_COMPRESSED: Final = 2
_INDEXED: Final = 3
_CHANGES: Final = 4
_DELETED: Final = 5
_ACCESSES: Final = 6
_FOLLOWS: Final = 8
"""Schema versions that introduced these tables."""
_PROGRESS_INTERVAL: Final = 1000

_ROWS = """
    SELECT id, namespace, key, version, created_at, updated_at, ttl, expires_at, size, tags, metadata, {codec}, value
    FROM entries ORDER BY id
"""
_TAGS_OF_ENTRIES = """
    SELECT each.value, entries.namespace, entries.key
    FROM entries, json_each(CASE WHEN json_valid(tags) THEN tags ELSE '[]' END) AS each
"""
_TAGS = "SELECT tag, namespace, key FROM entry_tags"
# The last change of each entry. max() selects the other columns of its row, https://sqlite.org/lang_select.html.
_NEWEST = """
    SELECT max(changes.seq), changes.namespace, changes.key, op, changes.version, entries.version
    FROM changes LEFT JOIN entries ON entries.namespace = changes.namespace AND entries.key = changes.key
    GROUP BY changes.namespace, changes.key
"""
_LOST_ACCESSES = "SELECT count(*) FROM accesses WHERE id NOT IN (SELECT id FROM entries)"
_MAKE_TEXTS = (
    "CREATE VIRTUAL TABLE temp.made USING fts5 (namespace, key, value, content = '', tokenize = '{}')",
    "CREATE VIRTUAL TABLE temp.made_words USING fts5vocab (temp, made, row)",
    "CREATE VIRTUAL TABLE temp.kept_words USING fts5vocab (main, entries_text, row)",
)
_INSERT_TEXT = "INSERT INTO temp.made (rowid, namespace, key, value) VALUES (?, ?, ?, ?)"
_DOCUMENT = "SELECT 1 FROM entries_text_docsize WHERE id = ?"
_REPLACED_IDS = "SELECT id FROM replaced_texts"
_REPLACED = "SELECT id, namespace, key, value, codec, size FROM replaced_texts"
_PENDING = "SELECT row_id FROM changes WHERE seq > (SELECT position FROM text_index)"
_AHEAD = """
    SELECT position, newest FROM text_index, (SELECT coalesce(max(seq), 0) AS newest FROM changes)
    WHERE position > newest
"""
_TO_BUILD = "SELECT id FROM entries WHERE id > (SELECT built FROM text_index)"
_WORDS = "SELECT term, doc, cnt FROM temp.{}_words"


@dataclass(slots=True)
class Totals:
    """Totals over all entries. `packed` has the columns of the table `compression`."""

    entries: int = 0
    bytes: int = 0
    namespaces: int = 0
    packed: tuple[int, int, int] = (0, 0, 0)


def check(
    db: sqlite3.Connection, version: int, findings: Findings, progress: Callable[[int, int], None] | None
) -> Totals:
    """Check every entry, then the derived data, in the caller's transaction. May raise sqlite3.Error."""
    texts = version >= _INDEXED and _text_revision(db, findings) == REVISION
    if texts:
        for statement in _MAKE_TEXTS:
            db.execute(statement.format(TOKENIZERS[language_of(db)]))
    stale: set[int] = set()
    if texts and version >= _FOLLOWS:
        stale = {row_id for (row_id,) in db.execute(_REPLACED_IDS).fetchall()}
    totals, unreadable = _entries(db, version, findings, progress, texts=texts, stale=stale)
    if version >= _COMPRESSED:
        counted = db.execute("SELECT entries, raw, stored FROM compression WHERE id = 1").fetchone()
        if counted != totals.packed:
            findings.add("table compression", f"it says {counted}, and the entries are {totals.packed}")
    if version >= _INDEXED:
        _tags(db, findings)
    if texts:
        _words(db, findings, unreadable, follows=version >= _FOLLOWS)
    if version >= _CHANGES:
        _changes(db, findings)
    if version >= _DELETED and db.execute("SELECT count(*) FROM deleted_versions WHERE highest >= 0").fetchone() != (
        1,
    ):
        findings.add("table deleted_versions", "it has no highest version")
    if version >= _ACCESSES and (lost := db.execute(_LOST_ACCESSES).fetchone()[0]):
        findings.add("table accesses", f"it has {lost} rows of entries that are not there")
    if version >= _FOLLOWS:
        vector_consistency.check(db, findings)
    return totals


def _entries(
    db: sqlite3.Connection,
    version: int,
    findings: Findings,
    progress: Callable[[int, int], None] | None,
    *,
    texts: bool,
    stale: set[int],
) -> tuple[Totals, set[int]]:
    """Check each row. Return the totals and the rowids of entries with unreadable values.

    With `texts`, add the texts of the rows in the index of words, except rows with a former text in the index
    (`stale`).
    """
    rows = db.execute("SELECT count(*) FROM entries").fetchone()[0]
    counts: dict[str, tuple[int, int]] = {}
    packed = [0, 0, 0]
    unreadable: set[int] = set()
    total = Totals()
    # execute() creates a separate cursor, so the writes in the loop do not affect the iteration.
    for row in db.execute(_ROWS.format(codec="codec" if version >= _COMPRESSED else "0")):
        row_id, namespace, key, *_, size, _tags_json, _metadata_json, codec_number, stored = row
        total.entries += 1
        total.bytes += size
        entries, size_there = counts.get(namespace, (0, 0))
        counts[namespace] = entries + 1, size_there + size
        if codec_number != Codec.PLAIN:
            packed = [packed[0] + 1, packed[1] + size, packed[2] + len(stored)]
        value = _value(codec_number, stored, size)
        if isinstance(value, str):
            unreadable.add(row_id)
            findings.entry(namespace, key, value)
        elif texts and row_id not in stale and db.execute(_DOCUMENT, (row_id,)).fetchone() is not None:
            db.execute(_INSERT_TEXT, _indexed(row_id, namespace, key, value))
        for what in _members(row):
            findings.entry(namespace, key, what)
        if progress is not None and total.entries % _PROGRESS_INTERVAL == 0:
            progress(total.entries, rows)
    if progress is not None:
        progress(total.entries, rows)
    total.namespaces, total.packed = len(counts), (packed[0], packed[1], packed[2])
    kept = {name: (entries, size) for name, entries, size in db.execute("SELECT name, entries, bytes FROM namespaces")}
    for name in sorted(counts.keys() | kept.keys()):
        if counts.get(name) != kept.get(name):
            said, are = (
                f"{pair[0]} entries of {pair[1]} bytes" for pair in (kept.get(name, (0, 0)), counts.get(name, (0, 0)))
            )
            findings.add(f"namespace {name!r}", f"the table namespaces says {said}, and there are {are}")
    return total, unreadable


def _value(codec_number: int, stored: bytes, size: int) -> bytes | str:
    """Return the value's JSON, or a problem description."""
    try:
        raw = decompress(codec_number, stored, size)
    except CorruptValueError as error:
        return f"its value is damaged: {error}"
    if len(raw) != size:
        return f"its value has {len(raw)} bytes, and its row says {size}"
    try:
        strict_json.decode(raw)
    except ValueError as error:
        return f"its value is not JSON: {error}"
    return raw


def _members(row: tuple[Any, ...]) -> list[str]:
    """Return the problems of a row, except those of its value."""
    _, namespace, key, version, created_at, updated_at, ttl, expires_at, _, tags, metadata, *_ = row
    wrong: list[str] = []
    try:
        check_namespace(namespace)
        check_key(key)
        check_ttl(ttl)
    except InvalidInputError as error:
        wrong.append(f"its {error}")
    try:
        listed = strict_json.decode(tags.encode())
        if not isinstance(listed, list) or list(check_tags(listed)) != listed:
            wrong.append("its tags are not a list of different strings")
    except (ValueError, InvalidInputError) as error:
        wrong.append(f"its tags can't be read: {error}")
    try:
        if not isinstance(strict_json.decode(metadata.encode()), dict):
            wrong.append("its metadata is not an object")
    except ValueError as error:
        wrong.append(f"its metadata is not JSON: {error}")
    if version < 1:
        wrong.append(f"its version is {version}")
    if updated_at < created_at:
        wrong.append("it was updated before it was created")
    if expires_at != (updated_at + ttl * 1000 if ttl else None):
        wrong.append(f"it expires at {expires_at}, which is not its ttl of {ttl} s after its last write, {updated_at}")
    return wrong


def _tags(db: sqlite3.Connection, findings: Findings) -> None:
    for sql, what in (
        (f"{_TAGS_OF_ENTRIES} EXCEPT {_TAGS}", "is not in the table entry_tags"),
        (f"{_TAGS} EXCEPT {_TAGS_OF_ENTRIES}", "is in the table entry_tags, and the entry does not have it"),
    ):
        for tag, namespace, key in db.execute(sql):
            findings.entry(namespace, key, f"its tag {tag!r} {what}")


def _text_revision(db: sqlite3.Connection, findings: Findings) -> int | None:
    """Return the revision of the text index; 0 if empty. Opening the file rebuilds an index of another revision."""
    found = db.execute("SELECT revision FROM text_index WHERE id = 1").fetchone()
    if found is None:
        findings.add("table text_index", "it does not say what is indexed")
        return None
    revision: int = found[0]
    return revision


def _words(db: sqlite3.Connection, findings: Findings, unreadable: set[int], *, follows: bool) -> None:
    """Compare rows and words of the text index with the entries. Words of damaged values are unknown."""
    there, behind = "SELECT id FROM entries", ""
    if follows:
        there += f" EXCEPT {_REPLACED_IDS}"
        behind = f" EXCEPT {_PENDING} EXCEPT {_TO_BUILD}"
        for row_id, namespace, key, value, codec_number, size in db.execute(_REPLACED):
            text = stored_text(value, codec_number, size)
            if text is None:
                unreadable.add(row_id)
            else:
                db.execute(_INSERT_TEXT, _indexed(row_id, namespace, key, text))
        for position, newest in db.execute(_AHEAD):
            findings.add("index of words", f"it has the change {position}, and the last one is {newest}")
        for (row_id,) in db.execute(f"{_REPLACED_IDS} EXCEPT {_PENDING}"):
            findings.add("index of words", f"row {row_id} has a former text there, and no change that is to come")
    for sql, what in (
        ("SELECT id FROM entries EXCEPT SELECT id FROM entries_text_docsize" + behind, "is not in the index of words"),  # noqa: S608 - constants only
        (
            "SELECT id FROM entries_text_docsize EXCEPT " + there,  # noqa: S608
            "is in the index of words, and not there",
        ),
    ):
        for (row_id,) in db.execute(sql):
            if row_id not in unreadable:
                findings.add("index of words", f"row {row_id} {what}")
    if unreadable:
        return
    kept, made = _WORDS.format("kept"), _WORDS.format("made")
    for sql, what in (
        (f"{made} EXCEPT {kept}", "is in {} entries {} times, and the index says otherwise"),
        (f"{kept} EXCEPT {made}", "is said to be in {} entries {} times, and is not"),
    ):
        for word, entries, times in db.execute(sql):
            findings.add("index of words", f"{json.dumps(word)} " + what.format(entries, times))


def _indexed(row_id: int, namespace: str, key: str, value: bytes) -> tuple[int, str, str, str]:
    """Return the columns of an entry in the index of words."""
    tokens = f"{index_namespace(namespace)} {blocks.token(row_id)}"
    return row_id, tokens, expanded(key), expanded(index_text(value))


def _changes(db: sqlite3.Connection, findings: Findings) -> None:
    first, last, count = db.execute("SELECT min(seq), max(seq), count(*) FROM changes").fetchone()
    if count and last - first + 1 != count:
        findings.add("table changes", f"{last - first + 1 - count} are missing between {first} and {last}")
    for (op,) in db.execute("SELECT DISTINCT op FROM changes").fetchall():
        if op not in set(Op):
            findings.add("table changes", f"{op} is not a kind of change")
    for seq, namespace, key, op, version, there in db.execute(_NEWEST):
        if op == Op.PUT and there != version:
            now = "it is not there" if there is None else f"it has version {there}"
            findings.entry(namespace, key, f"its last change, {seq}, wrote version {version}, and {now}")
        elif op != Op.PUT and there is not None:
            findings.entry(namespace, key, f"its last change, {seq}, deleted it, and it is there")
