"""The catalog of the backups in one folder of a destination: makes, verifies, lists, fetches and deletes them.

A backup counts when its copy was read back from where it lies, and its digest, its pages and its counts were right:
then its manifest is written, and not before. Layout: NAME/memory.db and NAME/manifest.json.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import swarm_operator
from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.core.backup import BackupSource
from swarm_operator.memory.core.errors import (
    CorruptDatabaseError,
    DiskFullError,
    ForeignDatabaseError,
    InvalidInputError,
    MemoryStoreError,
    ReadOnlyError,
    from_os,
)
from swarm_operator.memory.sqlite.backup.facts import Facts, read_facts
from swarm_operator.memory.swarm.times import to_text
from swarm_operator.memory.transfer.backups import manifest as manifests
from swarm_operator.memory.transfer.backups.destination import PART, Destination, StoredFile
from swarm_operator.memory.transfer.backups.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    DestinationDeniedError,
    DestinationFullError,
    ForeignBackupError,
)
from swarm_operator.memory.transfer.backups.manifest import Manifest, check_name, check_reason, is_name

COPY: Final = "memory.db"
FINAL_BACKUP: Final = "Final"
"""Reason of the backup after which a memory is deleted."""
MANIFEST: Final = "manifest.json"
ABANDONED_AFTER: Final = 24 * 3600 * 1000
"""Milliseconds after which an incomplete backup is removed by the next successful one."""
_CONCURRENT_READS: Final = 8


class Progress:
    """How far a backup is. Its methods are called from the event loop.

    Attributes:
        verifying: whether the copy is being read back.
        bytes: bytes written or read back so far.
        of: all bytes; 0: not known yet.
    """

    def __init__(self) -> None:
        self.verifying = False
        self.bytes = 0
        self.of = 0

    def begin(self, of: int, *, verifying: bool) -> None:
        """Begin to write or to read back."""
        self.verifying, self.bytes, self.of = verifying, 0, of


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup as it lies at the destination.

    Attributes:
        name: its name; below a folder of several swarms, SWARM/NAME.
        location: URL of its folder.
        manifest: its manifest; None: the backup is incomplete.
        problem: why the manifest can't be read, or what verification found; None: nothing.
        size: bytes of its copy.
        modified: time of the last write, in milliseconds since the Unix epoch.
    """

    name: str
    location: str
    manifest: Manifest | None
    problem: MemoryStoreError | None
    size: int
    modified: int

    @property
    def complete(self) -> bool:
        """Return whether the backup counts: its last verification succeeded."""
        return self.manifest is not None and self.problem is None

    def usable(self) -> Manifest:
        """Return the manifest of a backup that counts.

        Raises:
            BackupNotFoundError: the backup is incomplete.
            BackupDamagedError: its manifest can't be read, or its last verification found damage.
        """
        if self.problem is not None:
            raise self.problem
        if self.manifest is None:
            raise BackupNotFoundError(f"{self.location}: the backup is incomplete")
        return self.manifest


class Catalog:
    """Backups in one folder of a destination.

    Args:
        destination: the folder.
        source: the store of which `make` makes backups; None: it is given to `make`.
        scratch: directory for copies on their way to and from an object store.
        clock: seconds since the Unix epoch.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        scratch: Path,
        source: BackupSource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.destination = destination
        self._scratch = scratch
        self._source = source
        self._clock = clock

    def location(self, name: str) -> str:
        """Return the URL of a backup."""
        return f"{self.destination.url}/{name}"

    async def make(
        self, name: str, reason: str, *, source: BackupSource | None = None, progress: Progress | None = None
    ) -> Manifest:
        """Make and verify a backup. Return the manifest of the one of that name if it is complete.

        What an earlier attempt left is replaced. After an error nothing of the backup counts. Before the copy of a
        final backup is made, the store stops to accept writes, so that it holds all that was ever acknowledged. It
        accepts them again after an error, unless the backup may be complete all the same: see `delete`.

        Args:
            name: name of the backup.
            reason: why it is made.
            source: what it is made of; None: the catalog's.
            progress: told how far it is.

        Raises:
            InvalidInputError: the name or the reason is not allowed.
            DestinationError, BackupDamagedError: the destination failed; nothing counts.
            StorageError, StoreClosedError: the copy of the database could not be made.
        """
        source = source or self._source
        assert source is not None  # noqa: S101 - see the class
        progress = progress or Progress()
        started = self._now()
        check_reason(reason)
        with contextlib.suppress(BackupNotFoundError, BackupDamagedError):
            return (await self.get(name)).usable()
        await self._remove(name)
        published = False
        try:
            if reason == FINAL_BACKUP:
                await source.stop_writes(name)
            size, digest = await self._copy(source, f"{name}/{COPY}", progress)
            completed = self._now()
            manifest = Manifest(
                name=name, reason=reason, swarm_id=source.swarm_id, started_at=started, completed_at=completed,
                verified_at=None, size=size, sha256=digest, entries=0, schema_version=0, feed_position=0, version=0,
                made_by=f"swarm-memory {swarm_operator.__version__}",
            )  # fmt: skip
            async with self._read_back(manifest, progress) as path:
                facts = await _examine(path)
            published = True
            return await self._write(_with_facts(manifest, facts, verified_at=self._now()))
        except BaseException as error:
            with contextlib.suppress(MemoryStoreError):
                if isinstance(error, Exception):
                    await self._remove(name)
                    published = False
            if reason == FINAL_BACKUP and not published:
                with contextlib.suppress(MemoryStoreError):
                    await source.resume_writes(name)
            raise

    async def verify(self, name: str, *, progress: Progress | None = None) -> Manifest:
        """Read a backup back from where it lies and compare it with its manifest. Write the outcome into that.

        Raises:
            BackupNotFoundError: there is no such backup, or it is incomplete.
            BackupDamagedError: the copy is damaged: the backup does not count any more.
            DestinationError: the destination failed; nothing was changed.
        """
        stored = await self.get(name)
        manifest = stored.manifest
        if manifest is None:
            manifest = stored.usable()
        try:
            await self._check(manifest, progress or Progress())
        except BackupDamagedError as error:
            await self._write(replace(manifest, verified_at=None, damage=str(error)))
            raise
        return await self._write(replace(manifest, verified_at=self._now(), damage=None))

    async def fetch(
        self, name: str, target: Path, *, swarm_id: str | None = None, progress: Progress | None = None
    ) -> Manifest:
        """Copy a backup to a new file, which is there when it is whole, verified and on disk. Return its manifest.

        Args:
            name: name of the backup.
            target: the file to create; it must not exist.
            swarm_id: the swarm that the backup must belong to; None: any.
            progress: told how far it is.

        Raises:
            BackupNotFoundError, BackupDamagedError, ForeignBackupError: the backup can't be used.
            NewerSchemaError: a newer release made it.
            InvalidInputError: the file exists.
            DestinationError, StorageError: the destination or the disk failed; there is no file.
        """
        manifest = (await self.get(name)).usable()
        if swarm_id not in {None, manifest.swarm_id}:
            raise ForeignBackupError(
                f"{self.location(name)} is a backup of the swarm {manifest.swarm_id!r}, not of {swarm_id!r}"
            )
        try:
            await asyncio.to_thread(remove_stale, target.parent)
            file = await asyncio.to_thread(AtomicFile.create, target)
            try:
                with file.path.open("wb", buffering=0) as opened:
                    await self._download(manifest, progress or Progress(), opened)
                _compare(manifest, await _examine(file.path))
                await asyncio.to_thread(file.publish)
            finally:
                await asyncio.to_thread(file.discard)
        except FileExistsError:
            raise InvalidInputError("target", f"a file that does not exist; there is a {target} already") from None
        except OSError as error:
            raise from_os(error, f"the copy {target}") from error
        return manifest

    async def list(self) -> list[StoredBackup]:
        """Return all backups, also incomplete and damaged ones, sorted by name. Raise DestinationError."""
        folders: dict[str, list[StoredFile]] = {}
        for file in await self.destination.list():
            folder, slash, _ = file.path.rpartition("/")
            if slash and is_name(folder.rpartition("/")[2]):  # a migration's report lies beside the backups
                folders.setdefault(folder, []).append(file)
        turns = asyncio.Semaphore(_CONCURRENT_READS)

        async def read(name: str, files: list[StoredFile]) -> StoredBackup:
            async with turns:
                return await self._stored(name, files)

        return list(await asyncio.gather(*(read(name, files) for name, files in sorted(folders.items()))))

    async def get(self, name: str) -> StoredBackup:
        """Return one backup. Raise BackupNotFoundError if nothing of it is there, and DestinationError."""
        files = await self.destination.list(check_name(name))
        if not files:
            raise BackupNotFoundError(f"{self.location(name)}: there is no such backup")
        return await self._stored(name, files)

    async def delete(self, name: str) -> None:
        """Delete a backup, or what is there of it. If it is the store's final one, the store then accepts writes again.

        Raises:
            DestinationError: the destination failed; the backup may still be there.
            StorageError: the store goes on to refuse writes.
        """
        await self._remove(name)
        if self._source is not None:
            await self._source.resume_writes(name)

    async def _remove(self, name: str) -> None:
        """Delete what is there of a backup. The manifest goes first, so that no part counts meanwhile."""
        await self.destination.delete(f"{check_name(name)}/{MANIFEST}")
        for file in await self.destination.list(name):
            await self.destination.delete(file.path)

    async def remove_abandoned(self, running: Collection[str] = ()) -> builtins.list[str]:
        """Delete incomplete backups that nobody has written to for a day. Return their names.

        Args:
            running: names of backups that are being made.
        """
        before = int(self._clock() * 1000) - ABANDONED_AFTER
        removed = []
        for stored in await self.list():
            incomplete = stored.manifest is None and stored.problem is None
            if incomplete and stored.modified < before and stored.name not in running:
                await self.delete(stored.name)
                removed.append(stored.name)
        return removed

    def _now(self) -> str:
        return to_text(int(self._clock() * 1000))

    async def _stored(self, name: str, files: Sequence[StoredFile]) -> StoredBackup:
        size = sum(file.size for file in files if file.path.endswith(f"/{COPY}"))
        modified = max(file.modified for file in files)
        manifest, problem = None, None
        try:
            manifest = await self._manifest(name, files)
            if manifest is not None and manifest.damage is not None:
                problem = BackupDamagedError(manifest.damage)
            elif manifest is not None and size != manifest.size:
                problem = BackupDamagedError(f"the copy has {size} bytes, and {manifest.size} were written")
        except BackupDamagedError as error:
            problem = error
        return StoredBackup(name, self.location(name), manifest, problem, size, modified)

    async def _manifest(self, name: str, files: Sequence[StoredFile]) -> Manifest | None:
        for file in files:
            if file.path.endswith(f"/{MANIFEST}"):
                text = b""
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    async for part in self.destination.read(file.path, min(file.size, manifests.MAX_BYTES)):
                        text += part
                    return Manifest.decode(text, name=name.rpartition("/")[2])
        return None

    async def _write(self, manifest: Manifest) -> Manifest:
        text = manifest.encode()

        async def parts() -> AsyncGenerator[bytes, None]:
            yield text

        await self.destination.put(f"{manifest.name}/{MANIFEST}", parts(), len(text))
        return manifest

    async def _copy(self, source: BackupSource, path: str, progress: Progress) -> tuple[int, str]:
        """Copy the database to the destination. Return the copy's size and digest."""
        place = await self.destination.place(path)
        if place is None:
            return await self._upload(source, path, progress)
        try:
            # The engine writes the copy where it is to lie, which takes no further space.
            size = (await source.backup(place)).size
        except DiskFullError as error:
            raise DestinationFullError(f"{self.destination.url}: no room left: {error}") from error
        except ReadOnlyError as error:
            raise DestinationDeniedError(f"{self.destination.url}: {error}") from error
        progress.begin(size, verifying=False)
        digest = hashlib.sha256()
        async for part in self.destination.read(path, size):
            await asyncio.to_thread(digest.update, part)
            progress.bytes += len(part)
        return size, digest.hexdigest()

    async def _upload(self, source: BackupSource, path: str, progress: Progress) -> tuple[int, str]:
        async with source.snapshot(self._scratch) as snapshot:
            progress.begin(snapshot.size, verifying=False)
            digest = hashlib.sha256()

            async def parts() -> AsyncGenerator[bytes, None]:
                while part := await asyncio.to_thread(snapshot.file.read, PART):
                    await asyncio.to_thread(digest.update, part)
                    yield part
                    progress.bytes += len(part)

            await self.destination.put(path, parts(), snapshot.size)
            if digest.digest() != snapshot.sha256:
                raise BackupDamagedError("the copy changed on its way to the destination")
            return snapshot.size, digest.hexdigest()

    async def _check(self, manifest: Manifest, progress: Progress) -> None:
        """Read a copy back and compare it with its manifest. Raise BackupDamagedError."""
        async with self._read_back(manifest, progress) as path:
            _compare(manifest, await _examine(path))

    @contextlib.asynccontextmanager
    async def _read_back(self, manifest: Manifest, progress: Progress) -> AsyncIterator[Path]:
        """Yield a file with what lies at the destination. Raise BackupDamagedError if its digest is wrong."""
        place = await self.destination.place(f"{manifest.name}/{COPY}")
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
            size = await self.destination.size(path)
            if size != manifest.size:
                raise BackupDamagedError(f"the copy has {size} bytes, and {manifest.size} were written")
            async for part in self.destination.read(path, size):
                await asyncio.to_thread(_take, digest, part, file)
                progress.bytes += len(part)
        except FileNotFoundError as error:
            raise BackupDamagedError(f"{self.location(manifest.name)}: the copy is missing") from error
        if digest.hexdigest() != manifest.sha256:
            raise BackupDamagedError("the copy has another SHA-256 digest than the one that was written")


async def _examine(path: Path) -> Facts:
    try:
        return await read_facts(path)
    except (CorruptDatabaseError, ForeignDatabaseError) as error:
        raise BackupDamagedError(str(error)) from error


def _compare(manifest: Manifest, facts: Facts) -> None:
    """Raise BackupDamagedError if a copy does not hold what its manifest says."""
    if _with_facts(manifest, facts, verified_at=manifest.verified_at) != manifest:
        raise BackupDamagedError(f"the copy does not hold what its manifest says, but {facts}")


def _with_facts(manifest: Manifest, facts: Facts, *, verified_at: str | None) -> Manifest:
    return replace(
        manifest, entries=facts.entries, schema_version=facts.schema_version, feed_position=facts.feed_position,
        version=facts.version, verified_at=verified_at,
    )  # fmt: skip


def _take(digest: hashlib._Hash, part: bytes, file: BinaryIO | None) -> None:
    digest.update(part)
    written = 0
    while file is not None and written < len(part):
        written += file.write(part[written:])
