"""Finds the files of legacy memories below a path, and detects their formats by their first bytes.

Symbolic links are not followed, and only regular files are opened: a pipe would block until it has a writer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from swarm_operator.memory.atomicfile import SUFFIX
from swarm_operator.memory.transfer.migration.database_copies import SIDECARS
from swarm_operator.memory.transfer.migration.databases import MAGIC
from swarm_operator.memory.transfer.migration.items import Ignored, Kind, Notice, Reason, Refusal

_HEAD: Final = 4096
_JSON_NAMES: Final = frozenset({".json", ".jsonl", ".ndjson"})
_DATABASE_NAMES: Final = frozenset({".db", ".sqlite", ".sqlite3"})
_BOM: Final = b"\xef\xbb\xbf"
_LOST_AND_FOUND: Final = "lost+found"
"""Directory that some file systems create at their root, readable by root only."""


class Format(StrEnum):
    """Format of a file."""

    JSON = "json"
    DATABASE = "sqlite"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to migrate.

    Attributes:
        path: path of the file.
        label: path below the root, for the report.
        format: format of the file.
        size: size in bytes, including the log of a database.
        written_at: time of the last write, in milliseconds.
    """

    path: Path
    label: str
    format: Format
    size: int
    written_at: int


Sighted: TypeAlias = tuple[str, Source | Refusal | Notice]
"""Label of a file, and a source or a notice."""


def find(root: Path, *, outputs: Collection[Path] = ()) -> Iterator[Sighted]:
    """Yield each file below a path, sorted by path.

    Args:
        root: a directory, or one file.
        outputs: files and directories written by this migration, which are ignored.

    Raises:
        OSError: the root does not exist or can't be read.
    """
    status = root.stat()
    avoided = {_real(path) for path in outputs}
    if not stat.S_ISDIR(status.st_mode):
        yield root.name, Notice(Ignored.OUTPUT) if _real(root) in avoided else _look(root, root.name)
        return
    with os.scandir(root):
        pass  # a root that can't be read is an error, not a finding
    yield from _below(root, "", avoided)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raise OSError for anything else, even after a concurrent replacement."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _below(folder: Path, prefix: str, avoided: set[str]) -> Iterator[Sighted]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda each: each.name)
    except OSError as error:
        yield _label(prefix.rstrip("/")), Refusal(Kind.FILE, Reason.UNREADABLE, f"directory: {error.strerror}")
        return
    names = {each.name for each in found}
    for each in found:
        if each.name.endswith(SUFFIX):  # a file that this program is writing
            continue
        path, label = folder / each.name, _label(prefix + each.name)
        if _real(path) in avoided:
            yield label, Notice(Ignored.OUTPUT)
        elif each.is_symlink():
            yield label, Notice(Ignored.SYMLINK, f"points to {_label(str(path.readlink()))}; links are not followed")
        elif each.is_dir(follow_symlinks=False):
            if prefix or each.name != _LOST_AND_FOUND:
                yield from _below(path, f"{prefix}{each.name}/", avoided)
        elif (database := _database_of(each.name)) is None:
            yield label, _look(path, label)
        elif database not in names:
            yield label, Notice(Ignored.ORPHAN, f"{_label(database)} is not there")


def _database_of(name: str) -> str | None:
    """Return the name of the database that a file of this name may belong to."""
    return next((name.removesuffix(suffix) for suffix in SIDECARS if name.endswith(suffix) and name != suffix), None)


def _look(path: Path, label: str) -> Source | Refusal | Notice:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Notice(Ignored.SPECIAL)
        with open_regular(path.resolve() if path.is_symlink() else path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        return Refusal(Kind.FILE, Reason.UNREADABLE, error.strerror or str(error))
    written_at = status.st_mtime_ns // 1_000_000
    if head.startswith(MAGIC):
        return Source(path, label, Format.DATABASE, status.st_size + _log_size(path), written_at)
    text = head.removeprefix(_BOM).lstrip()
    if text[:1] in {b"{", b"["}:
        return Source(path, label, Format.JSON, status.st_size, written_at)
    if not text and status.st_size <= len(head):
        return Notice(Ignored.EMPTY)
    suffix = path.suffix.lower()
    if suffix in _DATABASE_NAMES:
        return Refusal(Kind.FILE, Reason.NOT_A_DATABASE, "it does not begin as a SQLite database")
    if suffix in _JSON_NAMES:
        return Refusal(Kind.FILE, Reason.NOT_JSON, "it does not begin as JSON")
    return Notice(Ignored.NOT_A_MEMORY)


def _log_size(database: Path) -> int:
    try:
        return database.with_name(f"{database.name}-wal").stat().st_size
    except OSError:
        return 0


def _label(path: str) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _real(path: Path) -> str:
    return os.path.realpath(path.parent) + os.sep + path.name
