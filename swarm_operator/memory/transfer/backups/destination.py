"""Destinations of backups: the interface of a folder (folder.py) and of an object store (bucket.py).

location.py reads URLs. Paths are relative to the destination's URL. Files are written atomically: readers never see an
incomplete file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PART: Final = 8 * 1024 * 1024
"""Bytes per read or write. Object stores require parts of at least 5 MiB."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file at a destination.

    Attributes:
        path: path below the destination's URL.
        size: bytes.
        modified: time of the last write, in milliseconds since the Unix epoch.
    """

    path: str
    size: int
    modified: int


class Destination(ABC):
    """A store of files. All methods raise DestinationError; some also raise FileNotFoundError.

    Attributes:
        url: the URL, without a slash at its end and without credentials.
    """

    url: str

    @abstractmethod
    def below(self, folder: str) -> Destination:
        """Return the destination at a folder of this one. The folder need not exist."""

    async def place(self, path: str) -> Path | None:
        """Return the local path of a file; None if the destination is not on this machine.

        The folder of the file is created. The caller must write the file atomically.
        """
        del path
        return None

    @abstractmethod
    async def put(self, path: str, parts: AsyncIterator[bytes], size: int) -> None:
        """Write or replace a file of `size` bytes, in bounded memory."""

    @abstractmethod
    async def size(self, path: str) -> int:
        """Return the bytes of a file. Raise FileNotFoundError."""

    @abstractmethod
    def read(self, path: str, size: int) -> AsyncIterator[bytes]:
        """Yield the first `size` bytes of a file in parts. Raise FileNotFoundError."""

    @abstractmethod
    async def list(self, folder: str = "") -> list[StoredFile]:
        """Return all files below a folder of this destination; none if the folder does not exist."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Delete a file. Do nothing if it does not exist."""
