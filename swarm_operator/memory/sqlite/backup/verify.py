"""Is this database what it says it is? Looks at a file that no service has open, and changes nothing.

SQLite's own checks find damaged pages and indexes. What they can't know is checked here: that every value can be read,
and that all that is kept twice (counts, tags, the index of words, the feed of changes) agrees with the entries: that
is in derived.
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

_MOST_FOUND: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen.

    Attributes:
        schema_version: of the file. An older one is brought forward when it is opened, and is no finding.
        size: bytes of the file.
        entries: rows of entries, expired ones that still lie there included.
        value_bytes: of their values as JSON.
        namespaces: how many they are in.
        findings: what is wrong; empty when all is well. At most 100.
        omitted: how many more there are.
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
        """Whether nothing is wrong."""
        return not self.findings


def check(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check a database. It takes about as long as reading all of it a few times.

    Args:
        path: the file; with its `-wal` beside it, if there is one.
        progress: told how many entries were read, of how many.

    Raises:
        StorageIOError: there is no such file, or the disk failed.
        ForeignDatabaseError: it is no SQLite database, or another program's.
        NewerSchemaError: a newer release wrote it.
        DatabaseInUseError: a service has it open.
        ReadOnlyError: it has a log or a journal that can't be read where nothing can be written.
        CorruptDatabaseError: it is empty, or so damaged that nothing could be checked.
    """
    size = _look(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(path))
        db = stack.enter_context(contextlib.closing(_open(path)))
        try:
            version = schema.inspect(db, str(path))
        except MemoryStoreError as error:
            if isinstance(error, ReadOnlyError | StorageIOError) and _leftovers(path):
                raise _unreadable(path) from error
            raise
        if version == 0:
            raise CorruptDatabaseError(f"{path} is an empty database: no memory was ever written to it")
        findings = Findings(_MOST_FOUND)
        try:
            _structure(db, version, findings)
            # Rows of a file whose pages are damaged say no more than that, and reading them may fail anywhere.
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


def _look(path: Path) -> int:
    try:
        facts = path.stat()
    except OSError as error:
        raise StorageIOError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise StorageIOError(f"{path} is not a file")
    return facts.st_size


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock that a service would hold, if there is one to hold: nothing is made for it."""
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
    """Whether a process ended without closing the file: commits lie beside it, or what would undo half of one."""
    with contextlib.suppress(FileNotFoundError):
        if path.with_name(path.name + "-journal").stat().st_size:
            return True
    return checkpoint.wal_size(path) > 0


def _open(path: Path) -> sqlite3.Connection:
    """Open for reading only. A file with nothing beside it is taken as it lies, so nothing appears beside it."""
    mode = "mode=ro" if _leftovers(path) else "mode=ro&immutable=1"
    try:
        db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise from_sqlite(error) from error
    try:
        db.execute("PRAGMA mmap_size = 0")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        # All that follows is of one moment.
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
    """The pages, the indexes, and the tables as this release makes them."""
    for (text,) in db.execute(f"PRAGMA integrity_check({_MOST_FOUND})"):
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
        elif wanted[name] != found[name]:
            findings.add("schema", f"{name} is not what this release makes")


def _wanted(version: int) -> dict[str, str | None]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db, 0, until=version)
        return _objects(db)


def _objects(db: sqlite3.Connection) -> dict[str, str | None]:
    """What the schema has, and how it was made. FTS5's own tables are its business."""
    rows = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {
        f"{kind} {name}": None if sql is None or name.startswith("entries_text_") else " ".join(sql.split())
        for kind, name, sql in rows.fetchall()
    }
