"""Copies of a database at a destination: writes them, reads them back and compares them with their manifests.

A copy is valid if its digest, its pages and its counts match its manifest.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.core.backup import BackupSource
from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DiskFullError,
    ForeignDatabaseError,
    InvalidInputError,
    ReadOnlyError,
    from_os,
)
from swarm_operator.memory.sqlite.backup.facts import Facts, read_facts
from swarm_operator.memory.transfer.backups.destination import PART, Destination
from swarm_operator.memory.transfer.backups.errors import (
    BackupDamagedError,
    DestinationDeniedError,
    DestinationFullError,
)
from swarm_operator.memory.transfer.backups.manifest import Manifest

COPY: Final = "memory.db"


class Progress:
    """Progress of a backup. Its methods are called from the event loop.

    Attributes:
        verifying: whether the copy is being read back.
        bytes: bytes written or read back so far.
        of: total bytes; 0 if not known yet.
    """

    def __init__(self) -> None:
        self.verifying = False
        self.bytes = 0
        self.of = 0

    def begin(self, of: int, *, verifying: bool) -> None:
        """Begin to write or to read back."""
        self.verifying, self.bytes, self.of = verifying, 0, of


class Copies:
    """Copies in one folder of a destination.

    Args:
        destination: the folder.
        scratch: directory for copies on their way to and from an object store.
    """

    def __init__(self, destination: Destination, scratch: Path) -> None:
        self._destination = destination
        self._scratch = scratch

    async def write(self, source: BackupSource, name: str, progress: Progress) -> tuple[int, str]:
        """Copy the database to the destination. Return the copy's size and digest.

        Raises:
            DestinationError, BackupDamagedError: the destination failed, or its data differ from the written data.
            StorageError, StoreClosedError: the copy of the database could not be made.
        """
        path = f"{name}/{COPY}"
        place = await self._destination.place(path)
        if place is None:
            return await self._upload(source, path, progress)
        try:
            # The engine writes the copy directly at the destination, without a temporary copy.
            size = (await source.backup(place)).size
        except DiskFullError as error:
            raise DestinationFullError(f"{self._destination.url}: no room left: {error}") from error
        except ReadOnlyError as error:
            raise DestinationDeniedError(f"{self._destination.url}: {error}") from error
        progress.begin(size, verifying=False)
        digest = hashlib.sha256()
        async for part in self._destination.read(path, size):
            await asyncio.to_thread(digest.update, part)
            progress.bytes += len(part)
        return size, digest.hexdigest()

    async def read_back(self, manifest: Manifest, progress: Progress) -> Facts:
        """Return the facts of the copy at the destination. Raise BackupDamagedError if its digest is wrong."""
        async with self._downloaded(manifest, progress) as path:
            return await _examine(path)

    async def check(self, manifest: Manifest, progress: Progress) -> None:
        """Read a copy back and compare it with its manifest. Raise BackupDamagedError."""
        _compare(manifest, await self.read_back(manifest, progress))

    async def fetch(self, manifest: Manifest, target: Path, progress: Progress) -> None:
        """Copy a backup to a new file, which appears once it is complete, verified and on disk; see Catalog.fetch."""
        try:
            await asyncio.to_thread(remove_stale, target.parent)
            file = await asyncio.to_thread(AtomicFile.create, target)
            try:
                with file.path.open("wb", buffering=0) as opened:
                    await self._download(manifest, progress, opened)
                _compare(manifest, await _examine(file.path))
                await asyncio.to_thread(file.publish)
            finally:
                await asyncio.to_thread(file.discard)
        except FileExistsError:
            raise InvalidInputError("target", f"a file that does not exist; there is a {target} already") from None
        except OSError as error:
            raise from_os(error, f"the copy {target}") from error

    async def _upload(self, source: BackupSource, path: str, progress: Progress) -> tuple[int, str]:
        async with source.snapshot(self._scratch) as snapshot:
            progress.begin(snapshot.size, verifying=False)
            digest = hashlib.sha256()

            async def parts() -> AsyncGenerator[bytes, None]:
                while part := await asyncio.to_thread(snapshot.file.read, PART):
                    await asyncio.to_thread(digest.update, part)
                    yield part
                    progress.bytes += len(part)

            await self._destination.put(path, parts(), snapshot.size)
            if digest.digest() != snapshot.sha256:
                raise BackupDamagedError("the copy changed on its way to the destination")
            return snapshot.size, digest.hexdigest()

    @contextlib.asynccontextmanager
    async def _downloaded(self, manifest: Manifest, progress: Progress) -> AsyncIterator[Path]:
        """Yield a file with the copy from the destination. Raise BackupDamagedError if its digest is wrong."""
        place = await self._destination.place(f"{manifest.name}/{COPY}")
        if place is not None:
            await self._download(manifest, progress, None)
            yield place
            return
        try:
            file = await asyncio.to_thread(AtomicFile.create, self._scratch / "verify", replace=True)
            try:
                with file.path.open("wb", buffering=0) as opened:
                    await self._download(manifest, progress, opened)
                yield file.path
            finally:
                await asyncio.to_thread(file.discard)
        except OSError as error:
            raise from_os(error, f"a copy of the backup {manifest.name} in {self._scratch}") from error

    async def _download(self, manifest: Manifest, progress: Progress, file: BinaryIO | None) -> None:
        """Read a copy, write it to a file if one is given, and check its digest. Raise BackupDamagedError."""
        path = f"{manifest.name}/{COPY}"
        progress.begin(manifest.size, verifying=True)
        digest = hashlib.sha256()
        try:
            size = await self._destination.size(path)
            if size != manifest.size:
                raise BackupDamagedError(f"the copy has {size} bytes, and {manifest.size} were written")
            async for part in self._destination.read(path, size):
                await asyncio.to_thread(_take, digest, part, file)
                progress.bytes += len(part)
        except FileNotFoundError as error:
            raise BackupDamagedError(f"{self._destination.url}/{manifest.name}: the copy is missing") from error
        if digest.hexdigest() != manifest.sha256:
            raise BackupDamagedError("the copy has another SHA-256 digest than the one that was written")


async def _examine(path: Path) -> Facts:
    try:
        return await read_facts(path)
    except (CorruptDatabaseError, ForeignDatabaseError) as error:
        raise BackupDamagedError(str(error)) from error


def _compare(manifest: Manifest, facts: Facts) -> None:
    """Raise BackupDamagedError if a copy does not match its manifest."""
    if with_facts(manifest, facts, verified_at=manifest.verified_at) != manifest:
        raise BackupDamagedError(f"the copy does not hold what its manifest says, but {facts}")


def with_facts(manifest: Manifest, facts: Facts, *, verified_at: str | None) -> Manifest:
    """Return the manifest of a copy with these facts."""
    return replace(
        manifest, entries=facts.entries, schema_version=facts.schema_version, feed_position=facts.feed_position,
        version=facts.version, verified_at=verified_at,
    )  # fmt: skip


def _take(digest: hashlib._Hash, part: bytes, file: BinaryIO | None) -> None:
    digest.update(part)
    written = 0
    while file is not None and written < len(part):
        written += file.write(part[written:])
