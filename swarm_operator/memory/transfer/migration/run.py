"""Runs a migration: reads all sources, decides between items of the same name, and writes items that the target lacks.

A run keeps no state beside the target. To continue an interrupted run, start it again: it reads the sources again, and
writes only the missing entries.
"""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from swarm_operator.memory.client import MemoryClientError
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.swarm import times
from swarm_operator.memory.transfer.importer import Existing
from swarm_operator.memory.transfer.migration import databases, json_stores
from swarm_operator.memory.transfer.migration.database_copies import copied
from swarm_operator.memory.transfer.migration.items import (
    Context,
    Found,
    Ignored,
    Kind,
    Notice,
    Reason,
    Refusal,
)
from swarm_operator.memory.transfer.migration.quarantine import Quarantine
from swarm_operator.memory.transfer.migration.report import Outcome, Report
from swarm_operator.memory.transfer.migration.scratch import scratch_directory
from swarm_operator.memory.transfer.migration.sources import Format, Source, find, open_regular
from swarm_operator.memory.transfer.migration.staging import Staged, Staging
from swarm_operator.memory.transfer.migration.targets import RejectedLineError, Service, Target, open_file, open_service

_BATCH_ITEMS: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TURN: Final = 64
"""Number of items after which the event loop runs, so that Ctrl-C can cancel."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a migration.

    Attributes:
        phase: `reading`, counted in bytes of the sources, then `writing`, counted in items.
        done: completed bytes or items.
        of: total bytes or items.
        source: label of the current source.
    """

    phase: str
    done: int
    of: int
    source: str


Listener: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a migration.

    Attributes:
        source: a directory, or one file.
        target: a service, or the path of a database file, which is created if missing.
        swarm_id: swarm of a database file; a service reports its own.
        existing: rule for entries that the target has with another value.
        dry_run: only compare.
        quarantine: the quarantine file; None: refusals are only counted.
        scratch: directory for copies and staged items; None: the system's directory for temporary files.
        outputs: further files written by this migration, which are not sources.
    """

    source: Path
    target: Service | Path
    swarm_id: str = "default"
    existing: Existing = Existing.KEEP
    dry_run: bool = False
    quarantine: Path | None = None
    scratch: Path | None = None
    outputs: tuple[Path, ...] = ()


async def migrate(settings: Settings, progress: Listener = lambda _: None) -> Report:
    """Migrate all items and return the report. If the source or the target fails, the report has a `problem`."""
    target = settings.target.url if isinstance(settings.target, Service) else str(settings.target)
    report = Report(str(settings.source), target, settings.dry_run, started_at=_now())
    try:
        with scratch_directory(settings.scratch) as scratch, Quarantine(settings.quarantine) as quarantine:
            run = _Run(settings, report, quarantine, scratch, progress)
            try:
                await run.migrate()
            except (MemoryStoreError, MemoryClientError, OSError, sqlite3.Error) as error:  # sqlite3: staging
                report.problem = str(error)
        report.quarantine = None if quarantine.published is None else str(quarantine.published)
    except OSError as error:
        report.problem = report.problem or str(error)
    report.completed_at = _now()
    return report


class _Run:
    def __init__(
        self, settings: Settings, report: Report, quarantine: Quarantine, scratch: Path, progress: Listener
    ) -> None:
        self._settings = settings
        self._report = report
        self._quarantine = quarantine
        self._scratch = scratch
        self._progress = progress
        self._position: Callable[[], int] = _start

    async def migrate(self) -> None:
        sources = list(self._find())
        async with self._open() as target:
            staging = Staging(self._scratch)
            try:
                await self._read_all(sources, staging, target)
                await self._write_all(staging, target)
            finally:
                staging.close()

    def _open(self) -> AbstractAsyncContextManager[Target]:
        settings = self._settings
        if isinstance(settings.target, Service):
            return open_service(settings.target, existing=settings.existing, dry_run=settings.dry_run)
        return open_file(
            settings.target, swarm_id=settings.swarm_id, existing=settings.existing, dry_run=settings.dry_run,
            scratch=self._scratch,
        )  # fmt: skip

    def _find(self) -> Iterator[Source]:
        """Yield the sources, and report all other files."""
        settings = self._settings
        outputs = [self._scratch, *settings.outputs]
        outputs += [path for path in (settings.quarantine,) if path is not None]
        if isinstance(settings.target, Path):
            name = settings.target.name
            outputs += [settings.target.with_name(name + suffix) for suffix in ("", "-wal", "-shm", ".lock")]
        for label, found in find(settings.source, outputs=outputs):
            if isinstance(found, Source):
                yield found
            else:
                self._note(label, found)

    async def _read_all(self, sources: list[Source], staging: Staging, target: Target) -> None:
        """Stage the items of all sources."""
        done, of = 0, sum(source.size for source in sources)
        for source in sources:
            self._progress(Progress("reading", done, of, source.label))
            self._report.of(source.label).format = source.format.value
            context = Context(target.swarm_id, target.max_value_bytes, source.label, source.written_at)
            for number, found in enumerate(self._readable(source, context), start=1):
                self._take(source.label, found, staging)
                if number % _TURN == 0:
                    self._progress(Progress("reading", done + self._position(), of, source.label))
                    await asyncio.sleep(0)
            done += source.size
        self._progress(Progress("reading", of, of, ""))

    def _readable(self, source: Source, context: Context) -> Iterator[Found]:
        """Yield the contents of a source, followed by a refusal if the rest can't be read."""
        reading = self._read(source, context)
        while True:
            try:
                found = next(reading, None)
            except OSError as error:
                if error.errno in _NO_ROOM:  # for the copy of a database
                    raise
                found = Refusal(Kind.FILE, Reason.UNREADABLE, error.strerror or str(error))
            if found is None:
                return
            yield found

    def _read(self, source: Source, context: Context) -> Iterator[Found]:
        if source.format is Format.DATABASE:
            self._position = _start
            with copied(source.path, self._scratch) as (copy, unchanged):
                yield from databases.read(copy, context)
        else:
            with open_regular(source.path) as file:
                self._position = file.tell
                before = source.path.stat()
                yield from json_stores.read(source.path, file, context)
                after = source.path.stat()
                unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not unchanged:
            yield Notice(Ignored.CHANGED, "another program wrote to it meanwhile; run the migration again")

    def _take(self, label: str, found: Found, staging: Staging) -> None:
        """Stage an item, or record a refusal or a notice."""
        if isinstance(found, Refusal | Notice):
            self._note(label, found)
            return
        lost = staging.add(label, found)
        if lost is None:
            return
        if lost.same:
            self._report.of(lost.item.source).count(lost.item.kind, Outcome.DUPLICATE)
        else:
            detail = f"{lost.winner.source} has one of the same name that was written later"
            where = {"updatedAt": times.to_text(lost.item.updated_at)}
            refusal = Refusal(lost.item.kind, Reason.SUPERSEDED, detail, where, [lost.item.line])
            self._note(lost.item.source, refusal)

    def _note(self, label: str, found: Refusal | Notice) -> None:
        if isinstance(found, Notice):
            if label in self._report.sources:
                self._report.of(label).notices.append(f"{found.reason}: {found.detail}")
            else:
                self._report.ignore(label, found)
            return
        self._quarantine.add(label, found)
        source = self._report.of(label)
        source.count(found.kind, Outcome.QUARANTINED)
        source.reasons[found.reason] += 1

    async def _write_all(self, staging: Staging, target: Target) -> None:
        """Write the staged items."""
        done, of = 0, len(staging)
        for batch in _batches(staging.items()):
            self._progress(Progress("writing", done, of, batch[0].source))
            await self._write(batch, target)
            done += len(batch)
        self._progress(Progress("writing", of, of, ""))

    async def _write(self, batch: list[Staged], target: Target) -> None:
        """Write items of one source and kind. Put items that the target rejects into the quarantine."""
        source = self._report.of(batch[0].source)
        while batch:
            try:
                counts = await target.write([item.line for item in batch])
            except RejectedLineError as error:
                counts = error.counts
                refused = batch[error.index]
                self._note(refused.source, Refusal(refused.kind, Reason.INVALID, str(error), {}, [refused.line]))
                left = [item for index, item in enumerate(batch) if index >= error.written and index != error.index]
            else:
                left = []
            for outcome, number in counts.items():
                source.count(batch[0].kind, outcome, number)
            batch = left


def _batches(items: Iterator[Staged]) -> Iterator[list[Staged]]:
    """Yield items in batches of one source and kind."""
    batch: list[Staged] = []
    size = 0
    for item in items:
        first = batch[0] if batch else item
        whole = len(batch) >= _BATCH_ITEMS or size + len(item.line) > _BATCH_BYTES
        if batch and (whole or (item.source, item.kind) != (first.source, first.kind)):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.line)
    if batch:
        yield batch


def _start() -> int:
    return 0


def _now() -> str:
    return times.to_text(time.time_ns() // 1_000_000)
