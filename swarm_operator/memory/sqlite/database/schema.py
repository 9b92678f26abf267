"""The shape of the file: which file is ours, which version it has, and the steps from each version to the next.

A file is ours by its application_id; its version is its user_version. Each migration and its version number are one
transaction, so a crash leaves a file that is before or after a step. Migrations only go forward: a file from a newer
release is refused, because this one can't know what the newer columns promise.

Counts are kept in `namespaces`, by the writer, in the transaction that changes the entries. They count rows; a reader
subtracts those that have expired and still lie there, which the partial index `entries_expiry` finds without touching
the entries. So counting costs as much as there are expired rows, not as much as there are rows.
"""

from __future__ import annotations

from swarm_operator.memory.core.errors import ForeignDatabaseError, NewerSchemaError
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite

APPLICATION_ID = 0x53574D45
"""'SWME'. Written at offset 68 of the file, where file(1) looks for it too."""

# `value` comes last: SQLite reads a row from its start, and a long value lies on overflow pages behind the rest.
# Times are milliseconds since the Unix epoch.
_VERSION_1 = (
    """
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        expires_at INTEGER,
        size INTEGER NOT NULL,
        tags TEXT NOT NULL,
        metadata TEXT NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (namespace, key)
    ) STRICT
    """,
    "CREATE INDEX entries_expiry ON entries (expires_at, namespace, size) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE namespaces (
        name TEXT PRIMARY KEY,
        entries INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # Trial writes go here, see Writer: never more than one row, and none between two trials.
    "CREATE TABLE write_probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT",
)

# How each value is stored, see compression; a row that an older release wrote is plain. The one row of `compression`
# counts the rows whose codec is not 0, as `namespaces` counts all of them.
_VERSION_2 = (
    "ALTER TABLE entries ADD COLUMN codec INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE compression (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        entries INTEGER NOT NULL,
        raw INTEGER NOT NULL,
        stored INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO compression (id, entries, raw, stored) VALUES (1, 0, 0, 0)",
)

# What searches look up, see indexing. `entry_tags` is in the order in which a search walks it. `entries_text` keeps no
# texts of its own (content=''); its rows are those of `entries`. `text_index` says which revision of the texts it
# holds, 0 for none: `indexing.prepare` fills it.
_VERSION_3 = (
    """
    CREATE TABLE entry_tags (
        tag TEXT NOT NULL,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (tag, namespace, key)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO entry_tags (tag, namespace, key)
    SELECT each.value, entries.namespace, entries.key FROM entries, json_each(entries.tags) AS each
    """,
    "CREATE INDEX entries_updated ON entries (updated_at, namespace)",
    "CREATE VIRTUAL TABLE entries_text USING fts5 (namespace, key, value, content = '', tokenize = 'unicode61')",
    "CREATE TABLE text_index (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL) STRICT",
    "INSERT INTO text_index (id, revision) VALUES (1, 0)",
)

# See changes.
_VERSION_4 = (
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        op INTEGER NOT NULL,
        version INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT
    """,
)

# The highest version that any deleted entry had: new ones begin above it, so that an old ETag never matches a new
# entry. What earlier releases deleted is not known; the highest version that there is comes closest.
_VERSION_5 = (
    "CREATE TABLE deleted_versions (id INTEGER PRIMARY KEY CHECK (id = 1), highest INTEGER NOT NULL) STRICT",
    "INSERT INTO deleted_versions (id, highest) SELECT 1, coalesce(max(version), 0) FROM entries",
)

# See accesses.
_VERSION_6 = (
    "CREATE TABLE accesses (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
    """
    CREATE TRIGGER entries_accesses AFTER DELETE ON entries BEGIN
        DELETE FROM accesses WHERE id = old.id;
    END
    """,
)

_MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6)
"""_MIGRATIONS[n] takes a file from version n to n + 1."""

LATEST = len(_MIGRATIONS)


def inspect(db: sqlite3.Connection, path: str) -> int:
    """The version of the open file; 0 for a new one. Only reads, so a file that is refused stays as it was.

    Raises:
        ForeignDatabaseError: no SQLite database, or another program's.
        NewerSchemaError: a newer release wrote it.
        CorruptDatabaseError: ours and damaged.
    """
    try:
        application_id = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ForeignDatabaseError(f"{path} is not an SQLite database; it was left alone") from error
        raise from_sqlite(error) from error
    if application_id == 0 and version == 0 and tables == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise ForeignDatabaseError(
            f"{path} is another program's database (application_id {application_id}); it was left alone"
        )
    if version > LATEST:
        raise NewerSchemaError(
            f"{path} has schema version {version} and this release knows up to {LATEST}; it was left alone. "
            "Use the release that wrote it, or a newer one"
        )
    return version


def migrate(db: sqlite3.Connection, version: int, *, until: int | None = None) -> None:
    """Bring a file from that version to the latest, or to `until`, one transaction a step."""
    for target, statements in enumerate(_MIGRATIONS[version:until], start=version + 1):
        with write_transaction(db):
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {target}")
