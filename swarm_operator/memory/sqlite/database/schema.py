"""Database schema: identification of the file, its version, and migrations between versions.

application_id identifies the file as ours; user_version is the schema version. Each migration and its version number
are committed in one transaction, so a crash leaves no partial migration. There are no downgrades: a file from a newer
release is rejected, because this release does not know the semantics of newer columns.

The writer maintains row counts in `namespaces`, in the transaction that changes the entries. Readers subtract expired
rows that are not yet collected. The partial index `entries_expiry` finds these rows without reading `entries`.
Therefore the cost of counting grows with the number of expired rows, not with the number of rows.
"""

from __future__ import annotations

from swarm_operator.memory.core.errors import ForeignDatabaseError, NewerSchemaError
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite

APPLICATION_ID = 0x53574D45
"""'SWME', stored at offset 68 of the file. file(1) reads this value too."""

# `value` is the last column: SQLite reads a row from its start, and long values are stored on overflow pages.
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
    # Target of trial writes (see write.apply): at most one row, deleted after each trial.
    "CREATE TABLE write_probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT",
)

# Codec of each value, see tables.compression; rows of older releases are plain. The single row of `compression` has the
# totals of rows whose codec is not 0.
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

# Search indexes, see search.index. `entry_tags` is sorted in the order of search scans. `entries_text` stores no texts
# (content=''); its rowids are those of `entries`. `text_index` has the revision of the indexed texts, 0 if the index is
# empty; search.words fills the index.
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

# See memory.sqlite.changes.
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

# The highest version of all deleted entries. Versions of new entries start above this number, so an old ETag never
# matches a new entry. Deletions by earlier releases are unknown; the highest existing version approximates them.
_VERSION_5 = (
    "CREATE TABLE deleted_versions (id INTEGER PRIMARY KEY CHECK (id = 1), highest INTEGER NOT NULL) STRICT",
    "INSERT INTO deleted_versions (id, highest) SELECT 1, coalesce(max(version), 0) FROM entries",
)

# See tables.access_times.
_VERSION_6 = (
    "CREATE TABLE accesses (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
    """
    CREATE TRIGGER entries_accesses AFTER DELETE ON entries BEGIN
        DELETE FROM accesses WHERE id = old.id;
    END
    """,
)

# Searches for the last updated entries scan the first index, or the second index once per namespace, so that they read
# no entry of another namespace.
_VERSION_7 = (
    "DROP INDEX entries_updated",
    "CREATE INDEX entries_updated ON entries (updated_at)",
    "CREATE INDEX entries_updated_in ON entries (namespace, updated_at)",
)

# The index of words follows the changes, see search.words. Earlier releases updated it in each commit, so it has all
# changes. `position` is the last change in the index; `built` is the last row ID of its rebuild, NULL without a
# rebuild. `replaced_texts` has the indexed texts of rows that have changed since, which FTS5 needs to delete their
# words.
_KEEP_REPLACED_TEXT = """
    WHEN EXISTS (SELECT 1 FROM entries_text_docsize WHERE id = old.id) BEGIN
        INSERT OR IGNORE INTO replaced_texts (id, namespace, key, codec, size, value)
        SELECT id, namespace, key, codec, size, CASE codec WHEN 0 THEN substr(value, 1, 65536) ELSE value END
        FROM entries WHERE id = old.id;
    END
"""
# The log keeps its last rows, see vectors.planes.
_LOG_VECTOR = """
        INSERT INTO vector_log (id) VALUES ({}.id);
        DELETE FROM vector_log WHERE seq <= (SELECT max(seq) FROM vector_log) - 65536;
"""
_VERSION_8 = (
    "ALTER TABLE changes ADD COLUMN row_id INTEGER",
    "ALTER TABLE text_index ADD COLUMN position INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE text_index ADD COLUMN built INTEGER",
    "UPDATE text_index SET position = coalesce((SELECT max(seq) FROM changes), 0)",
    """
    CREATE TABLE replaced_texts (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        codec INTEGER NOT NULL,
        size INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT
    """,
    f"CREATE TRIGGER entries_replaced_text BEFORE UPDATE OF value ON entries {_KEEP_REPLACED_TEXT}",
    f"CREATE TRIGGER entries_deleted_text BEFORE DELETE ON entries {_KEEP_REPLACED_TEXT}",
    # Author of the version; NULL: unknown, for example for older rows.
    "ALTER TABLE entries ADD COLUMN updated_by TEXT",
    "ALTER TABLE changes ADD COLUMN updated_by TEXT",
    # See vectors.table.
    """
    CREATE TABLE vector_models (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        width INTEGER NOT NULL,
        position INTEGER,
        built INTEGER,
        UNIQUE (name, width)
    ) STRICT
    """,
    """
    CREATE TABLE vector_spaces (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL UNIQUE,
        width INTEGER,
        entries INTEGER NOT NULL,
        clients INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY,
        model INTEGER NOT NULL,
        space INTEGER NOT NULL,
        scale REAL NOT NULL,
        code BLOB NOT NULL
    ) STRICT
    """,
    "CREATE TABLE vector_log (seq INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT",
    """
    CREATE TRIGGER entries_overwritten_vectors AFTER UPDATE OF value ON entries BEGIN
        DELETE FROM vectors WHERE id BETWEEN 4 * old.id AND 4 * old.id + 3;
    END
    """,
    """
    CREATE TRIGGER entries_deleted_vectors AFTER DELETE ON entries BEGIN
        DELETE FROM vectors WHERE id BETWEEN 4 * old.id AND 4 * old.id + 3;
    END
    """,
    f"""
    CREATE TRIGGER vectors_added AFTER INSERT ON vectors BEGIN
        UPDATE vector_spaces SET entries = entries + 1, clients = clients + (new.model = 0) WHERE id = new.space;
        {_LOG_VECTOR.format("new")}
    END
    """,  # noqa: S608 - constants only
    f"""
    CREATE TRIGGER vectors_removed AFTER DELETE ON vectors BEGIN
        UPDATE vector_spaces SET entries = entries - 1, clients = clients - (old.model = 0) WHERE id = old.space;
        DELETE FROM vector_spaces WHERE id = old.space AND entries = 0;
        {_LOG_VECTOR.format("old")}
    END
    """,  # noqa: S608
)

_MIGRATIONS = (
    _VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7, _VERSION_8,
)  # fmt: skip
"""_MIGRATIONS[n] migrates a file from version n to n + 1."""

LATEST = len(_MIGRATIONS)


def inspect(db: sqlite3.Connection, path: str) -> int:
    """Return the schema version of the open file; 0 for a new file. Never writes to the file.

    Raises:
        ForeignDatabaseError: the file is not an SQLite database, or belongs to another program.
        NewerSchemaError: a newer release wrote the file.
        CorruptDatabaseError: the file is ours but damaged.
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
    """Migrate the file from `version` to the latest version or to `until`. Use one transaction per step."""
    for target, statements in enumerate(_MIGRATIONS[version:until], start=version + 1):
        with write_transaction(db):
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {target}")
