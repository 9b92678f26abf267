"""Decodes rows of the `entries` table, for readers and for the writer's transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import CorruptValueError
from swarm_operator.memory.sqlite.database.many_rows import RowsStatement
from swarm_operator.memory.sqlite.tables.compression import checked, decompress

_ACCESSED: Final = "(SELECT at FROM accesses WHERE accesses.id = entries.id AND at >= entries.created_at)"
_COLUMNS: Final = "namespace, key, value, tags, metadata, ttl, version, created_at, updated_at, expires_at, updated_by"
LISTED: Final = f"{_COLUMNS}, {_ACCESSED}, codec, size"
"""Columns that `entry_of` expects, in this order. Used by lists and searches."""

_GET = f"SELECT {_COLUMNS}, codec, size FROM entries WHERE namespace = ? AND key = ?"  # noqa: S608 - constants only

_FEW: Final = 5
"""Number of entries from which one statement costs less than a statement for each."""
_GET_EACH: Final = RowsStatement(
    "WITH wanted (space, name) AS (",
    2,
    f") SELECT {_COLUMNS}, codec, size FROM wanted CROSS JOIN entries ON namespace = space AND key = name",  # noqa: S608 - constants only
)


def read(db: sqlite3.Connection, identity: Identity) -> Entry | None:
    """Return the entry, even if expired; None if the row does not exist. Raises CorruptValueError."""
    found = db.execute(_GET, identity).fetchall()
    return entry_of(found[0]) if found else None


def read_each(db: sqlite3.Connection, identities: Sequence[Identity]) -> list[Entry | None]:
    """Return entries as `read` does, in the order of their identities."""
    if len(identities) < _FEW:
        return [read(db, identity) for identity in identities]
    found = {(entry.namespace, entry.key): entry for entry in map(entry_of, _GET_EACH.execute(db, identities))}
    return [found.get(identity) for identity in identities]


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row. Raises CorruptValueError with the entry's namespace and key."""
    namespace, key, value, *others, codec, size = row
    try:
        value = decompress(codec, value, size) if codec else checked(value)
    except CorruptValueError as error:
        raise CorruptValueError(f"the value of {key!r} in {namespace!r} is damaged: {error}") from None
    return Entry(namespace, key, value, *others)
