"""Offline integrity check of a database file. Read-only; no service may have the file open.

SQLite's own checks find damaged pages and indexes. This module also checks the schema. backup.consistency checks that
every value is readable and that derived data (counters, tags, text index, changes) matches the entries.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DatabaseInUseError,
    MemoryStoreError,
    ReadOnlyError,
    StorageIOError,
)
from swarm_operator.memory.sqlite.backup import consistency
from swarm_operator.memory.sqlite.backup.findings import Finding, Findings
from swarm_operator.memory.sqlite.database import checkpoint, schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search.tokenizer import is_table

_MAX_FINDINGS: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a check.

    Attributes:
        schema_version: schema version of the file. An older version is not a finding: opening the file migrates it.
        size: bytes of the file.
        entries: number of entries, including uncollected expired ones.
        value_bytes: bytes of their values as JSON.
        namespaces: number of namespaces with entries.
        findings: problems found, at most 100; empty if the database is intact.
        omitted: number of further problems.
    """

    schema_version: int
    size: int
    entries: int = 0
    value_bytes: int = 0
    namespaces: int = 0
    findings: tuple[Finding, ...] = field(default=())
    omitted: int = 0

    @property
    def ok(self) -> bool:
        """Return whether the check found no problem."""
        return not self.findings


def check(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check a database and return a report. The check takes about as long as reading the file a few times.

    Args:
        path: the database file. Its `-wal` file must be in the same directory, if present.
        progress: called with the number of entries read and the total number of entries.

    Raises:
        StorageIOError: the file does not exist, or the disk failed.
        ForeignDatabaseError: the file is not an SQLite database, or belongs to another program.
        NewerSchemaError: a newer release wrote the file.
        DatabaseInUseError: a service has the file open.
        ReadOnlyError: the file has a WAL or journal, which cannot be read from a read-only location.
        CorruptDatabaseError: the database is empty, or too damaged to check.
    """
    size = _file_size(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_process_lock(path))
        db = stack.enter_context(contextlib.closing(_open(path)))
        try:
            version = schema.inspect(db, str(path))
        except MemoryStoreError as error:
            if isinstance(error, ReadOnlyError | StorageIOError) and _leftovers(path):
                raise _unreadable(path) from error
            raise
        if version == 0:
            raise CorruptDatabaseError(f"{path} is an empty database: no memory was ever written to it")
        findings = Findings(_MAX_FINDINGS)
        try:
            _structure(db, version, findings)
            # With damaged pages, row checks add no information, and any read may fail.
            totals = consistency.check(db, version, findings, progress) if not findings else consistency.Totals()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:
                raise from_sqlite(error) from error  # a defect of these checks
            findings.add("database", f"it can't be read on: {from_sqlite(error)}")
            totals = consistency.Totals()
        return Report(
            schema_version=version,
            size=size,
            entries=totals.entries,
            value_bytes=totals.bytes,
            namespaces=totals.namespaces,
            findings=tuple(findings),
            omitted=findings.omitted,
        )


def _file_size(path: Path) -> int:
    try:
        facts = path.stat()
    except OSError as error:
        raise StorageIOError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise StorageIOError(f"{path} is not a file")
    return facts.st_size


@contextlib.contextmanager
def _process_lock(path: Path) -> Iterator[None]:
    """Hold the process lock of the database during the block. Do not create a missing lock file."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise ReadOnlyError(f"{lock}: {error.strerror}") from error
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatabaseInUseError(f"{path} is in use: stop its service first, or check a backup of it") from None
    finally:
        os.close(descriptor)


def _leftovers(path: Path) -> bool:
    """Return whether the file was not closed: it has a WAL with commits, or a journal for rollback."""
    with contextlib.suppress(FileNotFoundError):
        if path.with_name(path.name + "-journal").stat().st_size:
            return True
    return checkpoint.wal_size(path) > 0


def _open(path: Path) -> sqlite3.Connection:
    """Open the file read-only. Without a WAL or journal, open it as immutable, so that SQLite creates no files."""
    mode = "mode=ro" if _leftovers(path) else "mode=ro&immutable=1"
    try:
        db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise from_sqlite(error) from error
    try:
        db.execute("PRAGMA mmap_size = 0")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        # All checks read one snapshot.
        db.execute("BEGIN")
    except sqlite3.Error as error:
        db.close()
        raise from_sqlite(error) from error
    return db


def _unreadable(path: Path) -> MemoryStoreError:
    return ReadOnlyError(
        f"{path} was not closed: what lies beside it can't be read without writing. Copy all of it to where you may "
        "write, or start the service once"
    )


def _structure(db: sqlite3.Connection, version: int, findings: Findings) -> None:
    """Check the pages, the indexes, and the schema against that of this release."""
    for (text,) in db.execute(f"PRAGMA integrity_check({_MAX_FINDINGS})"):
        if text != "ok":
            findings.add("database", text)
    for table, row_id, parent, _ in db.execute("PRAGMA foreign_key_check").fetchall():
        findings.add(f"table {table}", f"row {row_id} refers to a row of {parent} that is not there")
    wanted, found = _wanted(version), _objects(db)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            findings.add("schema", f"{name} is missing")
        elif name not in wanted:
            findings.add("schema", f"{name} does not belong there")
        elif not _same(wanted[name], found[name]) and not (
            name == "table entries_text" and is_table(found[name] or "")
        ):
            findings.add("schema", f"{name} is not what this release makes")


def _wanted(version: int) -> dict[str, str | None]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db, 0, until=version)
        return _objects(db)


def _same(one: str | None, other: str | None) -> bool:
    """Compare SQL without spaces: ALTER TABLE places them in its own way, so a migrated file differs from a new one."""
    return (one or "").replace(" ", "") == (other or "").replace(" ", "")


def _objects(db: sqlite3.Connection) -> dict[str, str | None]:
    """Return the schema objects and their SQL. The SQL of FTS5's shadow tables is ignored."""
    rows = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {
        f"{kind} {name}": None if sql is None or name.startswith("entries_text_") else " ".join(sql.split())
        for kind, name, sql in rows.fetchall()
    }
