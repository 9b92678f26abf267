"""Backups: their source and their results."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup.

    Attributes:
        path: path of the file.
        size: size of the file in bytes.
    """

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup in an unlinked file: the file is deleted when it is closed, even if the process is killed.

    Attributes:
        file: the file, open for reading, at its start.
        size: size of the file in bytes.
        sha256: SHA-256 digest of the file.
    """

    file: BinaryIO
    size: int
    sha256: bytes


class BackupSource(Protocol):
    """Source of a backup: an open store, or the database file of a closed one. See Store for the methods."""

    @property
    def swarm_id(self) -> str:
        """Return the ID of the data's swarm."""

    async def backup(self, path: Path) -> Backup:
        """Write a copy to a new file."""

    def snapshot(self, directory: Path | None = None) -> AbstractAsyncContextManager[Snapshot]:
        """Make an unlinked copy for reading."""

    async def stop_writes(self, backup: str) -> None:
        """Refuse writes from now on, for a final backup of that name."""

    async def resume_writes(self, backup: str) -> None:
        """Accept writes again."""
