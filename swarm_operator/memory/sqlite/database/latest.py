"""The tables of the latest schema version, as a new file gets them; `migrations` has the steps of older files.

A change of this module needs a step in `migrations` with the same result, which a test compares.
"""

from __future__ import annotations

from typing import Final

# `value` is the last column of version 1: SQLite reads a row from its start, and long values are stored on overflow
# pages. Times are milliseconds since the Unix epoch. `codec`: see tables.compression. `updated_by` is the author of the
# version; NULL: unknown, for example for older rows. Searches for the last updated entries scan `entries_updated`, or
# `entries_updated_in` once per namespace, so that they read no entry of another namespace.
_ENTRIES: Final = (
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
        codec INTEGER NOT NULL DEFAULT 0,
        updated_by TEXT,
        UNIQUE (namespace, key)
    ) STRICT
    """,
    "CREATE INDEX entries_expiry ON entries (expires_at, namespace, size) WHERE expires_at IS NOT NULL",
    "CREATE INDEX entries_updated ON entries (updated_at)",
    "CREATE INDEX entries_updated_in ON entries (namespace, updated_at)",
    """
    CREATE TABLE namespaces (
        name TEXT PRIMARY KEY,
        entries INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)

# `write_probe` is the target of trial writes (see write.apply): at most one row, deleted after each trial. The row of
# `compression` has the totals of entries whose codec is not 0. The row of `deleted_versions` has the highest version of
# all deleted entries: versions of new entries start above this number, so an old ETag never matches a new entry.
_WRITES: Final = (
    "CREATE TABLE write_probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT",
    """
    CREATE TABLE compression (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        entries INTEGER NOT NULL,
        raw INTEGER NOT NULL,
        stored INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO compression (id, entries, raw, stored) VALUES (1, 0, 0, 0)",
    "CREATE TABLE deleted_versions (id INTEGER PRIMARY KEY CHECK (id = 1), highest INTEGER NOT NULL) STRICT",
    "INSERT INTO deleted_versions (id, highest) VALUES (1, 0)",
)

# See memory.sqlite.changes.
_CHANGES: Final = (
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        op INTEGER NOT NULL,
        version INTEGER NOT NULL,
        at INTEGER NOT NULL,
        row_id INTEGER,
        updated_by TEXT
    ) STRICT
    """,
)

# See tables.access_times.
ACCESSES: Final = (
    "CREATE TABLE accesses (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
    """
    CREATE TRIGGER entries_accesses AFTER DELETE ON entries BEGIN
        DELETE FROM accesses WHERE id = old.id;
    END
    """,
)

# Search indexes, see search.index. `entry_tags` is sorted in the order of search scans. `entries_text` stores no texts
# (content=''); its rowids are those of `entries`.
TAGS: Final = """
    CREATE TABLE entry_tags (
        tag TEXT NOT NULL,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (tag, namespace, key)
    ) STRICT, WITHOUT ROWID
    """
TEXTS: Final = (
    "CREATE VIRTUAL TABLE entries_text USING fts5 (namespace, key, value, content = '', tokenize = 'unicode61')"
)

# The index of words follows the changes, see search.words. `revision` is that of the indexed texts, 0 if the index is
# empty; `position` is the last change in the index; `built` is the last row ID of its rebuild, NULL without a rebuild.
_TEXT_INDEX: Final = (
    """
    CREATE TABLE text_index (
        id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, position INTEGER NOT NULL DEFAULT 0,
        built INTEGER
    ) STRICT
    """,
    "INSERT INTO text_index (id, revision) VALUES (1, 0)",
)

# `replaced_texts` has the indexed texts of rows that have changed since, which FTS5 needs to delete their words.
_KEEP_REPLACED_TEXT: Final = """
    WHEN EXISTS (SELECT 1 FROM entries_text_docsize WHERE id = old.id) BEGIN
        INSERT OR IGNORE INTO replaced_texts (id, namespace, key, codec, size, value)
        SELECT id, namespace, key, codec, size, CASE codec WHEN 0 THEN substr(value, 1, 65536) ELSE value END
        FROM entries WHERE id = old.id;
    END
"""
REPLACED_TEXTS: Final = (
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
)

# See vectors.table. The log keeps its last rows, see vectors.planes.
_LOG_VECTOR: Final = """
        INSERT INTO vector_log (id) VALUES ({}.id);
        DELETE FROM vector_log WHERE seq <= (SELECT max(seq) FROM vector_log) - 65536;
"""
VECTORS: Final = (
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

STATEMENTS: Final = (
    *_ENTRIES, *_WRITES, *_CHANGES, *ACCESSES, TAGS, TEXTS, *_TEXT_INDEX, *REPLACED_TEXTS, *VECTORS,
)  # fmt: skip
"""Statements that create all tables, indexes, triggers and first rows in an empty file."""
