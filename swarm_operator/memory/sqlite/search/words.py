"""Updates of the index of words from the change feed, on the writer's thread between the commits of clients.

A commit writes rows, tags and changes, but no words. `advance` then takes the next changes and replaces the texts of
their rows in the index. The new position of the index is part of the same transaction, so a crash loses nothing: the
next step continues from the position.

In a commit of 16 writes, the words of each write took 40 us. A step of 500 rows takes a quarter of that per row, mostly
in SQLite without Python's lock, because a few statements copy the texts from table to table. Python processes only
texts with escapes and compressed texts one by one. The identifiers (see search.identifiers) of all texts of a step are
found in one call.

The full-text table is contentless, so FTS5 needs the indexed text of a row to delete its words. At the time of a step,
that text of an overwritten row no longer exists. Therefore triggers keep it in `replaced_texts`. Rejected alternatives:

- `contentless_delete=1` of FTS5, which needs no text. It requires SQLite 3.43; the wheel of pysqlite3 has 3.53, but
  without a wheel the standard library may have 3.40, which could not open such a file. It was slower, too: an overwrite
  took 58 us in steps of 256 instead of 38 us, because each delete writes a page of marks.
- A table with its own texts: works everywhere, but stores each text twice; 62 us.
- Row IDs that are never reused, with old ones skipped: the old words would never be removed from the index.

With none of these alternatives could the index of an older file stay unchanged.

Texts longer than LONG are removed from the index in the commit that changes their row (`forget`). A kept text would
take up to 64 KiB of the disk and of the log, and a delete on a full disk must not need that space.

So each snapshot has three kinds of rows, and `backup.consistency` checks that there are no others:

    in the index with its own text
    in the index with the text in `replaced_texts`, and with a change after the position
    not in the index, and with a change after the position, or not reached by a rebuild

The index is rebuilt if the feed no longer has the changes after its position, or if the revision or the language has
changed. The rebuild creates the table again, sets the position to the last change, and adds the rows in ID order. Its
steps also process new changes.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final, NamedTuple

from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction
from swarm_operator.memory.sqlite.search import blocks, identifiers
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, index_namespace, index_text, stored_text
from swarm_operator.memory.sqlite.search.tokenizer import language_of, make_table

REVISION: Final = 4
"""Revision of `index_text`, `identifiers.expanded`, the tokens of namespaces and blocks, the tokenizers and the
columns. Opening a file with another revision rebuilds its index."""
MAX_CHANGES: Final = 512
"""Maximum number of changes per step, and of rows of a rebuild."""
MAX_BYTES: Final = 256 * 1024
"""Maximum bytes of texts per step, counting _ROW_BYTES per row: some 10 ms."""
LONG: Final = 4096
"""Bytes of a value's JSON above which its text is not kept when the row changes."""
_ROW_BYTES: Final = 128
_MAX_NAMESPACES: Final = 10_000
"""Maximum number of namespaces whose tokens a connection caches."""

_STATE = "SELECT revision, position, built FROM text_index WHERE id = 1"
_SET_STATE = "UPDATE text_index SET revision = ?, position = ?, built = ? WHERE id = 1"
_REPLACED = "SELECT id FROM replaced_texts"
# Tables of the writer's connection: the tokens of namespaces, the texts of a step, and its rows, created last.
_PREPARED = "SELECT 1 FROM temp.sqlite_schema WHERE name = 'indexing'"
_PREPARE = (
    "CREATE TEMP TABLE IF NOT EXISTS namespace_words (namespace TEXT PRIMARY KEY, words TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TEMP TABLE IF NOT EXISTS texts (
        place INTEGER PRIMARY KEY, command TEXT, id INTEGER, words TEXT, key TEXT, text TEXT
    )
    """,
    "CREATE TEMP TABLE indexing (id INTEGER PRIMARY KEY)",
)


def _cost(row: str) -> str:
    """Return the SQL of the bytes to read or decompress for the text of a row."""
    return f"coalesce(CASE {row}.codec WHEN 0 THEN min({row}.size, {MAX_TEXT_BYTES}) ELSE {row}.size END, 0)"


def _text(row: str) -> str:
    """Return the SQL of the text of a row, not expanded; NULL if it has none or a damaged one. See index.index_text."""
    return f"""
        CASE WHEN {row}.codec IS NULL THEN NULL
        WHEN {row}.codec = 0 AND {row}.size <= {MAX_TEXT_BYTES} AND instr({row}.value, x'5c') = 0
        THEN CAST({row}.value AS TEXT)
        ELSE indexed_text(
            CASE {row}.codec WHEN 0 THEN substr({row}.value, 1, {MAX_TEXT_BYTES}) ELSE {row}.value END,
            {row}.codec, {row}.size
        ) END
    """


# The window takes three times as long as the sum, so it is used only for long texts.
_SUM = "SELECT max(place), count(*), coalesce(sum(cost), 0) <= :bytes FROM ({})"
_END = """
    SELECT coalesce(max(place) FILTER (WHERE total <= :bytes), min(place)), count(*)
    FROM (SELECT place, sum(cost) OVER (ORDER BY place) AS total FROM ({}))
"""
_CHANGES = f"""
    SELECT c.seq AS place, {_ROW_BYTES} + {_cost("e")} + {_cost("r")} AS cost
    FROM changes c LEFT JOIN entries e ON e.id = c.row_id LEFT JOIN replaced_texts r ON r.id = c.row_id
    WHERE c.seq > :after ORDER BY c.seq LIMIT :rows
"""  # noqa: S608 - constants only
_ROWS = f"""
    SELECT e.id AS place, {_ROW_BYTES} + {_cost("e")} AS cost
    FROM entries e WHERE e.id > :after ORDER BY e.id LIMIT :rows
"""  # noqa: S608
_TAKE_CHANGES = "INSERT OR IGNORE INTO indexing SELECT row_id FROM changes WHERE seq > ? AND seq <= ?"
_TAKE_ROWS = "INSERT OR IGNORE INTO indexing SELECT id FROM entries WHERE id > ? AND id <= ?"
_TAKEN = "(SELECT id FROM indexing)"
_KEEP_EQUAL = f"""
    DELETE FROM replaced_texts AS r WHERE id IN {_TAKEN} AND EXISTS (
        SELECT 1 FROM entries e WHERE e.id = r.id AND e.namespace = r.namespace AND e.key = r.key
        AND e.codec = r.codec AND e.size = r.size
        AND r.value = CASE e.codec WHEN 0 THEN substr(e.value, 1, {MAX_TEXT_BYTES}) ELSE e.value END
    )
"""  # noqa: S608 - constants only
_UNREADABLE = f"SELECT 1 FROM replaced_texts r WHERE r.id IN {_TAKEN} AND r.codec <> 0 AND {_text('r')} IS NULL"  # noqa: S608
_NEW_NAMESPACES = f"""
    SELECT namespace FROM entries WHERE id IN {_TAKEN} UNION SELECT namespace FROM replaced_texts WHERE id IN {_TAKEN}
    EXCEPT SELECT namespace FROM namespace_words
"""  # noqa: S608
# FTS5 writes a segment whenever a row ID is below the previous one. So each row is deleted directly before it is added,
# with row IDs in the outer loop. Sorting the texts instead took 1.7 times as long.
_TAKE_TEXTS = f"""
    INSERT INTO texts (command, id, words, key, text)
    SELECT
        CASE t.former WHEN 1 THEN 'delete' END, i.id, n.words || ' ' || {blocks.token_sql("i.id")},
        CASE t.former WHEN 1 THEN r.key ELSE e.key END,
        CASE t.former WHEN 1 THEN {_text("r")} ELSE {_text("e")} END AS text
    FROM indexing i CROSS JOIN (SELECT 1 AS former UNION ALL SELECT 0) t
    LEFT JOIN replaced_texts r ON r.id = i.id LEFT JOIN entries e ON e.id = i.id
    JOIN namespace_words n ON n.namespace = CASE t.former WHEN 1 THEN r.namespace ELSE e.namespace END
    WHERE text IS NOT NULL AND (
        t.former OR r.id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM entries_text_docsize d WHERE d.id = i.id)
    )
"""  # noqa: S608
# All keys and texts of a step, and the bytes of each. An aggregate processes the rows in the order of the scan.
_ALL_TEXTS = """
    SELECT group_concat(length(CAST(key AS BLOB)) || ' ' || length(CAST(text AS BLOB)), ' '),
    CAST(group_concat(key || char(10) || text, char(10)) AS BLOB) FROM texts
"""
_EXPAND = """
    UPDATE texts SET {0} = texts.{0} || added.value FROM json_each(?) AS added
    WHERE texts.place = CAST(added.key AS INTEGER)
"""
_EXPANDED = ("key", "text")
_REPLACE_TEXTS = """
    INSERT INTO entries_text (entries_text, rowid, namespace, key, value)
    SELECT command, id, words, key, text FROM texts ORDER BY place
"""
_FORGET = f"""
    INSERT INTO entries_text (entries_text, rowid, namespace, key, value)
    SELECT 'delete', id, ?, key || added(CAST(key AS BLOB)), text || added(CAST(text AS BLOB))
    FROM (SELECT e.id, e.key, {_text("e")} AS text FROM entries e WHERE e.id = ?)
    WHERE text IS NOT NULL AND EXISTS (SELECT 1 FROM entries_text_docsize d WHERE d.id = ?)
    AND NOT EXISTS (SELECT 1 FROM replaced_texts r WHERE r.id = ?)
"""  # noqa: S608 - constants only
_FORGET_REPLACED = f"DELETE FROM replaced_texts WHERE id IN {_TAKEN}"  # noqa: S608


class State(NamedTuple):
    """State of the index.

    Attributes:
        revision: revision of the texts; 0 if the index is switched off and empty.
        position: position of the last change in the index.
        built: last row ID of a rebuild; None if the index is complete up to `position`.
    """

    revision: int
    position: int
    built: int | None


class Step(NamedTuple):
    """Result of a step.

    Attributes:
        state: the state after the step.
        rows: number of rows whose texts were replaced.
        cut: whether the step ended early because of long texts.
    """

    state: State
    rows: int
    cut: bool


def state(db: sqlite3.Connection) -> State:
    """Return the state of the index in the caller's snapshot."""
    return State(*db.execute(_STATE).fetchall()[0])


def replaced(db: sqlite3.Connection) -> frozenset[int]:
    """Return the IDs of the rows whose indexed text is not their current text."""
    return frozenset(row_id for (row_id,) in db.execute(_REPLACED).fetchall())


def prepare(db: sqlite3.Connection, *, full_text: bool, language: str) -> State:
    """Make the index match the settings when a file is opened: empty it, or begin to rebuild it. Return its state."""
    revision = REVISION if full_text else 0
    with translated():
        if state(db).revision != revision or (full_text and language_of(db) != language):
            with write_transaction(db):
                _begin(db, revision, language)
        return state(db)


def catch_up(db: sqlite3.Connection) -> None:
    """Bring the index to the last change. A current rebuild continues later."""
    while (found := state(db)).revision and found.position != changes.bounds(db)[1]:
        advance(db, language_of(db))


def move(db: sqlite3.Connection, position: int) -> None:
    """Give the last change another position, in the caller's transaction. The index must have had all changes."""
    found = state(db)
    db.execute(_SET_STATE, (found.revision, position, found.built))


def long_text(size: int) -> int:
    """Return the bytes of text that `forget` tokenizes for a value of this size."""
    return min(size, MAX_TEXT_BYTES) if size > LONG else 0


def forget(db: sqlite3.Connection, row_id: int, namespace: str, size: int) -> None:
    """Remove the words of a long text from the index, in the caller's transaction, directly before its row is changed.

    Do nothing if the text is short, if the index does not have the row's current text, or if the text is damaged.
    """
    if size <= LONG:
        return
    _prepare_connection(db)
    tokens = f"{index_namespace(namespace)} {blocks.token(row_id)}"
    db.execute(_FORGET, (tokens, row_id, row_id, row_id))


def advance(db: sqlite3.Connection, language: str) -> Step:
    """Index some changes and some rows of a rebuild, in one transaction.

    If the index has another language than the settings, begin a rebuild.
    """
    with translated():
        _prepare_connection(db)
        with write_transaction(db):
            return _advance(db, language)


def _advance(db: sqlite3.Connection, language: str) -> Step:
    found = state(db)
    oldest, newest = changes.bounds(db)
    if not oldest <= found.position <= newest or language_of(db) != language:
        _begin(db, REVISION, language)
        return Step(state(db), 0, cut=False)
    position, built = found.position, found.built
    cut = False
    db.execute("DELETE FROM indexing")
    if position < newest:
        end, seen = _end(db, _CHANGES, position)
        cut = end - position < seen
        db.execute(_TAKE_CHANGES, (position, end))
        position = end
    if built is not None:
        last, _ = _end(db, _ROWS, built)
        if last is not None:
            db.execute(_TAKE_ROWS, (built, last))
        built = last
    rows: int = db.execute("SELECT count(*) FROM indexing").fetchone()[0]
    if not _replace_texts(db):
        _begin(db, REVISION, language)
        return Step(state(db), rows, cut)
    db.execute(_SET_STATE, (REVISION, position, built))
    return Step(State(REVISION, position, built), rows, cut)


def _replace_texts(db: sqlite3.Connection) -> bool:
    """Replace the texts of the step's rows. Return False if a text can't be removed because it is damaged."""
    db.execute(_KEEP_EQUAL)
    if db.execute(_UNREADABLE).fetchone() is not None:
        return False
    new = [name for (name,) in db.execute(_NEW_NAMESPACES).fetchall()]
    if new:
        if db.execute("SELECT count(*) FROM namespace_words").fetchone()[0] + len(new) > _MAX_NAMESPACES:
            db.execute("DELETE FROM namespace_words")
            new = [name for (name,) in db.execute(_NEW_NAMESPACES).fetchall()]
        db.executemany("INSERT INTO namespace_words VALUES (?, ?)", [(name, index_namespace(name)) for name in new])
    db.execute(_TAKE_TEXTS)
    _expand_texts(db)
    db.execute(_REPLACE_TEXTS)
    db.execute("DELETE FROM texts")
    db.execute(_FORGET_REPLACED)
    return True


def _expand_texts(db: sqlite3.Connection) -> None:
    """Append the parts of identifiers to the keys and texts of a step."""
    lengths, texts = db.execute(_ALL_TEXTS).fetchone()
    if texts is None:
        return
    # The number 0 is the key at place 1, 1 the text there, 2 the key at place 2.
    added: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for number, parts in identifiers.additions(texts, [*map(int, lengths.split())]):
        added[number % 2][number // 2 + 1] = parts
    for column, rows in zip(_EXPANDED, added, strict=True):
        if rows:
            db.execute(_EXPAND.format(column), (json.dumps(rows),))


def _end(db: sqlite3.Connection, costs: str, after: int) -> tuple[Any, int]:
    """Return the last change or row ID of the step, and the number of those up to MAX_CHANGES."""
    bounds = {"after": after, "bytes": MAX_BYTES, "rows": MAX_CHANGES}
    place, seen, short = db.execute(_SUM.format(costs), bounds).fetchone()
    if not short:
        place, seen = db.execute(_END.format(costs), bounds).fetchone()
    return place, seen


def _begin(db: sqlite3.Connection, revision: int, language: str) -> None:
    """Empty the index, and begin a rebuild unless the revision is 0."""
    make_table(db, language)
    db.execute("DELETE FROM replaced_texts")
    any_rows = db.execute("SELECT EXISTS (SELECT 1 FROM entries)").fetchone()[0]
    db.execute(_SET_STATE, (revision, changes.bounds(db)[1], 0 if revision and any_rows else None))


def _prepare_connection(db: sqlite3.Connection) -> None:
    if db.execute(_PREPARED).fetchone() is None:
        db.create_function("indexed_text", 3, _indexed_text, deterministic=True)
        db.create_function("added", 1, identifiers.addition, deterministic=True)
        for statement in _PREPARE:
            db.execute(statement)


def _indexed_text(value: bytes, codec: int, size: int) -> str | None:
    raw = stored_text(value, codec, size)
    return None if raw is None else index_text(raw)
