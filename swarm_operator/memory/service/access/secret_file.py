"""Reads files of the token directory."""

from __future__ import annotations

from pathlib import Path

from swarm_operator.memory.service.errors import BadTokenFileError


def read(path: Path, max_bytes: int) -> bytes | None:
    """Return the content of a file, at most one byte more than `max_bytes`; None if the file does not exist.

    Raises:
        BadTokenFileError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadTokenFileError(f"{path}: {error.strerror}") from error
