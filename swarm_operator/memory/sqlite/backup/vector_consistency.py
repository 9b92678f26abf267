"""Verifies that the vectors match the entries, see vectors.table. Used by backup.consistency.

A model may be behind the changes, or on its way through the entries. What it may lack is known; nothing else may be
missing.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.sqlite.backup.findings import Findings
from swarm_operator.memory.sqlite.database.driver import sqlite3

_LOST = "SELECT DISTINCT id / 4 FROM vectors WHERE id / 4 NOT IN (SELECT id FROM entries)"
_ELSEWHERE = """
    SELECT e.namespace, e.key FROM vectors v JOIN entries e ON e.id = v.id / 4
    LEFT JOIN vector_spaces s ON s.id = v.space
    WHERE s.namespace IS NOT e.namespace
"""
_WRONG_WIDTH = """
    SELECT e.namespace, e.key, length(v.code), coalesce(m.width, s.width)
    FROM vectors v JOIN entries e ON e.id = v.id / 4 JOIN vector_spaces s ON s.id = v.space
    LEFT JOIN vector_models m ON m.number = v.model
    WHERE length(v.code) IS NOT CASE v.model WHEN 0 THEN s.width ELSE m.width END
    AND (length(v.code) > 0 OR v.model = 0)
"""
_COUNTS = """
    SELECT s.namespace, s.entries, s.clients, count(v.id), count(v.id) FILTER (WHERE v.model = 0)
    FROM vector_spaces s LEFT JOIN vectors v ON v.space = s.id GROUP BY s.id
    HAVING s.entries <> count(v.id) OR s.clients <> count(v.id) FILTER (WHERE v.model = 0)
"""
_MISSING = """
    SELECT e.namespace, e.key FROM vector_models m JOIN entries e
    WHERE m.number = (SELECT max(number) FROM vector_models) AND m.position IS NOT NULL
    AND m.position >= (SELECT coalesce(min(seq), 1) - 1 FROM changes) AND (m.built IS NULL OR e.id <= m.built)
    AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.id IN (4 * e.id, 4 * e.id + 1 + m.number % 3))
    AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.row_id = e.id AND c.seq > m.position)
    AND NOT EXISTS (
        SELECT 1 FROM vector_spaces s WHERE s.namespace = e.namespace AND s.clients > 0 AND s.width <> m.width
    )
"""
_WHERE: Final = "table vectors"


def check(db: sqlite3.Connection, findings: Findings) -> None:
    """Compare the vectors with the entries, in the caller's transaction. May raise sqlite3.Error."""
    for (row_id,) in db.execute(_LOST):
        findings.add(_WHERE, f"row {row_id} has a vector, and is not there")
    for namespace, key in db.execute(_ELSEWHERE):
        findings.entry(namespace, key, "its vector is one of another namespace")
    for namespace, key, size, width in db.execute(_WRONG_WIDTH):
        findings.entry(namespace, key, f"its vector has {size} numbers, not {width}")
    for namespace, entries, clients, are, of_clients in db.execute(_COUNTS):
        findings.add(
            f"namespace {namespace!r}",
            f"the table vector_spaces says {entries} vectors, {clients} of clients; there are {are} and {of_clients}",
        )
    for namespace, key in db.execute(_MISSING):
        findings.entry(namespace, key, "it has no vector, and no change that is to come")
