"""The steps between schema versions, for files of earlier releases; `latest` has what a new file gets.

A released step never changes its result. Before one of the definitions that a step takes from `latest` changes, the
step gets its own copy.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.sqlite.database import latest

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
    "CREATE TABLE write_probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT",
)

# Values of older files are not compressed.
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

# Revision 0: the index of words is empty, and search.words fills it.
_VERSION_3 = (
    latest.TAGS,
    """
    INSERT INTO entry_tags (tag, namespace, key)
    SELECT each.value, entries.namespace, entries.key FROM entries, json_each(entries.tags) AS each
    """,
    "CREATE INDEX entries_updated ON entries (updated_at, namespace)",
    latest.TEXTS,
    "CREATE TABLE text_index (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL) STRICT",
    "INSERT INTO text_index (id, revision) VALUES (1, 0)",
)

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

# Deletions by earlier releases are unknown; the highest existing version approximates them.
_VERSION_5 = (
    "CREATE TABLE deleted_versions (id INTEGER PRIMARY KEY CHECK (id = 1), highest INTEGER NOT NULL) STRICT",
    "INSERT INTO deleted_versions (id, highest) SELECT 1, coalesce(max(version), 0) FROM entries",
)

_VERSION_6 = latest.ACCESSES

_VERSION_7 = (
    "DROP INDEX entries_updated",
    "CREATE INDEX entries_updated ON entries (updated_at)",
    "CREATE INDEX entries_updated_in ON entries (namespace, updated_at)",
)

# The index of words follows the changes. Earlier releases updated it in each commit, so it has all changes.
_VERSION_8 = (
    "ALTER TABLE changes ADD COLUMN row_id INTEGER",
    "ALTER TABLE text_index ADD COLUMN position INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE text_index ADD COLUMN built INTEGER",
    "UPDATE text_index SET position = coalesce((SELECT max(seq) FROM changes), 0)",
    *latest.REPLACED_TEXTS,
    "ALTER TABLE entries ADD COLUMN updated_by TEXT",
    "ALTER TABLE changes ADD COLUMN updated_by TEXT",
    *latest.VECTORS,
)

MIGRATIONS: Final = (
    _VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7, _VERSION_8,
)  # fmt: skip
"""MIGRATIONS[n] migrates a file from version n to n + 1."""
