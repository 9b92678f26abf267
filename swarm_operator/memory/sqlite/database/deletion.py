"""Note beside a database that its final backup has begun: later writes would be lost with the volume.

The note contains the name of the backup, so that it has no effect for a later owner of the database, whose final backup
has another name. The note is not part of the database: a copy of the database accepts writes.
"""

from __future__ import annotations

from pathlib import Path

from swarm_operator.memory.atomicfile import AtomicFile, sync_directory
from swarm_operator.memory.core.errors import StorageError, from_os


class DeletionNote:
    """The note of one database. `write` and `remove` return when the change is on disk.

    Args:
        database: the database file; the note is in the same directory.
        backup: name of the final backup of the database's owner; None: the owner makes none, so there is no note.
    """

    def __init__(self, database: Path, backup: str | None) -> None:
        self._path = database.with_name(database.name + "-deleting")
        self.backup = backup

    def read(self) -> bool:
        """Return whether the owner's final backup has begun. Remove the note of another owner. Raise StorageError."""
        if self.backup is None:
            return False
        try:
            found = self._path.read_text()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed(error) from error
        if found == self.backup:
            return True
        self.remove()
        return False

    def write(self) -> None:
        """Write the note. After StorageError the note does not exist."""
        if self.backup is None:
            return
        try:
            file = AtomicFile.create(self._path, replace=True)
            try:
                file.path.write_text(self.backup)
                file.publish()
            finally:
                file.discard()
        except OSError as error:
            raise self._failed(error) from error

    def remove(self) -> None:
        """Remove the note, if it exists. Raise StorageError."""
        try:
            if self._path.exists():
                self._path.unlink()
                sync_directory(self._path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return from_os(error, f"the note {self._path.name}")
