"""Tables of vectors, and their SQL. Needs no numpy until there is a vector to store.

    vectors          a row for each entry and model: scale and code. Model 0 is the client's. The row ID is 4 times that
                     of the entry, and the remainder is the model's slot: so a code is found by one look-up
    vector_spaces    a number for each namespace with vectors, their number, and the width of the client's
    vector_models    embedders whose vectors are in the file, and how far they have come, see vectors.follow
    vector_log       rows of `vectors` that were added or removed, the last LOGGED: what is in memory follows it

Triggers remove the vectors of an entry when its value is written or its row is deleted, by any statement, and keep
counts and log. So an entry without a row here, of the client or of a model, is one that the model has not embedded.
An entry that the model has no vector for has a row without a code.

All vectors of a namespace have one width: that of the client's if there are any, else that of the newest model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.vectors import width as width_of
from swarm_operator.memory.sqlite import changes

CLIENT: Final = 0
"""Number of the model of vectors that clients gave."""
SLOTS: Final = 4
"""Number of vectors that an entry may have: the client's, and those of the models that are in use or being deleted."""

_WIDTH = """
    SELECT coalesce(
        (SELECT width FROM vector_spaces WHERE namespace = ? AND clients > 0),
        (SELECT width FROM vector_models ORDER BY number DESC LIMIT 1)
    )
"""
_ADD_SPACE = "INSERT INTO vector_spaces (namespace, entries, clients) VALUES (?, 0, 0) ON CONFLICT DO NOTHING"
_SPACE = "SELECT id FROM vector_spaces WHERE namespace = ?"
_SET_WIDTH = "UPDATE vector_spaces SET width = ? WHERE id = ? AND width IS NOT ?"
_INSERT = "INSERT INTO vectors (id, model, space, scale, code) VALUES (?, ?, ?, ?, ?)"
_MODELS = "SELECT number, name, width, position, built FROM vector_models ORDER BY number"
_SET_PROGRESS = "UPDATE vector_models SET position = ?, built = ? WHERE number = ?"
_IS_CURRENT = """
    SELECT 1 FROM entries e WHERE e.id = ? AND e.version = ?
    AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.id IN (4 * e.id, 4 * e.id + ?))
"""
_CLIENT_WIDTH = "SELECT width FROM vector_spaces WHERE namespace = ? AND clients > 0"
_NEWEST_MODEL = "SELECT number, name, width FROM vector_models ORDER BY number DESC LIMIT 1"
_DROP = "DELETE FROM vectors WHERE id > ? AND id <= ? AND model = ?"
_DROP_ALL = "DELETE FROM vectors WHERE model = ?"
_DROP_END = "SELECT max(id) FROM (SELECT id FROM vectors WHERE id > ? AND model = ? ORDER BY id LIMIT ?)"
_COUNT = "SELECT coalesce(sum(entries), 0) FROM vector_spaces"


class Model(NamedTuple):
    """An embedder whose vectors are in the file.

    Attributes:
        number: its number, higher than those of models before it.
        name: see core.embedding.
        width: see core.embedding.
        position: the last change whose entry it has embedded; None: it was not followed any more, and changes are
            missing.
        built: ID of the row up to which it has embedded the entries that lack a vector; None: no entry does, but those
            of changes behind the position.
    """

    number: int
    name: str
    width: int
    position: int | None
    built: int | None


def slot(model: int) -> int:
    """Return the remainder of the row IDs of a model's vectors."""
    return 0 if model == CLIENT else 1 + model % (SLOTS - 1)


def check_width(db: sqlite3.Connection, namespace: str, vector: bytes) -> None:
    """Raise InvalidInputError if a client's vector has another width than those of its namespace."""
    wanted: int | None = db.execute(_WIDTH, (namespace,)).fetchone()[0]
    if wanted not in {None, width_of(vector)}:
        raise InvalidInputError("vector", f"{wanted} numbers, as the other vectors of the namespace {namespace!r} have")


def put(db: sqlite3.Connection, row_id: int, namespace: str, vector: bytes) -> None:
    """Store a client's vector, whose width was checked, in the transaction that writes its entry."""
    space = _insert(db, row_id, CLIENT, namespace, vector)
    width = width_of(vector)
    db.execute(_SET_WIDTH, (width, space, width))


def store(db: sqlite3.Connection, model: int, made: Iterable[tuple[int, int, str, bytes]]) -> int:
    """Store vectors that a model made, in the caller's transaction. Return how many.

    Args:
        db: the writer's connection.
        model: number of the model.
        made: row ID, version, namespace and vector of each entry. One that was written since is left out.
    """
    stored = 0
    for row_id, version, namespace, vector in made:
        if db.execute(_IS_CURRENT, (row_id, version, slot(model))).fetchone() is not None:
            _insert(db, row_id, model, namespace, vector)
            stored += 1
    return stored


def store_made(db: sqlite3.Connection, model: Model, row_id: int, namespace: str, vector: bytes) -> None:
    """Store the vector that a model made for an entry, in the transaction that has written it.

    Only that of the newest model is stored: the vectors of another one may be about to be deleted. Its follower embeds
    the entry then.
    """
    if db.execute(_NEWEST_MODEL).fetchone() == model[:3]:
        _insert(db, row_id, model.number, namespace, vector)


def client_width(db: sqlite3.Connection, namespace: str) -> int | None:
    """Return the width of the vectors that clients gave in a namespace; None: there are none."""
    row = db.execute(_CLIENT_WIDTH, (namespace,)).fetchone()
    return None if row is None else int(row[0])


def models(db: sqlite3.Connection) -> list[Model]:
    """Return the models, the newest last."""
    return [Model(*row) for row in db.execute(_MODELS).fetchall()]


def add_model(db: sqlite3.Connection, name: str, width: int) -> None:
    """Add a model, which is to embed all entries. If there are as many as slots, the oldest model makes room."""
    known = models(db)
    number = known[-1].number + 1 if known else 1
    for other in known:
        if slot(other.number) == slot(number):
            db.execute(_DROP_ALL, (other.number,))
            drop_model(db, other.number)
    sql = "INSERT INTO vector_models (number, name, width, position, built) VALUES (?, ?, ?, ?, 0)"
    db.execute(sql, (number, name, width, changes.bounds(db)[1]))


def set_progress(db: sqlite3.Connection, model: int, position: int | None, built: int | None) -> None:
    """Set how far a model has come."""
    db.execute(_SET_PROGRESS, (position, built, model))


def drop_vectors(db: sqlite3.Connection, model: int, after: int, limit: int) -> int | None:
    """Delete some vectors of a model. Return the row ID of the last one; None: there are no more."""
    end: int | None = db.execute(_DROP_END, (after, model, limit)).fetchone()[0]
    if end is not None:
        db.execute(_DROP, (after, end, model))
    return end


def drop_model(db: sqlite3.Connection, model: int) -> None:
    """Forget a model without vectors."""
    db.execute("DELETE FROM vector_models WHERE number = ?", (model,))


def move(db: sqlite3.Connection, position: int) -> None:
    """Give the last change another position, in the caller's transaction that deletes all changes.

    A model that did not have all of them looks for entries without a vector.
    """
    newest = changes.bounds(db)[1]
    for model in models(db):
        built = model.built if model.position == newest else 0
        set_progress(db, model.number, None if model.position is None else position, built)


def count(db: sqlite3.Connection) -> int:
    """Return the number of rows with vectors."""
    found: int = db.execute(_COUNT).fetchone()[0]
    return found


def _insert(db: sqlite3.Connection, row_id: int, model: int, namespace: str, vector: bytes) -> int:
    """Insert a row. Return the number of its namespace."""
    from swarm_operator.memory.sqlite.vectors.codes import encode  # noqa: PLC0415 - numpy, for stores with vectors only

    db.execute(_ADD_SPACE, (namespace,))
    space: int = db.execute(_SPACE, (namespace,)).fetchone()[0]
    db.execute(_INSERT, (SLOTS * row_id + slot(model), model, space, *encode(vector)))
    return space
