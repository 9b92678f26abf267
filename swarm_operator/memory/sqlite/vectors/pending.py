"""Finds the entries that a model has not embedded: those of the next changes, or all without a vector in turn."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES, stored_text
from swarm_operator.memory.sqlite.vectors import table
from swarm_operator.memory.sqlite.vectors.texts import embedded_text

_MAX_BYTES: Final = 256 * 1024
"""Bytes of values to read for a step, after which it ends."""
_MAX_ROWS: Final = 2000
"""Rows that a step looks at for entries without a vector."""

_CHANGES = "SELECT seq, row_id FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
_ROWS = "SELECT id, id FROM entries WHERE id > ? ORDER BY id LIMIT ?"
_LACKING = f"""
    SELECT e.version, e.namespace, e.key,
    CASE e.codec WHEN 0 THEN substr(e.value, 1, {MAX_TEXT_BYTES}) ELSE e.value END, e.codec, e.size
    FROM entries e WHERE e.id = :id
    AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.id IN (4 * e.id, 4 * e.id + :slot))
    AND NOT EXISTS (
        SELECT 1 FROM vector_spaces s WHERE s.namespace = e.namespace AND s.clients > 0 AND s.width <> :width
    )
"""  # noqa: S608 - constants only


class Text(NamedTuple):
    """An entry to embed: its row ID, version and namespace, and its text."""

    row_id: int
    version: int
    namespace: str
    text: str


class Pending(NamedTuple):
    """Entries to embed next.

    Attributes:
        texts: the entries.
        position: position of the model when they are embedded, see table.Model.
        built: row ID that a rebuild of the model has then reached, see table.Model.
        newest: position of the last change.
    """

    texts: list[Text]
    position: int
    built: int | None
    newest: int


def pending(db: sqlite3.Connection, number: int, most: int) -> Pending:
    """Return what a model embeds next, at most so many entries.

    These are the entries of changes, and if there are no changes, others that lack a vector.
    """
    model = next(model for model in table.models(db) if model.number == number)
    oldest, newest = changes.bounds(db)
    if model.position is None or not oldest <= model.position <= newest:
        return Pending([], newest, 0, newest)
    if model.position < newest:
        texts, position = _texts(db, model, _CHANGES, model.position, most, most)
        return Pending(texts, position, model.built, newest)
    if model.built is None:
        return Pending([], newest, None, newest)
    texts, built = _texts(db, model, _ROWS, model.built, _MAX_ROWS, most)
    return Pending(texts, newest, built if built > model.built else None, newest)


def _texts(
    db: sqlite3.Connection, model: table.Model, sql: str, after: int, rows: int, most: int
) -> tuple[list[Text], int]:
    """Return the entries to embed among the rows behind a place, and the place behind the last row."""
    texts: dict[int, Text] = {}
    size = 0
    for place, row_id in db.execute(sql, (after, rows)).fetchall():
        after = place
        parameters = {"id": row_id, "slot": table.slot(model.number), "width": model.width}
        found = None if row_id in texts else db.execute(_LACKING, parameters).fetchone()
        if found is None:
            continue
        version, namespace, key, value, codec, bytes_of_value = found
        text = embedded_text(key, stored_text(value, codec, bytes_of_value) or b"")
        texts[row_id] = Text(row_id, version, namespace, text)
        size += len(value)
        if len(texts) == most or size >= _MAX_BYTES:
            break
    return [*texts.values()], after
