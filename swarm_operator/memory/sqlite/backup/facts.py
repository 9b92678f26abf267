"""Facts about a copy of the database, with SQLite's check of its pages. See verify for a check of every entry.

The check runs in a service in use, so it executes no Python per entry.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from swarm_operator.memory.core.errors import CorruptDatabaseError, StoreClosedError
from swarm_operator.memory.core.threads import run_stoppable
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite

_INSTRUCTIONS: Final = 10_000
"""SQLite VM instructions between two checks for cancellation."""
_CHANGES: Final = 4
_DELETED: Final = 5
"""Schema versions that introduced these tables."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a database file.

    Attributes:
        schema_version: schema version of the file.
        entries: number of entries, including uncollected expired ones.
        feed_position: position of the last change; 0 if there was none.
        version: highest version of an entry, including deleted entries.
    """

    schema_version: int
    entries: int
    feed_position: int
    version: int


async def read_facts(path: Path) -> Facts:
    """Check the pages and indexes of a closed database file and return its facts. The file is not changed.

    Raises:
        CorruptDatabaseError: the file is damaged or empty.
        ForeignDatabaseError, NewerSchemaError: the file is not usable.
        StorageError: the file can't be read.
    """
    stop = threading.Event()
    return await run_stoppable(lambda: _read(path, stop), stop)


def _read(path: Path, stop: threading.Event) -> Facts:
    url = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(url, uri=True, isolation_level=None)) as db:
            for pragma in ("mmap_size = 0", "trusted_schema = OFF", "cell_size_check = ON"):
                db.execute(f"PRAGMA {pragma}")
            version = schema.inspect(db, str(path))
            if version == 0:
                raise CorruptDatabaseError(f"{path.name} is an empty database: no memory was ever written to it")
            db.set_progress_handler(stop.is_set, _INSTRUCTIONS)
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise CorruptDatabaseError(f"{path.name} is damaged: {found}")
            return _facts(db, version)
    except sqlite3.Error as error:
        if stop.is_set():
            raise StoreClosedError("the check was cancelled") from None
        raise from_sqlite(error) from error


def _facts(db: sqlite3.Connection, version: int) -> Facts:
    def number(statement: str) -> int:
        found: int = db.execute(statement).fetchone()[0]
        return found

    highest = number("SELECT coalesce(max(version), 0) FROM entries")
    if version >= _DELETED:
        highest = max(highest, number("SELECT coalesce(max(highest), 0) FROM deleted_versions"))
    return Facts(
        schema_version=version,
        entries=number("SELECT count(*) FROM entries"),
        feed_position=number("SELECT coalesce(max(seq), 0) FROM changes") if version >= _CHANGES else 0,
        version=highest,
    )
