"""Background jobs that restore backups: one at a time, by name, with outcomes that survive a restart.

A complete restore fetches and prepares the copy while clients read and write. Writes wait only during the exchange of
the files. The former file contains every acknowledged write. It is kept in its own folder until the safety backup is
made of it and verified. The exchange is not undone if the safety backup fails: that would lose later writes.

The feed's position after the exchange is on disk before the exchange. So the next start can tell whether a kill came
before or after the exchange. After a kill before it, the restore must be requested again. After a kill later, only the
safety backup remains: a repeated request must not undo later writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from swarm_operator.memory.atomicfile import sync_directory
from swarm_operator.memory.core.backup import BackupSource
from swarm_operator.memory.core.errors import DiskFullError, MemoryStoreError, StoreClosedError, from_os
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm.times import from_text, to_text
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.copies import Progress as CopyProgress
from swarm_operator.memory.transfer.backups.errors import (
    BackupConflictError,
    BackupInterruptedError,
    BackupNotFoundError,
    DestinationConfigError,
    SafetyBackupError,
)
from swarm_operator.memory.transfer.backups.jobs import Failure
from swarm_operator.memory.transfer.backups.location import split_location
from swarm_operator.memory.transfer.backups.manifest import MAX_NAME, Manifest, check_name
from swarm_operator.memory.transfer.restores import partial
from swarm_operator.memory.transfer.restores.copies import open_copy, source_of
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
_FORMER: Final = "former"
_FILE: Final = "restore-jobs.json"
_INTERRUPTED: Final = Failure(BackupInterruptedError.code, "interrupted; ask again")
_DEFECT: Final = Failure(MemoryStoreError.code, "a defect of the service; its log has the details")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    """A running restore. `outcome` is its final state, set once the state is saved and another restore may begin."""

    state: State
    outcome: State | None = None
    copying: CopyProgress | None = None
    task: asyncio.Task[None] | None = None


class RestoreJobs:
    """Restores into one store, in the background.

    Args:
        store: the store.
        catalog: backups at the service's destination; None without a destination.
        open_catalog: returns the catalog of the folder at a URL.
        directory: the directory of the database, for the copies and the file of outcomes.
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
        self._directory = directory
        self._folder = directory / _FOLDER
        self._file = directory / _FILE
        self._slot = slot
        self._states: dict[str, State] = {}
        self._job: _Job | None = None
        self._closed = False

    async def open(self) -> None:
        """Read the outcomes of an earlier process and remove its files. Continue a restore after its exchange."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._states = {state.name: state for state in await load(self._file)}
        for state in [state for state in self._states.values() if not state.phase.ended]:
            if await self._exchanged(state):
                state.phase = Phase.BACKING_UP
                self._start(state)
            else:
                self._states[state.name] = self._outcome(state, _INTERRUPTED)
                await self._save_if_possible()

    async def close(self) -> None:
        """Cancel the running restore. The next start completes the steps after the exchange."""
        self._closed = True
        if self._job is not None and self._job.task is not None:
            self._job.task.cancel()
            await asyncio.wait([self._job.task])

    def ask(self, name: str, request: Request) -> State:
        """Start a restore, unless it is running or complete. Return its state.

        Raises:
            InvalidInputError: the name is not allowed.
            BackupConflictError: another restore or a backup is running, the name belongs to another restore, no safety
                backup is possible, or the service has no destination.
            StoreClosedError: the service is stopping.
        """
        check_name(name)
        if self._closed:
            raise StoreClosedError("the service is stopping")
        known = self._states.get(name)
        exchanged = known is not None and known.position is not None
        if known is not None and (exchanged or known.phase is not Phase.FAILED):
            if not _same(known.request, request, ended=known.phase is Phase.FAILED):
                raise BackupConflictError("exists", f"name: {name} is another restore; give this one another name")
            if known.phase is not Phase.FAILED:
                return known
        if self._job is not None:
            raise BackupConflictError("running", f"the restore {self._job.state.name} is running; one at a time")
        fetches = request.location is None and not exchanged
        if self._catalog is None and (fetches or request.needs_safety_backup):
            raise BackupConflictError(
                "no-destination",
                "the service has no destination for backups; start it with --backups, or give a location and "
                "safety_backup: false",
            )
        if known is None or not exchanged:
            state = State(name, request, Phase.FETCHING, self._now())
        else:  # at most the safety backup remains to be made
            state = replace(known, request=request, phase=Phase.BACKING_UP, completed_at=None, failure=None)
        self._start(state)
        return state

    def _start(self, state: State) -> None:
        """Start the job of a restore. Raise BackupConflictError."""
        slot = contextlib.ExitStack()
        slot.enter_context(self._slot())
        self._states.pop(state.name, None)
        self._states[state.name] = state
        job = self._job = _Job(state)
        job.task = asyncio.create_task(self._run(job), name="memory-restore")
        # A task that is cancelled before its first step never runs its function.
        job.task.add_done_callback(lambda _: self._ended(job, slot))

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
        """Return the running restore and the latest ones, oldest first."""
        return [self.get(name) for name in self._states]

    def _ended(self, job: _Job, slot: contextlib.ExitStack) -> None:
        if job.outcome is None and job.state.position is None:
            job.outcome = self._outcome(job.state, _INTERRUPTED)
        if job.outcome is not None:
            self._states[job.state.name] = job.outcome
        self._job = None
        slot.close()

    async def _run(self, job: _Job) -> None:
        state, failure = job.state, None
        self._forget_oldest()
        try:
            await self._save()
            if state.position is None:
                async with self._fetched(job) as (copy, manifest):
                    await self._restore(job, copy, manifest)
            if state.position is not None:
                await self._keep_former(job)
        except asyncio.CancelledError:
            failure = _INTERRUPTED
        except MemoryStoreError as error:
            failure = Failure(error.code, str(error))
        except OSError as error:
            reason = from_os(error, f"{self._folder.name}")
            failure = Failure(reason.code, str(reason))
        except Exception:  # noqa: BLE001 - a job has no caller to raise to
            _log.exception("restore failed", restore=state.name)
            failure = _DEFECT
        exchanged = await self._exchanged(state)
        if not (exchanged and failure is _INTERRUPTED):  # the next start continues
            job.outcome = self._outcome(state, failure)
        await self._save_if_possible(job.outcome)

    def _forget_oldest(self) -> None:
        """Keep MAX_REMEMBERED restores, and those whose former data are kept."""
        for name, state in list(self._states.items())[:-MAX_REMEMBERED]:
            if state.phase is Phase.COMPLETED or state.position is None:
                del self._states[name]

    async def _exchanged(self, state: State) -> bool:
        """Return whether the files were exchanged, by the feed's position. If not, undo the preparations."""
        async with self._store.watch() as watch:
            if state.position is not None and watch.position < state.position:
                state.position = None
        if state.position is None:
            await asyncio.to_thread(_remove_folder, self._former(state).parent)
        return state.position is not None

    def _outcome(self, state: State, failure: Failure | None) -> State:
        phase = Phase.COMPLETED if failure is None else Phase.FAILED
        told = {} if failure is None else {"code": failure.code, "reason": failure.detail}
        _log.info("restore ended", restore=state.name, phase=phase.value, **told)
        return replace(state, phase=phase, failure=failure, progress=None, completed_at=self._now())

    @contextlib.asynccontextmanager
    async def _fetched(self, job: _Job) -> AsyncIterator[tuple[Path, Manifest]]:
        """Yield a verified copy of the backup, in its own directory beside the database."""
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
            await self._replace(state, copy)
            return
        async with open_copy(copy, like=self._store) as backup:
            if state.request.needs_safety_backup:
                await self._make_safety_backup(job, None)
            state.phase = Phase.PLANNING if state.request.dry_run else Phase.WRITING
            work = partial.plan if state.request.dry_run else partial.restore

            def progress(examined: int) -> None:
                state.progress = Progress(examined, max(examined, manifest.entries))

            changes = await work(backup, self._store, state.request.scope, progress)
            state.plan = _plan(manifest, changes)

    async def _replace(self, state: State, copy: Path) -> None:
        state.phase = Phase.VERIFYING
        if state.request.needs_safety_backup and self._catalog is not None:
            # Detect an unreachable destination before any change.
            with contextlib.suppress(BackupNotFoundError):
                await self._catalog.get(_safety_name(state))

        async def before(position: int) -> None:
            """Save the position that marks the exchange of the files."""
            state.phase, state.position = Phase.SWAPPING, position
            await self._save()

        former = self._former(state)
        await asyncio.to_thread(_make_folder, former.parent)
        await self._store.replace(copy, former=former, before=before)

    async def _keep_former(self, job: _Job) -> None:
        """Make the safety backup of the former data, and remove them."""
        former = self._former(job.state)
        if job.state.request.needs_safety_backup and former.exists():
            try:
                await self._make_safety_backup(job, source_of(former, like=self._store))
            except MemoryStoreError as error:
                raise SafetyBackupError(
                    f"the data of the backup are in use; the backup of the former data, which are kept, failed: {error}"
                ) from error
        await asyncio.to_thread(_remove_folder, former.parent)

    async def _make_safety_backup(self, job: _Job, source: BackupSource | None) -> None:
        if self._catalog is None:  # `ask` has seen a destination: the service was restarted without it
            raise DestinationConfigError("the service has no destination; start it with --backups")
        state = job.state
        state.phase, job.copying = Phase.BACKING_UP, CopyProgress()
        await self._save_if_possible()
        try:
            await self._catalog.make(_safety_name(state), REASON, source=source, progress=job.copying)
        finally:
            job.copying = None
        state.safety_backup, state.progress = _safety_name(state), None
        await self._save()

    def _former(self, state: State) -> Path:
        """Return the path of the former data until the safety backup is made."""
        return self._directory / _FORMER / state.name / "memory.db"

    async def _save(self, outcome: State | None = None) -> None:
        """Write the states, with the new state of a restore that ends now."""
        states = self._states if outcome is None else self._states | {outcome.name: outcome}
        await save(self._file, list(states.values()))

    async def _save_if_possible(self, outcome: State | None = None) -> None:
        """Write the states. A full disk must not turn a success into a failure."""
        with contextlib.suppress(OSError):
            await self._save(outcome)

    def _now(self) -> str:
        return to_text(self._store.now())


def _same(known: Request, asked: Request, *, ended: bool) -> bool:
    """Return whether two requests are equal. A repeated request may drop the safety backup of an ended restore."""
    return asked == (replace(known, safety_backup=False) if ended and asked.safety_backup is False else known)


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    sync_directory(folder.parent)


def _remove_folder(folder: Path) -> None:
    """Remove a folder, and its parent if that becomes empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _safety_name(state: State) -> str:
    """Return the name of the safety backup: a new name for each attempt to exchange the files."""
    suffix = f".before-{from_text(state.started_at)}"
    return state.name[: MAX_NAME - len(suffix)].rstrip("-.") + suffix


def _plan(manifest: Manifest, changes: Changes) -> Plan:
    return Plan(
        manifest.name, manifest.entries, changes.bytes, changes.entries_new, changes.entries_changed,
        changes.entries_removed,
    )  # fmt: skip
