"""Restore of a backup as a new database. An existing database is never overwritten."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final

from swarm_operator.memory.atomicfile import sync_directory
from swarm_operator.memory.core.errors import from_os
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.copies import Progress
from swarm_operator.memory.transfer.backups.errors import DatabaseExistsError
from swarm_operator.memory.transfer.backups.location import open_destination, split_location
from swarm_operator.memory.transfer.backups.manifest import Manifest

_LEFT: Final = ("-wal", "-journal", "-former", "-returning")
"""Suffixes of files that would change a new database on opening: logs, and copies to put back."""


async def restore_new(
    location: str,
    database: Path,
    *,
    swarm_id: str | None = None,
    options: Path | None = None,
    credentials: Path | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Create a database from a backup. The file appears once it is complete, verified and on disk.

    The call can be repeated after a kill: an existing database that is identical to the backup is accepted.

    Args:
        location: URL of the backup's folder.
        database: the file to create, in a directory that is created if it is missing.
        swarm_id: the swarm that the backup must belong to; None: any.
        options: see open_destination.
        credentials: see open_destination.
        progress: receives the progress.

    Raises:
        DatabaseExistsError: another database exists, or the log or a copy of a former one.
        DestinationError, BackupNotFoundError, BackupDamagedError, ForeignBackupError, NewerSchemaError, StorageError:
            see Catalog.fetch; no database was created.
    """
    folder, name = split_location(location)
    destination = open_destination(folder, options=options, credentials=credentials)
    catalog = Catalog(destination, scratch=database.parent)
    there = _existing(database)
    if there == database:
        manifest = (await catalog.get(name)).usable()
        if await asyncio.to_thread(_digest, database) != manifest.sha256:
            raise _exists(database)
        await asyncio.to_thread(sync_directory, database.parent)
        return manifest
    if there is not None:
        raise _exists(there)
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise from_os(error, f"the directory {database.parent}") from error
    return await catalog.fetch(name, database, swarm_id=swarm_id, progress=progress)


def _existing(database: Path) -> Path | None:
    """Return the path of a log, of a copy to put back, or of the database, if one of them exists."""
    paths = (*(database.with_name(database.name + suffix) for suffix in _LEFT), database)
    return next((path for path in paths if path.exists()), None)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _exists(path: Path) -> DatabaseExistsError:
    return DatabaseExistsError(f"there is a {path} already; a directory without a database is allowed")
