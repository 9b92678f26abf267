"""Index of words: how it is brought up to the change feed. Runs on the writer's thread, between the commits of clients.

A commit writes rows, tags and changes, and no words. `advance` then takes the next changes and replaces the texts of
their rows in the index, in one transaction with the position that the index has come to. So a crash between two steps,
or within one, loses nothing: the next step goes on from the position. A commit of 16 writes used to spend 40 us on the
words of each; a step of 500 rows spends a quarter of that, and most of it in SQLite without Python's lock: the texts
of a step pass from table to table in one statement. Only texts with escapes or in compressed form go through Python.

The full-text table is contentless, so FTS5 needs the text of a row to forget its words, and when a step comes to an
overwritten row, that text is gone. Therefore triggers keep it in `replaced_texts`: the text that the index has of a row
that has changed since. These ways were not taken:

- `contentless_delete=1` of FTS5, which needs no text. It needs SQLite 3.43; the wheel of pysqlite3 has 3.53, and the
  standard library that stands in for it, where there is no wheel, may have 3.40, which could not open such a file. It
  was slower, too: an overwrite took 58 us in steps of 256, in place of 38 us, as each delete writes a page of marks.
- A table with its texts: works everywhere, and stores each text twice; 62 us.
- Row IDs that are never reused, with the old ones skipped: nothing would ever take the old words out of the index.

The index of an older file stays as it is, which none of these could have done.

Texts longer than LONG are forgotten in the commit that changes their row (`forget`): to keep them would take up to
64 KiB of the disk and of the log for each, which a full disk does not have when entries are deleted from it.

So there are three kinds of rows, in every snapshot, and `backup.consistency` checks that there is no other:

    in the index with its own text
    in the index with the text in `replaced_texts`, and with a change behind the position
    not in the index, and with a change behind the position, or not reached by a rebuild

A position that the feed does not reach back to, or another revision, means a rebuild: the index is emptied, takes the
last change as its position, and steps add the rows in the order of their IDs, beside the changes that come meanwhile.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, index_namespace, index_text, stored_text

REVISION: Final = 2
"""Revision of `index_text`, of the tokens of namespaces and of the columns. Opening a file with another revision
rebuilds its index."""
MAX_CHANGES: Final = 512
"""Maximum number of changes per step, and of rows of a rebuild."""
MAX_BYTES: Final = 256 * 1024
"""Bytes of texts per step, each with _ROW_BYTES, after which the step ends: some 10 ms."""
LONG: Final = 4096
"""Bytes of a value's JSON above which its text is not kept when the row changes."""
_ROW_BYTES: Final = 128
_MAX_NAMESPACES: Final = 10_000
"""Maximum number of namespaces whose tokens a connection keeps."""

# Segments on one level that start an automerge, https://sqlite.org/fts5.html#the_automerge_configuration_option. With
# the default of 4, 1% of commits took 10 ms at a million entries; with 8, 0.7 ms. Search times are equal.
_MERGE_AT: Final = 8
_MERGES = "SELECT v FROM entries_text_config WHERE k = 'automerge'"
_SET_MERGES = "INSERT INTO entries_text (entries_text, rank) VALUES ('automerge', ?)"

_STATE = "SELECT revision, position, built FROM text_index WHERE id = 1"
_SET_STATE = "UPDATE text_index SET revision = ?, position = ?, built = ? WHERE id = 1"
_REPLACED = "SELECT id FROM replaced_texts"
# Tables of the writer's connection: the tokens of namespaces, and the rows of a step, which is made last.
_PREPARED = "SELECT 1 FROM temp.sqlite_schema WHERE name = 'indexing'"
_PREPARE = (
    "CREATE TEMP TABLE IF NOT EXISTS namespace_words (namespace TEXT PRIMARY KEY, words TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TEMP TABLE indexing (id INTEGER PRIMARY KEY)",
)


def _cost(row: str) -> str:
    """Return the SQL of the bytes to read or decompress for the text of a row."""
    return f"coalesce(CASE {row}.codec WHEN 0 THEN min({row}.size, {MAX_TEXT_BYTES}) ELSE {row}.size END, 0)"


def _text(row: str) -> str:
    """Return the SQL of the text to index of a row; NULL if its value is damaged. See index.index_text."""
    return f"""
        CASE WHEN {row}.codec = 0 AND {row}.size <= {MAX_TEXT_BYTES} AND instr({row}.value, x'5c') = 0
        THEN CAST({row}.value AS TEXT)
        ELSE indexed_text(
            CASE {row}.codec WHEN 0 THEN substr({row}.value, 1, {MAX_TEXT_BYTES}) ELSE {row}.value END,
            {row}.codec, {row}.size
        ) END
    """


_END = """
    SELECT coalesce(max(place) FILTER (WHERE total <= :bytes), min(place)), count(*)
    FROM (SELECT place, sum(cost) OVER (ORDER BY place) AS total FROM ({}))
"""
_END_OF_CHANGES = _END.format(f"""
    SELECT c.seq AS place, {_ROW_BYTES} + {_cost("e")} + {_cost("r")} AS cost
    FROM changes c LEFT JOIN entries e ON e.id = c.row_id LEFT JOIN replaced_texts r ON r.id = c.row_id
    WHERE c.seq > :after ORDER BY c.seq LIMIT :rows
""")  # noqa: S608 - constants only
_END_OF_ROWS = _END.format(f"""
    SELECT e.id AS place, {_ROW_BYTES} + {_cost("e")} AS cost
    FROM entries e WHERE e.id > :after ORDER BY e.id LIMIT :rows
""")  # noqa: S608
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
# FTS5 writes a segment whenever a row ID is below the one before. So each row is forgotten right before it is added.
_REPLACE_TEXTS = f"""
    INSERT INTO entries_text (entries_text, rowid, namespace, key, value)
    WITH texts AS MATERIALIZED (
        SELECT 'delete' AS command, r.id, n.words, r.key, {_text("r")} AS text
        FROM indexing i JOIN replaced_texts r ON r.id = i.id JOIN namespace_words n ON n.namespace = r.namespace
        UNION ALL
        SELECT NULL, e.id, n.words, e.key, {_text("e")}
        FROM indexing i JOIN entries e ON e.id = i.id JOIN namespace_words n ON n.namespace = e.namespace
        WHERE NOT EXISTS (SELECT 1 FROM entries_text_docsize d WHERE d.id = i.id)
        OR EXISTS (SELECT 1 FROM replaced_texts r WHERE r.id = i.id)
    )
    SELECT command, id, words, key, text FROM texts WHERE text IS NOT NULL ORDER BY id, command IS NULL
"""  # noqa: S608
_FORGET = f"""
    INSERT INTO entries_text (entries_text, rowid, namespace, key, value)
    SELECT 'delete', id, ?, key, text
    FROM (SELECT e.id, e.key, {_text("e")} AS text FROM entries e WHERE e.id = ?)
    WHERE text IS NOT NULL AND EXISTS (SELECT 1 FROM entries_text_docsize d WHERE d.id = ?)
    AND NOT EXISTS (SELECT 1 FROM replaced_texts r WHERE r.id = ?)
"""  # noqa: S608 - constants only
_FORGET_REPLACED = f"DELETE FROM replaced_texts WHERE id IN {_TAKEN}"  # noqa: S608


class State(NamedTuple):
    """What is in the index.

    Attributes:
        revision: revision of the texts; 0 if the index is switched off and empty.
        position: the last change that the index has.
        built: the row ID that a rebuild has come to; None if the index is complete up to `position`.
    """

    revision: int
    position: int
    built: int | None


class Step(NamedTuple):
    """Result of a step.

    Attributes:
        state: the state after it.
        rows: number of rows whose texts were replaced.
        cut: whether the step ended for the length of the texts.
    """

    state: State
    rows: int
    cut: bool


def state(db: sqlite3.Connection) -> State:
    """Return what is in the index, in the caller's snapshot."""
    return State(*db.execute(_STATE).fetchall()[0])


def replaced(db: sqlite3.Connection) -> frozenset[int]:
    """Return the IDs of the rows of which the index has another text than their own."""
    return frozenset(row_id for (row_id,) in db.execute(_REPLACED).fetchall())


def prepare(db: sqlite3.Connection, *, full_text: bool) -> State:
    """Make the index match the setting when a file is opened: empty it, or begin to rebuild it. Return its state."""
    with translated():
        if db.execute(_MERGES).fetchone() != (_MERGE_AT,):
            db.execute(_SET_MERGES, (_MERGE_AT,))
        found = state(db)
        if found.revision != (REVISION if full_text else 0):
            with write_transaction(db):
                _empty(db, REVISION if full_text else 0)
        return state(db)


def catch_up(db: sqlite3.Connection) -> None:
    """Bring the index to the last change. A rebuild that is under way goes on later."""
    while (found := state(db)).revision and found.position != changes.bounds(db)[1]:
        advance(db)


def move(db: sqlite3.Connection, position: int) -> None:
    """Give the last change another position, in the caller's transaction. The index must have had all changes."""
    found = state(db)
    db.execute(_SET_STATE, (found.revision, position, found.built))


def long_text(size: int) -> int:
    """Return the bytes of text that `forget` tokenizes for a value of this size."""
    return min(size, MAX_TEXT_BYTES) if size > LONG else 0


def forget(db: sqlite3.Connection, row_id: int, namespace: str, size: int) -> None:
    """Take the words of a long text out of the index, in the caller's transaction, right before its row is changed.

    Does nothing if the text is short, if the index does not have the row's own text, or if that cannot be read.
    """
    if size <= LONG:
        return
    _prepare_connection(db)
    db.execute(_FORGET, (index_namespace(namespace), row_id, row_id, row_id))


def advance(db: sqlite3.Connection) -> Step:
    """Take some changes, and some rows of a rebuild, and replace their texts in the index, in one transaction."""
    with translated():
        _prepare_connection(db)
        with write_transaction(db):
            return _advance(db)


def _advance(db: sqlite3.Connection) -> Step:
    found = state(db)
    oldest, newest = changes.bounds(db)
    if not oldest <= found.position <= newest:
        _empty(db, REVISION)
        return Step(state(db), 0, cut=False)
    position, built = found.position, found.built
    cut = False
    db.execute("DELETE FROM indexing")
    if position < newest:
        end, seen = _end(db, _END_OF_CHANGES, position)
        cut = end - position < seen
        db.execute(_TAKE_CHANGES, (position, end))
        position = end
    if built is not None:
        last, _ = _end(db, _END_OF_ROWS, built)
        if last is not None:
            db.execute(_TAKE_ROWS, (built, last))
        built = last
    rows: int = db.execute("SELECT count(*) FROM indexing").fetchone()[0]
    if not _replace_texts(db):
        _empty(db, REVISION)
        return Step(state(db), rows, cut)
    db.execute(_SET_STATE, (REVISION, position, built))
    return Step(State(REVISION, position, built), rows, cut)


def _replace_texts(db: sqlite3.Connection) -> bool:
    """Replace the texts of the taken rows. Return False if a text can't be forgotten, as nobody knows it any more."""
    db.execute(_KEEP_EQUAL)
    if db.execute(_UNREADABLE).fetchone() is not None:
        return False
    new = [name for (name,) in db.execute(_NEW_NAMESPACES).fetchall()]
    if new:
        if db.execute("SELECT count(*) FROM namespace_words").fetchone()[0] + len(new) > _MAX_NAMESPACES:
            db.execute("DELETE FROM namespace_words")
            new = [name for (name,) in db.execute(_NEW_NAMESPACES).fetchall()]
        db.executemany("INSERT INTO namespace_words VALUES (?, ?)", [(name, index_namespace(name)) for name in new])
    db.execute(_REPLACE_TEXTS)
    db.execute(_FORGET_REPLACED)
    return True


def _end(db: sqlite3.Connection, sql: str, after: int) -> tuple[Any, int]:
    """Return the last change or row ID of the step, and how many there are up to MAX_CHANGES."""
    place, seen = db.execute(sql, {"after": after, "bytes": MAX_BYTES, "rows": MAX_CHANGES}).fetchone()
    return place, seen


def _empty(db: sqlite3.Connection, revision: int) -> None:
    """Empty the index, and have it rebuilt unless the revision is 0."""
    db.execute("INSERT INTO entries_text (entries_text) VALUES ('delete-all')")
    db.execute("DELETE FROM replaced_texts")
    any_rows = db.execute("SELECT EXISTS (SELECT 1 FROM entries)").fetchone()[0]
    db.execute(_SET_STATE, (revision, changes.bounds(db)[1], 0 if revision and any_rows else None))


def _prepare_connection(db: sqlite3.Connection) -> None:
    if db.execute(_PREPARED).fetchone() is None:
        db.create_function("indexed_text", 3, _indexed_text, deterministic=True)
        for statement in _PREPARE:
            db.execute(statement)


def _indexed_text(value: bytes, codec: int, size: int) -> str | None:
    raw = stored_text(value, codec, size)
    return None if raw is None else index_text(raw)
