"""Note beside a database that its final backup was begun: what is written after that would be lost with the volume.

The note has the name of the backup, so that a later owner of the database, whose final backup has another name, does
not keep to it. It is no part of the database: a copy of that takes writes.
"""

from __future__ import annotations

from pathlib import Path

from swarm_operator.memory.atomicfile import AtomicFile, sync_directory
from swarm_operator.memory.core.errors import StorageError, from_os


class DeletionNote:
    """The note of one database. It is on disk when `write` returns, and gone from there when `remove` does.

    Args:
        database: the database file; the note is beside it.
        backup: name of the final backup of the database's owner; None: there is to be none, and so no note.
    """

    def __init__(self, database: Path, backup: str | None) -> None:
        self._path = database.with_name(database.name + "-deleting")
        self.backup = backup

    def read(self) -> bool:
        """Return whether the owner's final backup was begun. Remove the note of another owner. Raise StorageError."""
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
        """Write the note. Raise StorageError, after which there is none."""
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
        """Remove the note, if there is one. Raise StorageError."""
        try:
            if self._path.exists():
                self._path.unlink()
                sync_directory(self._path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return from_os(error, f"the note {self._path.name}")
