"""Verifies that the vectors match the entries, see vectors.table. Used by backup.consistency.

A model may lag behind the changes, or be embedding all entries. The vectors that it may lack are known, and the check
allows only these. The file has no second copy of a vector to compare a code with. So the check compares codes with the
possible results of `codes.encode`, and with the widths.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.sqlite.backup.findings import Findings
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.vectors.table import CLIENT, SLOTS

_LOST = "SELECT DISTINCT id / 4 FROM vectors WHERE id / 4 NOT IN (SELECT id FROM entries)"
_ELSEWHERE = """
    SELECT e.namespace, e.key FROM vectors v JOIN entries e ON e.id = v.id / 4
    LEFT JOIN vector_spaces s ON s.id = v.space
    WHERE s.namespace IS NOT e.namespace
"""
_UNKNOWN_MODEL = f"""
    SELECT e.namespace, e.key, v.model FROM vectors v JOIN entries e ON e.id = v.id / 4
    WHERE v.model <> {CLIENT} AND v.model NOT IN (SELECT number FROM vector_models)
"""  # noqa: S608 - constants only
_WRONG_SLOT = f"""
    SELECT e.namespace, e.key, v.id % {SLOTS}, v.model FROM vectors v JOIN entries e ON e.id = v.id / {SLOTS}
    WHERE v.id % {SLOTS} <> CASE v.model WHEN {CLIENT} THEN 0 ELSE 1 + v.model % ({SLOTS} - 1) END
"""  # noqa: S608
_BOTH = f"""
    SELECT e.namespace, e.key FROM vectors v JOIN entries e ON e.id = v.id / {SLOTS}
    WHERE v.id % {SLOTS} = 0 AND EXISTS (SELECT 1 FROM vectors o WHERE o.id BETWEEN v.id + 1 AND v.id + {SLOTS} - 1)
"""  # noqa: S608
_WRONG_WIDTH = """
    SELECT e.namespace, e.key, length(v.code), coalesce(m.width, s.width)
    FROM vectors v JOIN entries e ON e.id = v.id / 4 JOIN vector_spaces s ON s.id = v.space
    LEFT JOIN vector_models m ON m.number = v.model
    WHERE (v.model = 0 OR m.number IS NOT NULL)
    AND length(v.code) IS NOT CASE v.model WHEN 0 THEN s.width ELSE m.width END
    AND (length(v.code) > 0 OR v.model = 0)
"""
# The largest number of a code is 127 or -127, and no number is -128. A scale is a fraction of a float32 number.
_WRONG_CODE = """
    SELECT e.namespace, e.key FROM vectors v JOIN entries e ON e.id = v.id / 4
    WHERE CASE length(v.code) WHEN 0 THEN v.scale <> 0 ELSE
        v.scale <= 0 OR v.scale > 1e37 OR instr(v.code, x'80') > 0
        OR (instr(v.code, x'7f') = 0 AND instr(v.code, x'81') = 0)
    END
"""
_COUNTS = """
    SELECT s.namespace, s.entries, s.clients, count(v.id), count(v.id) FILTER (WHERE v.model = 0)
    FROM vector_spaces s LEFT JOIN vectors v ON v.space = s.id GROUP BY s.id
    HAVING s.entries <> count(v.id) OR s.clients <> count(v.id) FILTER (WHERE v.model = 0)
"""
_AHEAD = """
    SELECT name, position, newest FROM vector_models, (SELECT coalesce(max(seq), 0) AS newest FROM changes)
    WHERE position > newest
"""
# Check the newest model, and the former model that searches use until the newest has all entries. Other models may be
# partly deleted. For changes that were discarded, the store searches the missing entries, see vectors.pending.
_MISSING = """
    SELECT e.namespace, e.key, m.name
    FROM (SELECT built IS NOT NULL AS building, max(number) AS number FROM vector_models) newest
    JOIN vector_models m JOIN entries e
    WHERE (m.number = newest.number OR newest.building) AND m.position IS NOT NULL
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
    for namespace, key, model in db.execute(_UNKNOWN_MODEL):
        findings.entry(namespace, key, f"its vector is of the model {model}, which is not in the table vector_models")
    for namespace, key, slot, model in db.execute(_WRONG_SLOT):
        findings.entry(namespace, key, f"its vector of the model {model} is in the slot {slot} of others")
    for namespace, key in db.execute(_BOTH):
        findings.entry(namespace, key, "it has a vector of a client, and another one of a model")
    for namespace, key, size, width in db.execute(_WRONG_WIDTH):
        findings.entry(namespace, key, f"its vector has {size} numbers, not {width}")
    for namespace, key in db.execute(_WRONG_CODE):
        findings.entry(namespace, key, "its vector is none that this release writes: the numbers or their scale")
    for namespace, entries, clients, are, of_clients in db.execute(_COUNTS):
        findings.add(
            f"namespace {namespace!r}",
            f"the table vector_spaces says {entries} vectors, {clients} of clients; there are {are} and {of_clients}",
        )
    for name, position, newest in db.execute(_AHEAD):
        findings.add("table vector_models", f"{name} has the change {position}, and the last one is {newest}")
    for namespace, key, name in db.execute(_MISSING):
        findings.entry(namespace, key, f"it has no vector of {name}, and no change that is to come")
