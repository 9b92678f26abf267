"""Restores that are asked for and go on by themselves: one at a time, by name, with outcomes that survive a restart.

A whole restore fetches and prepares the copy while others read and write. Then writes wait until the safety backup is
made and the files are exchanged, so that the safety backup has every write that was acknowledged.

The position that the exchange gives to the feed is on disk before the exchange. So the next start knows whether a kill
came before it, and the restore is to be asked for again, or after it, and the restore is complete: asking again must
not undo what was written since.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from swarm_operator.memory.core.errors import DiskFullError, MemoryStoreError, StoreClosedError, from_os
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm.times import to_text
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.catalog import Progress as CopyProgress
from swarm_operator.memory.transfer.backups.errors import (
    BackupConflictError,
    BackupInterruptedError,
    BackupNotFoundError,
)
from swarm_operator.memory.transfer.backups.jobs import Failure
from swarm_operator.memory.transfer.backups.location import split_location
from swarm_operator.memory.transfer.backups.manifest import MAX_NAME, Manifest, check_name
from swarm_operator.memory.transfer.restores import partial
from swarm_operator.memory.transfer.restores.copies import open_copy
from swarm_operator.memory.transfer.restores.partial import Changes
from swarm_operator.memory.transfer.restores.states import (
    MAX_REMEMBERED,
    Phase,
    Plan,
    Progress,
    Request,
    State,
    load,
    save,
)

REASON: Final = "PreRestore"
_FOLDER: Final = "restoring"
_FILE: Final = "restore-jobs.json"
_INTERRUPTED: Final = Failure(BackupInterruptedError.code, "interrupted; ask again")
_DEFECT: Final = Failure(MemoryStoreError.code, "a defect of the service; its log has the details")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    state: State
    copying: CopyProgress | None = None
    task: asyncio.Task[None] | None = None


class RestoreJobs:
    """Restores into one store, in the background.

    Args:
        store: the store.
        catalog: backups at the service's destination; None: it has none.
        open_catalog: returns the catalog of the folder at a URL.
        directory: the directory of the database, which takes the copies and the file of outcomes.
        slot: context that a restore holds. It raises BackupConflictError if a restore or a backup is running.
    """

    def __init__(
        self,
        store: Store,
        *,
        catalog: Catalog | None,
        open_catalog: Callable[[str], Catalog],
        directory: Path,
        slot: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._open_catalog = open_catalog
        self._folder = directory / _FOLDER
        self._file = directory / _FILE
        self._slot = slot
        self._states: dict[str, State] = {}
        self._job: _Job | None = None
        self._closed = False

    async def open(self) -> None:
        """Read the outcomes of an earlier process, and remove what it left."""
        async with self._store.watch() as watch:
            position = watch.position
        for state in await load(self._file):
            self._states[state.name] = state
            if not state.phase.ended:
                exchanged = state.position is not None and position >= state.position
                self._end(state, None if exchanged else _INTERRUPTED)
                await self._save_if_possible()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def close(self) -> None:
        """Cancel the running restore. If its files are being exchanged, it completes."""
        self._closed = True
        if self._job is not None and self._job.task is not None:
            self._job.task.cancel()
            await asyncio.wait([self._job.task])

    def ask(self, name: str, request: Request) -> State:
        """Start a restore, unless that restore runs or is complete. Return its state.

        Raises:
            InvalidInputError: the name is not allowed.
            BackupConflictError: another restore or a backup runs, the restore of that name is another one, no safety
                backup is possible, or the service has no destination.
            StoreClosedError: the service is stopping.
        """
        check_name(name)
        if self._closed:
            raise StoreClosedError("the service is stopping")
        known = self._states.get(name)
        if known is not None and known.phase is not Phase.FAILED:
            if known.request != request:
                raise BackupConflictError("exists", f"name: {name} is another restore; give this one another name")
            return known
        if self._job is not None:
            raise BackupConflictError("running", f"the restore {self._job.state.name} is running; one at a time")
        if self._catalog is None and (request.location is None or request.needs_safety_backup):
            raise BackupConflictError(
                "no-destination",
                "the service has no destination for backups; start it with --backups, or give a location and "
                "safety_backup: false",
            )
        slot = contextlib.ExitStack()
        slot.enter_context(self._slot())
        self._states.pop(name, None)
        state = self._states[name] = State(name, request, Phase.FETCHING, self._now())
        job = self._job = _Job(state)
        job.task = asyncio.create_task(self._run(job), name="memory-restore")
        # A task that is cancelled before its first step runs no code of its own.
        job.task.add_done_callback(lambda _: self._ended(job, slot))
        return state

    def get(self, name: str) -> State:
        """Return a restore. Raise BackupNotFoundError."""
        check_name(name)
        if name not in self._states:
            raise BackupNotFoundError(f"there is no restore {name}")
        state = self._states[name]
        if (job := self._job) is not None and job.state is state and job.copying is not None:
            state.progress = Progress(job.copying.bytes, job.copying.of)
        return state

    def list(self) -> list[State]:
        """Return the running restore and the last ones, the oldest first."""
        return [self.get(name) for name in self._states]

    def _ended(self, job: _Job, slot: contextlib.ExitStack) -> None:
        if not job.state.phase.ended:
            self._end(job.state, _INTERRUPTED)
        self._job = None
        slot.close()

    async def _run(self, job: _Job) -> None:
        state = job.state
        while len(self._states) > MAX_REMEMBERED:
            del self._states[next(iter(self._states))]
        try:
            await self._save()
            async with self._fetched(job) as (copy, manifest):
                await self._restore(job, copy, manifest)
        except asyncio.CancelledError:
            # The exchange is not interrupted: what the feed says is what was done.
            async with self._store.watch() as watch:
                exchanged = state.position is not None and watch.position >= state.position
            self._end(state, None if exchanged else _INTERRUPTED)
        except MemoryStoreError as error:
            self._end(state, Failure(error.code, str(error)))
        except OSError as error:
            reason = from_os(error, f"{self._folder.name}")
            self._end(state, Failure(reason.code, str(reason)))
        except Exception:  # noqa: BLE001 - a job has no caller to raise to
            _log.exception("restore failed", restore=state.name)
            self._end(state, _DEFECT)
        else:
            self._end(state, None)
        await self._save_if_possible()

    def _end(self, state: State, failure: Failure | None) -> None:
        state.phase = Phase.COMPLETED if failure is None else Phase.FAILED
        state.failure, state.progress, state.completed_at = failure, None, self._now()
        told = {} if failure is None else {"code": failure.code, "reason": failure.detail}
        _log.info("restore ended", restore=state.name, phase=state.phase.value, **told)

    @contextlib.asynccontextmanager
    async def _fetched(self, job: _Job) -> AsyncIterator[tuple[Path, Manifest]]:
        """Yield a verified copy of the backup, in a directory of its own beside the database."""
        state = job.state
        catalog, name = self._source(state.request)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await asyncio.to_thread(self._folder.mkdir, mode=0o700)
        try:
            size = (await catalog.get(name)).size
            needed, free = size + size // 4, shutil.disk_usage(self._folder).free
            if free < needed:
                raise DiskFullError(
                    f"the copy of the backup takes up to {needed} bytes beside the database; {free} free"
                )
            job.copying = CopyProgress()
            copy = self._folder / "copy.db"
            swarm_id = None if state.request.allow_other_swarm else self._store.swarm_id
            manifest = await catalog.fetch(name, copy, swarm_id=swarm_id, progress=job.copying)
            job.copying = state.progress = None
            yield copy, manifest
        finally:
            job.copying = None
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _source(self, request: Request) -> tuple[Catalog, str]:
        """Return the catalog and the name of the backup."""
        if request.location is None:
            assert self._catalog is not None  # noqa: S101 - see ask
            assert request.backup is not None  # noqa: S101 - see Request
            return self._catalog, request.backup
        folder, name = split_location(request.location)
        return self._open_catalog(folder), name

    async def _restore(self, job: _Job, copy: Path, manifest: Manifest) -> None:
        state = job.state
        state.plan = Plan(manifest.name, manifest.entries, manifest.size)
        if state.request.scope.whole and not state.request.dry_run:
            state.phase = Phase.VERIFYING
            await self._store.replace(copy, before=lambda position: self._before_exchange(state, position))
            return
        async with open_copy(copy, like=self._store) as backup:
            if state.request.needs_safety_backup:
                await self._make_safety_backup(state)
            state.phase = Phase.PLANNING if state.request.dry_run else Phase.WRITING
            work = partial.plan if state.request.dry_run else partial.restore

            def progress(examined: int) -> None:
                state.progress = Progress(examined, max(examined, manifest.entries))

            changes = await work(backup, self._store, state.request.scope, progress)
            state.plan = _plan(manifest, changes)

    async def _before_exchange(self, state: State, position: int) -> None:
        """Make the safety backup while writes wait, and remember which position says that the files are exchanged."""
        if state.request.needs_safety_backup:
            await self._make_safety_backup(state)
        state.phase, state.position = Phase.SWAPPING, position
        await self._save()

    async def _make_safety_backup(self, state: State) -> None:
        assert self._catalog is not None  # noqa: S101 - see ask
        state.phase = Phase.BACKING_UP
        # A name of its own for each attempt: a backup that an earlier one made lacks what was written since.
        suffix = f".before-{self._store.now()}"
        name = state.name[: MAX_NAME - len(suffix)].rstrip("-.") + suffix
        await self._catalog.make(name, REASON)
        state.safety_backup = name

    async def _save(self) -> None:
        await save(self._file, list(self._states.values()))

    async def _save_if_possible(self) -> None:
        """Write the outcomes. A full disk must not turn a success into a failure."""
        with contextlib.suppress(OSError):
            await self._save()

    def _now(self) -> str:
        return to_text(self._store.now())


def _plan(manifest: Manifest, changes: Changes) -> Plan:
    return Plan(
        manifest.name, manifest.entries, changes.bytes, changes.entries_new, changes.entries_changed,
        changes.entries_removed,
    )  # fmt: skip
