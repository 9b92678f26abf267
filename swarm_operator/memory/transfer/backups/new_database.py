"""Restore of a backup as a new database. An existing database is never overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from swarm_operator.memory.core.errors import InvalidInputError, from_os
from swarm_operator.memory.transfer.backups.catalog import Catalog, Progress
from swarm_operator.memory.transfer.backups.location import open_destination, split_location
from swarm_operator.memory.transfer.backups.manifest import Manifest

_LOGS: Final = ("-wal", "-journal")
"""Suffixes of files with which SQLite would change a database of that name when it opens it."""


async def restore_new(
    location: str,
    database: Path,
    *,
    swarm_id: str | None = None,
    options: Path | None = None,
    credentials: Path | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Create a database from a backup. The file is there when it is whole, verified and on disk.

    Args:
        location: URL of the backup's folder.
        database: the file to create, in a directory that is created if it is missing.
        swarm_id: the swarm that the backup must belong to; None: any.
        options: see open_destination.
        credentials: see open_destination.
        progress: told how far it is.

    Raises:
        InvalidInputError: the database exists, or the log of one that is gone.
        DestinationError, BackupNotFoundError, BackupDamagedError, ForeignBackupError, NewerSchemaError, StorageError:
            see Catalog.fetch; there is no database.
    """
    folder, name = split_location(location)
    for path in (database, *(database.with_name(database.name + suffix) for suffix in _LOGS)):
        if path.exists():
            raise InvalidInputError("data_dir", f"a directory without a database; there is a {path} already")
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise from_os(error, f"the directory {database.parent}") from error
    destination = open_destination(folder, options=options, credentials=credentials)
    catalog = Catalog(destination, scratch=database.parent)
    return await catalog.fetch(name, database, swarm_id=swarm_id, progress=progress)
