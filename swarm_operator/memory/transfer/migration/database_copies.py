"""Copies of SQLite databases for reading: with their log, index of the log and journal, as they are at one moment.

The newest rows of a database in WAL mode are only in its `-wal`, and a hot `-journal` has what an interrupted write
must be rolled back to. SQLite reads both when the copy is opened. The source is never opened by SQLite: that would
change it, and a volume that is mounted read-only has no room for an index of the log.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SIDECARS: Final = ("-wal", "-shm", "-journal")
_ATTEMPTS: Final = 5


@contextlib.contextmanager
def copied(database: Path, scratch: Path) -> Iterator[tuple[Path, bool]]:
    """Copy a database and give the copy, which is removed afterwards, and whether it is of one moment.

    A database that is written while it is copied is copied again, up to five times. The last copy is then used: what
    it holds of the rows that were written meanwhile is not certain.

    Raises:
        OSError: the database can't be read, or the scratch directory can't be written.
    """
    folder = scratch / "database"
    try:
        for _ in range(_ATTEMPTS):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            before = _state(database)
            for path in (database, *sidecars(database)):
                with contextlib.suppress(FileNotFoundError) if path != database else contextlib.nullcontext():
                    shutil.copyfile(path, folder / ("copy" + path.name.removeprefix(database.name)))
            unchanged = _state(database) == before
            if unchanged:
                break
        yield folder / "copy", unchanged
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sidecars(database: Path) -> list[Path]:
    """Return the paths of the files that may belong to a database."""
    return [database.with_name(database.name + suffix) for suffix in SIDECARS]


def _state(database: Path) -> list[tuple[int, int, int] | None]:
    """Return what changes when a database is written. The index of the log is changed by readers, too."""
    return [_stamp(path) for path in (database, *sidecars(database)) if not path.name.endswith("-shm")]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
