"""Reads all tables of the SQLite databases of legacy memories, row by row, also from damaged files.

Python's sqlite3 reads the copy of a database: it can limit the size of a row and stream larger values, which the
engine's library (see sqlite.database.driver) can't. It never opens a file of the engine.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from swarm_operator.memory.transfer.migration import records
from swarm_operator.memory.transfer.migration.entries import entry
from swarm_operator.memory.transfer.migration.items import Context, Found, Ignored, Kind, Notice, Reason, Refusal
from swarm_operator.memory.transfer.migration.values import from_text, json_value

MAGIC: Final = b"SQLite format 3\0"
_OWN: Final = 0x53574D45  # the engine's application_id
_ENTRIES: Final = frozenset({"memory_store", "memory_entries", "memories", "memory"})
_COLLECTIVE: Final = frozenset({"collective_memory", "collective_memory_backup"})
_KNOWN: Final = _ENTRIES | _COLLECTIVE | frozenset(records.RECORDS) | {"swarms"}
_BOOKKEEPING: Final = frozenset({"migrations", "schema_version", "schema_migrations"})
"""Tables about the schema of the database, which are not migrated."""
_PART: Final = 1024 * 1024
_FURTHEST: Final = 63
_LAST: Final = 2**63 - 1
_FIRST: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the database.

    Attributes:
        name: name of the table.
        columns: names of the columns, in order.
        key: columns of the primary key, if its values are part of the data; () if the database generates them.
        rowid: name of the rowid column; None for a table without rowids.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rowid: str | None

    @property
    def quoted(self) -> str:
        return _quoted(self.name)


def read(copy: Path, context: Context) -> Iterator[Found]:
    """Yield the contents of a copy of a database. Opening the copy rolls back a hot journal and reads the log."""
    try:
        with contextlib.closing(_open(copy, context)) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] == _OWN:
                yield Notice(Ignored.OWN_DATABASE, "a database of swarm-memory; restore it, or export and migrate that")
                return
            tables = _tables(db)
            if not any(table.name in _KNOWN or _is_store(table) for table in tables):
                yield Notice(Ignored.NOT_A_MEMORY, "a database without tables of a memory")
                return
            for table in tables:
                if table.name not in _BOOKKEEPING:
                    yield from _rows(db, table, context)
    except sqlite3.Error as error:
        yield Refusal(Kind.FILE, Reason.CORRUPT, f"the database can't be read further ({error})")


def _open(copy: Path, context: Context) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{quote(str(copy))}?mode=rw", uri=True, isolation_level=None)
    db.text_factory = lambda text: text.decode(errors="surrogateescape")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, context.max_element_bytes)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "cache_size = -8192", "mmap_size = 0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _tables(db: sqlite3.Connection) -> list[_Table]:
    found = []
    for _, name, kind, _, without_rowid, _ in db.execute("PRAGMA table_list").fetchall():
        if kind != "table" or name.startswith("sqlite_"):
            continue
        columns = db.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
        names = tuple(column[1] for column in columns)
        key = sorted((column[5], column[1], column[2]) for column in columns if column[5])
        given = len(key) == 1 and "INT" in key[0][2].upper()
        rowids = [each for each in ("rowid", "_rowid_", "oid") if each not in {column.lower() for column in names}]
        rowid = None if without_rowid or not rowids else rowids[0]
        found.append(_Table(name, names, () if given else tuple(column for _, column, _ in key), rowid))
    return sorted(found, key=lambda table: table.name)


def _is_store(table: _Table) -> bool:
    """Return whether a table with an unknown name holds entries."""
    return {"key", "value", "namespace"} <= set(table.columns)


def _rows(db: sqlite3.Connection, table: _Table, context: Context) -> Iterator[Found]:
    """Yield the item or the refusal of each row of a table."""
    for found in _scan(db, table) if table.rowid is not None else _scan_in_key_order(db, table):
        if isinstance(found, Refusal):
            yield found
        else:
            where = {"table": table.name} if found[0] is None else {"table": table.name, "rowid": found[0]}
            yield _map(table, dict(zip(table.columns, found[1], strict=True)), context, where)


def _kind(table: _Table) -> Kind:
    if table.name in records.RECORDS:
        return records.RECORDS[table.name][0]
    if table.name in _ENTRIES | _COLLECTIVE or _is_store(table):
        return Kind.ENTRY
    return records.kind_of_table(table.name)


def _map(table: _Table, columns: dict[str, Any], context: Context, where: dict[str, Any]) -> Found:
    """Return the item or the refusal of a row."""
    swarm_id = json_value(columns.get("swarm_id"))
    if table.name in _COLLECTIVE:
        value = from_text(columns.get("value"), scalars=True)
        namespace = f"hive:{json_value(columns.get('type')) or 'knowledge'}"
        return entry({**columns, "value": value}, context, namespace=namespace, swarm_id=swarm_id, where=where)
    if table.name in _ENTRIES or _is_store(table):
        # `memory_store` states whether a value is JSON. In other tables `5` may be a text or a number.
        declared = columns.get("type") if table.name == "memory_store" else None
        stored = columns.get("value")
        value = json_value(stored) if declared == "string" else from_text(stored, scalars=declared == "json")
        own = columns.get("namespace", table.name if table.name not in _ENTRIES else None)
        return entry({**columns, "value": value}, context, namespace=own, swarm_id=swarm_id, where=where)
    members = records.members(columns)
    if table.name in records.RECORDS:
        return records.record(table.name, members, context, swarm_id=swarm_id, where=where)
    key = "/".join(str(json_value(columns[name])) for name in table.key) if table.key else None
    return records.row(table.name, members, context, key=key, where=where)


def _scan(db: sqlite3.Connection, table: _Table) -> Iterator[tuple[int | None, tuple[Any, ...]] | Refusal]:
    """Yield the rows of a table in rowid order. Skip rows that can't be read."""
    first = _FIRST
    while first <= _LAST:
        try:
            for number, *row in _between(db, table, first, _LAST):
                first = number + 1
                yield number, tuple(row)
        except sqlite3.DataError:  # a row over the limit
            sql = f"SELECT min({table.rowid}) FROM {table.quoted} WHERE {table.rowid} >= ?"  # noqa: S608 - quoted
            number = db.execute(sql, (first,)).fetchone()[0]
            yield _large(db, table, number)
            first = number + 1
        except sqlite3.Error as error:
            at = _behind(db, table, first)
            end = None if at is None else at - 1
            with contextlib.suppress(sqlite3.Error):  # the other end of the damaged part
                for number, *row in _between(db, table, first, _LAST if end is None else end, order="DESC"):
                    end = number - 1
                    yield number, tuple(row)
            where = {"table": table.name, "from_rowid": None if first == _FIRST else first, "to_rowid": end}
            yield Refusal(_kind(table), Reason.CORRUPT, f"rows of a damaged part of the file ({error})", where)
            if at is None:
                return
            first = at
        else:
            return


def _between(
    db: sqlite3.Connection, table: _Table, first: int, last: int, *, order: str = "ASC"
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows between two rowids, up to the first row that can't be read.

    Raises:
        sqlite3.Error: a row can't be read.
    """
    rows = f"SELECT {table.rowid}, {_columns(table)} FROM {table.quoted}"  # noqa: S608 - quoted
    sql = f"{rows} WHERE {table.rowid} BETWEEN ? AND ? ORDER BY {table.rowid} {order}"
    while first <= last:
        try:
            for row in db.execute(sql, (first, last)):
                first, last = (row[0] + 1, last) if order == "ASC" else (first, row[0] - 1)
                yield row
        except sqlite3.Error:
            # Python's cursor reads one row ahead, and so loses the last readable row.
            row = db.execute(f"{sql} LIMIT 1", (first, last)).fetchone()
            if row is None:
                return
            first, last = (row[0] + 1, last) if order == "ASC" else (first, row[0] - 1)
            yield row
        else:
            return


def _behind(db: sqlite3.Connection, table: _Table, first: int) -> int | None:
    """Return the next readable row after an unreadable one, searched at growing distances; None if there is none."""
    rows = f"SELECT {table.rowid}, {_columns(table)} FROM {table.quoted}"  # noqa: S608 - quoted
    sql = f"{rows} WHERE {table.rowid} >= ? ORDER BY {table.rowid} LIMIT 1"
    for exponent in range(_FURTHEST):
        with contextlib.suppress(sqlite3.Error):
            found = db.execute(sql, (min(max(first, 0) + (1 << exponent), _LAST),)).fetchone()
            return None if found is None else int(found[0])
    return None


def _large(db: sqlite3.Connection, table: _Table, number: int) -> Refusal:
    """Return the refusal of a row that is larger than an entry may be."""
    where = {"table": table.name, "rowid": number, "columns": list(table.columns)}
    return Refusal(
        _kind(table), Reason.TOO_LARGE, "a row that is larger than an entry may be", where, _parts(db, table, number)
    )


def _parts(db: sqlite3.Connection, table: _Table, number: int) -> Iterator[bytes]:
    """Yield the columns of a row, each after a line with its name; texts and BLOBs in parts."""
    for column in table.columns:
        yield f"\n{column}: ".encode(errors="backslashreplace")
        try:
            yield from _column_parts(db, table, column, number)
        except sqlite3.Error as error:
            yield f"(can't be read: {error})".encode()


def _column_parts(db: sqlite3.Connection, table: _Table, column: str, number: int) -> Iterator[bytes]:
    source = f"FROM {table.quoted} WHERE {table.rowid} = ?"
    kind = db.execute(f"SELECT typeof({_quoted(column)}) {source}", (number,)).fetchone()[0]
    if kind not in {"text", "blob"}:
        yield repr(db.execute(f"SELECT {_quoted(column)} {source}", (number,)).fetchone()[0]).encode()
        return
    with db.blobopen(table.name, column, number, readonly=True) as value:
        while part := value.read(_PART):
            yield part


def _scan_in_key_order(db: sqlite3.Connection, table: _Table) -> Iterator[tuple[None, tuple[Any, ...]] | Refusal]:
    """Yield the rows of a table without rowids, up to the first row that can't be read."""
    sql = f"SELECT {_columns(table)} FROM {table.quoted}"  # noqa: S608 - quoted
    number = 0
    try:
        try:
            for row in db.execute(sql):
                number += 1
                yield None, tuple(row)
        except sqlite3.Error:  # see _between
            if (row := db.execute(f"{sql} LIMIT 1 OFFSET ?", (number,)).fetchone()) is not None:
                number += 1
                yield None, tuple(row)
            raise
    except sqlite3.Error as error:
        reason = Reason.TOO_LARGE if isinstance(error, sqlite3.DataError) else Reason.CORRUPT
        where = {"table": table.name, "after_rows": number}
        yield Refusal(_kind(table), reason, f"the rows behind can't be read ({error})", where)


def _columns(table: _Table) -> str:
    return ", ".join(map(_quoted, table.columns))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
