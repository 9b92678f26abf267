"""A destination on a file system, such as a mounted volume."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.transfer.backups.destination import PART, Destination, StoredFile
from swarm_operator.memory.transfer.backups.errors import (
    DestinationDeniedError,
    DestinationError,
    DestinationFullError,
    DestinationMissingError,
)

_BY_ERRNO: Final[dict[int, type[DestinationError]]] = {
    errno.ENOSPC: DestinationFullError,
    errno.EDQUOT: DestinationFullError,
    errno.EFBIG: DestinationFullError,
    errno.EACCES: DestinationDeniedError,
    errno.EPERM: DestinationDeniedError,
    errno.EROFS: DestinationDeniedError,
}


class FolderDestination(Destination):
    """Files below a folder. They are private to their owner, and are synced to disk before they appear.

    Args:
        root: the folder, which must exist: a missing volume must not be replaced by a new folder.
        folder: path of a folder below `root`, created on demand.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self._root = root
        self._base = root / folder
        self.url = f"file://{self._base}"

    def below(self, folder: str) -> Destination:
        """Return the destination at a folder of this one."""
        return FolderDestination(self._root, str((self._base / folder).relative_to(self._root)))

    async def place(self, path: str) -> Path:
        """Create the folder of a file and return the file's path."""
        with self._translated():
            await asyncio.to_thread(self._make_folder, path)
        return self._base / path

    async def put(self, path: str, parts: AsyncIterator[bytes], size: int) -> None:
        """Write or replace a file."""
        del size
        target = self._base / path
        with self._translated():
            await asyncio.to_thread(self._make_folder, path)
            await asyncio.to_thread(remove_stale, target.parent)
            file = AtomicFile.create(target, replace=True)
            try:
                with file.path.open("wb", buffering=0) as opened:
                    async for part in parts:
                        await asyncio.to_thread(_write, opened, part)
                await asyncio.to_thread(file.publish)
            finally:
                await asyncio.to_thread(file.discard)

    async def size(self, path: str) -> int:
        """Return the bytes of a file."""
        with self._translated(missing=False):
            return (await asyncio.to_thread((self._base / path).stat)).st_size

    async def read(self, path: str, size: int) -> AsyncIterator[bytes]:
        """Yield a file in parts, from the disk itself."""
        with self._translated(missing=False):
            opened = await asyncio.to_thread((self._base / path).open, "rb", 0)
            with opened:
                # Without this, the data would come from the kernel's page cache and not from the disk.
                await asyncio.to_thread(os.posix_fadvise, opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while size > 0 and (part := await asyncio.to_thread(opened.read, min(PART, size))):
                    size -= len(part)
                    yield part

    async def list(self, folder: str = "") -> list[StoredFile]:
        """Return all files, hidden ones of killed processes included."""
        with self._translated():
            return await asyncio.to_thread(self._files, folder)

    async def delete(self, path: str) -> None:
        """Delete a file, and the folders that become empty."""
        with self._translated(missing=False), contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._delete, self._base / path)

    def _make_folder(self, path: str) -> None:
        self._check_root()
        (self._base / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _files(self, below: str) -> builtins.list[StoredFile]:
        self._check_root()
        found = []
        for folder, _, names in os.walk(self._base / below, onerror=_raise):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    facts = path.stat(follow_symlinks=False)
                    modified = facts.st_mtime_ns // 1_000_000
                    found.append(StoredFile(str(path.relative_to(self._base)), facts.st_size, modified))
        return found

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise FileNotFoundError

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)  # a killed process may have left the folder of a file that it deleted
        folder = path.parent
        _sync(folder)
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:  # not empty
                return
            folder = folder.parent
            _sync(folder)

    @contextlib.contextmanager
    def _translated(self, *, missing: bool = True) -> Iterator[None]:
        """Raise an OSError of the block as DestinationError; FileNotFoundError only if `missing`."""
        try:
            yield
        except FileNotFoundError as error:
            if not missing and self._root.is_dir():
                raise
            raise DestinationMissingError(
                f"{self.url}: the folder {self._root} does not exist; create it, or mount its volume"
            ) from error
        except OSError as error:
            kind = _BY_ERRNO.get(error.errno or 0, DestinationError)
            raise kind(f"{self.url}: {error.strerror or error}") from error


def _raise(error: OSError) -> None:
    """Raise an error of os.walk, unless the folder does not exist."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _write(file: BinaryIO, part: bytes) -> None:
    written = 0
    while written < len(part):
        written += file.write(part[written:])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
