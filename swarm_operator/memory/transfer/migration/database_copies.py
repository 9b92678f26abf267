"""Consistent copies of SQLite databases for reading, with their log, index of the log and journal.

The newest rows of a database in WAL mode are only in its `-wal`, and a hot `-journal` has the pages to roll back an
interrupted write. SQLite reads both when the copy is opened. SQLite never opens the source: that would change the
source, and would fail on a volume that is mounted read-only.
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
    """Copy a database. Yield the copy, which is removed on exit, and whether the copy is consistent.

    If the database changes during the copy, the copy is repeated, up to five times. The last copy is then used: rows
    that were written meanwhile may be missing or wrong.

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
    """Return facts that change with each write. The index of the log is ignored, because readers change it, too."""
    return [_stamp(path) for path in (database, *sidecars(database)) if not path.name.endswith("-shm")]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
