"""Results of a backup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that was made.

    Attributes:
        path: where it is.
        size: its bytes.
    """

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy that has no name any more: it is gone when it is closed, whatever becomes of the process.

    Attributes:
        file: open for reading, at its start.
        size: its bytes.
        sha256: of them.
    """

    file: BinaryIO
    size: int
    sha256: bytes
