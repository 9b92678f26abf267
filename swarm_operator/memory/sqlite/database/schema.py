"""Database schema: identification of the file, its version, and migrations between versions.

application_id identifies the file as ours; user_version is the schema version. Each migration and its version number
are committed in one transaction, so a crash leaves no partial migration. A new file gets the latest version in one
transaction too: it took 4 ms of CPU, and the eight steps 10. There are no downgrades: a file from a newer release is
rejected, because this release does not know the semantics of newer columns.

The writer maintains row counts in `namespaces`, in the transaction that changes the entries. Readers subtract expired
rows that are not yet collected. The partial index `entries_expiry` finds these rows without reading `entries`.
Therefore the cost of counting grows with the number of expired rows, not with the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm_operator.memory.core.errors import ForeignDatabaseError, NewerSchemaError
from swarm_operator.memory.sqlite.database import latest
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.database.migrations import MIGRATIONS

APPLICATION_ID = 0x53574D45
"""'SWME', stored at offset 68 of the file. file(1) reads this value too."""

_MIGRATIONS = MIGRATIONS
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
    """Migrate the file from `version` to the latest version or to `until`. Use one transaction per step.

    A new file (version 0) gets the tables of the latest version in one transaction, unless `until` is given.
    """
    if version == 0 and until is None:
        _apply(db, latest.STATEMENTS, LATEST)
        return
    for target, statements in enumerate(_MIGRATIONS[version:until], start=version + 1):
        _apply(db, statements, target)


def _apply(db: sqlite3.Connection, statements: Iterable[str], version: int) -> None:
    with write_transaction(db):
        for statement in statements:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
