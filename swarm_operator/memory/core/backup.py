"""Results of a backup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


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
