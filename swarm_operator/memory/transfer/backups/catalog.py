"""Catalog of the backups in one folder of a destination: makes, verifies, lists, fetches and deletes them.

A backup is valid once its copy (see `copies`) was read back and matches its digest: only then the manifest is written.
Layout: NAME/memory.db and NAME/manifest.json.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import swarm_operator
from swarm_operator.memory.core.backup import BackupSource
from swarm_operator.memory.core.errors import (
    MemoryStoreError,
)
from swarm_operator.memory.swarm.times import to_text
from swarm_operator.memory.transfer.backups import manifest as manifests
from swarm_operator.memory.transfer.backups.copies import COPY, Copies, Progress, with_facts
from swarm_operator.memory.transfer.backups.destination import Destination, StoredFile
from swarm_operator.memory.transfer.backups.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    ForeignBackupError,
)
from swarm_operator.memory.transfer.backups.manifest import Manifest, check_name, check_reason, is_name

FINAL_BACKUP: Final = "Final"
"""Reason of the backup after which a memory is deleted."""
MANIFEST: Final = "manifest.json"
ABANDONED_AFTER: Final = 24 * 3600 * 1000
"""Milliseconds after which an incomplete backup is removed by the next successful one."""
_CONCURRENT_READS: Final = 8


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup at the destination.

    Attributes:
        name: name of the backup; below a folder of several swarms, SWARM/NAME.
        location: URL of the backup's folder.
        manifest: manifest of the backup; None if the backup is incomplete.
        problem: error in the manifest, or damage found by verification; None if there is neither.
        size: bytes of the copy.
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
        """Return whether the backup is valid: its last verification succeeded."""
        return self.manifest is not None and self.problem is None

    def usable(self) -> Manifest:
        """Return the manifest of a valid backup.

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
        source: the store to back up; None: `make` gets the source as an argument.
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
        self._copies = Copies(destination, scratch)
        self._source = source
        self._clock = clock

    def location(self, name: str) -> str:
        """Return the URL of a backup."""
        return f"{self.destination.url}/{name}"

    async def make(
        self, name: str, reason: str, *, source: BackupSource | None = None, progress: Progress | None = None
    ) -> Manifest:
        """Make and verify a backup. If a backup of that name is complete, return its manifest.

        The files of an earlier attempt are replaced. After an error there is no valid backup. Before the copy of a
        final backup is made, the store stops accepting writes, so that the backup has every acknowledged write. After
        an error the store accepts writes again, unless the backup may be complete nevertheless: see `delete`.

        Args:
            name: name of the backup.
            reason: reason of the backup.
            source: source of the backup; None: the catalog's source.
            progress: receives the progress.

        Raises:
            InvalidInputError: the name or the reason is not allowed.
            DestinationError, BackupDamagedError: the destination failed; there is no valid backup.
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
            size, digest = await self._copies.write(source, name, progress)
            completed = self._now()
            manifest = Manifest(
                name=name, reason=reason, swarm_id=source.swarm_id, started_at=started, completed_at=completed,
                verified_at=None, size=size, sha256=digest, entries=0, schema_version=0, feed_position=0, version=0,
                made_by=f"swarm-memory {swarm_operator.__version__}",
            )  # fmt: skip
            facts = await self._copies.read_back(manifest, progress)
            published = True
            return await self._write(with_facts(manifest, facts, verified_at=self._now()))
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
        """Read a backup from its destination and compare it with its manifest. Write the outcome into the manifest.

        Raises:
            BackupNotFoundError: the backup does not exist or is incomplete.
            BackupDamagedError: the copy is damaged: the backup is no longer valid.
            DestinationError: the destination failed; nothing was changed.
        """
        stored = await self.get(name)
        manifest = stored.manifest
        if manifest is None:
            manifest = stored.usable()
        try:
            await self._copies.check(manifest, progress or Progress())
        except BackupDamagedError as error:
            await self._write(replace(manifest, verified_at=None, damage=str(error)))
            raise
        return await self._write(replace(manifest, verified_at=self._now(), damage=None))

    async def fetch(
        self, name: str, target: Path, *, swarm_id: str | None = None, progress: Progress | None = None
    ) -> Manifest:
        """Copy a backup to a new file, which appears once it is complete, verified and on disk. Return its manifest.

        Args:
            name: name of the backup.
            target: the file to create; it must not exist.
            swarm_id: the swarm that the backup must belong to; None: any.
            progress: receives the progress.

        Raises:
            BackupNotFoundError, BackupDamagedError, ForeignBackupError: the backup can't be used.
            NewerSchemaError: a newer release made it.
            InvalidInputError: the file exists.
            DestinationError, StorageError: the destination or the disk failed; the file was not created.
        """
        manifest = (await self.get(name)).usable()
        if swarm_id not in {None, manifest.swarm_id}:
            raise ForeignBackupError(
                f"{self.location(name)} is a backup of the swarm {manifest.swarm_id!r}, not of {swarm_id!r}"
            )
        await self._copies.fetch(manifest, target, progress or Progress())
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
        """Return one backup. Raise BackupNotFoundError if it has no files, and DestinationError."""
        files = await self.destination.list(check_name(name))
        if not files:
            raise BackupNotFoundError(f"{self.location(name)}: there is no such backup")
        return await self._stored(name, files)

    async def delete(self, name: str) -> None:
        """Delete the files of a backup. After the deletion of its final backup, the store accepts writes again.

        Raises:
            DestinationError: the destination failed; the backup may still be there.
            StorageError: the store still refuses writes.
        """
        await self._remove(name)
        if self._source is not None:
            await self._source.resume_writes(name)

    async def _remove(self, name: str) -> None:
        """Delete the files of a backup. The manifest is deleted first, so that an incomplete backup is never valid."""
        await self.destination.delete(f"{check_name(name)}/{MANIFEST}")
        for file in await self.destination.list(name):
            await self.destination.delete(file.path)

    async def remove_abandoned(self, running: Collection[str] = ()) -> builtins.list[str]:
        """Delete incomplete backups that were not written to for a day. Return their names.

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
