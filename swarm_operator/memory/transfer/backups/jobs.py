"""Background jobs that make and verify backups: one at a time, by name, with outcomes that survive a restart.

Jobs are idempotent by name, so a request may be repeated. The destination determines which backups are complete. A
small file beside the database stores the failures; an unfinished job in the file was interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from swarm_operator.memory.atomicfile import AtomicFile
from swarm_operator.memory.core.errors import MemoryStoreError, StoreClosedError
from swarm_operator.memory.swarm.times import to_text
from swarm_operator.memory.transfer.backups.catalog import Catalog, StoredBackup
from swarm_operator.memory.transfer.backups.copies import Progress
from swarm_operator.memory.transfer.backups.errors import (
    BackupConflictError,
    BackupInterruptedError,
    BackupNotFoundError,
)
from swarm_operator.memory.transfer.backups.manifest import Manifest, check_name, check_reason

MAX_REMEMBERED: Final = 100
"""Maximum number of outcomes in the file; the oldest are dropped."""
_INTERRUPTED: Final = "interrupted; ask again"


class Phase(StrEnum):
    """Phase of a backup."""

    RUNNING = "Running"
    VERIFYING = "Verifying"
    COMPLETED = "Completed"
    FAILED = "Failed"
    INCOMPLETE = "Incomplete"
    """The destination has files of the backup, and no job of this service is running for it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a job: a stable code and a message."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class State:
    """Current state of a backup.

    Attributes:
        name: name of the backup.
        phase: current phase.
        reason: reason of the request; None if not known.
        started_at: time of the request, RFC 3339; None if not known.
        location: URL of the backup's folder.
        manifest: manifest; None if the backup is incomplete.
        progress: progress of the running job; None without a job.
        failure: reason why the backup is incomplete or its last verification failed; None if there was no failure.
    """

    name: str
    phase: Phase
    reason: str | None
    started_at: str | None
    location: str
    manifest: Manifest | None = None
    progress: Progress | None = None
    failure: Failure | None = None


class JobObserver(Protocol):
    """Observer of the outcomes of jobs."""

    def completed(self, manifest: Manifest, *, seconds: float, made: bool) -> None:
        """Record that a backup was verified, or made and verified if `made`."""

    def failed(self, name: str, failure: Failure, error: BaseException) -> None:
        """Record that a job failed."""

    def stored(self, manifests: Sequence[Manifest]) -> None:
        """Record all complete backups."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Stored outcome of a job; `failure` is None while the job runs."""

    name: str
    reason: str
    started_at: str
    failure: Failure | None = None


@dataclass(slots=True)
class _Job:
    outcome: _Outcome
    progress: Progress
    made: bool
    task: asyncio.Task[None] | None = None


class BackupJobs:
    """Makes and verifies the backups of one store in the background.

    Args:
        catalog: the catalog.
        file: file of the outcomes.
        slot: context that a job holds, such as a slot among all backups; entering it may raise OverloadedError.
        observer: receives the outcomes of jobs.
    """

    def __init__(
        self, catalog: Catalog, file: Path, *, slot: Callable[[], AbstractContextManager[None]], observer: JobObserver
    ) -> None:
        self.catalog = catalog
        self._file = file
        self._slot = slot
        self._observer = observer
        self._outcomes: dict[str, _Outcome] = {}
        self._job: _Job | None = None
        self._closed = False
        self._saving = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def running(self) -> str | None:
        """Return the name of the running job's backup, or None."""
        return None if self._job is None else self._job.outcome.name

    async def open(self) -> None:
        """Read the outcomes of an earlier process. Report its unfinished jobs as failed."""
        outcomes = await asyncio.to_thread(_load, self._file)
        interrupted = Failure(BackupInterruptedError.code, _INTERRUPTED)
        for outcome in outcomes:
            self._outcomes[outcome.name] = outcome if outcome.failure else replace(outcome, failure=interrupted)
        self._refresh()

    async def close(self) -> None:
        """Cancel the running job and store it as interrupted."""
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        await self._cancel()

    async def make(self, name: str, reason: str) -> State:
        """Start a backup, unless it is complete or running. Return its state.

        Raises:
            InvalidInputError: the name or the reason is not allowed.
            BackupConflictError: a job for another backup is running.
            OverloadedError: another copy of the database is in progress.
            DestinationError: the destination can't be read.
        """
        check_name(name)
        check_reason(reason)
        if self.running == name:
            return await self.get(name)
        with contextlib.suppress(BackupNotFoundError):
            state = await self.get(name)
            if state.phase is Phase.COMPLETED:
                return state
        self._start(name, reason, self._make, made=True)
        return await self.get(name)

    async def verify(self, name: str) -> State:
        """Start to verify a complete backup, unless a job for it is running. Return its state.

        Raises:
            BackupNotFoundError: the backup does not exist or is incomplete.
            BackupConflictError, OverloadedError, DestinationError: see make.
        """
        check_name(name)
        if self.running != name:
            stored = await self.catalog.get(name)
            manifest = stored.manifest or stored.usable()
            self._start(name, manifest.reason, self._verify, made=False)
        return await self.get(name)

    async def get(self, name: str) -> State:
        """Return the state of a backup. Raise BackupNotFoundError and DestinationError."""
        check_name(name)
        if (job := self._job) is not None and job.outcome.name == name:
            return self._running_state(job)
        try:
            return self._state(await self.catalog.get(name))
        except BackupNotFoundError:
            if name in self._outcomes:
                return self._failed_state(self._outcomes[name])
            raise

    async def list(self) -> list[State]:
        """Return all backups of the destination, the running one and failed ones, by name. See get."""
        stored = await self.catalog.list()
        states = {name: self._failed_state(outcome) for name, outcome in self._outcomes.items()}
        states |= {each.name: self._state(each) for each in stored}
        if self._job is not None:
            states[self._job.outcome.name] = self._running_state(self._job)
        return [state for _, state in sorted(states.items())]

    async def delete(self, name: str) -> None:
        """Delete a backup and forget its outcome; cancel its job. Raise DestinationError."""
        check_name(name)
        if self.running == name:
            await self._cancel()
        await self.catalog.delete(name)
        if self._outcomes.pop(name, None) is not None:
            await self._remember()
        self._refresh()

    def _start(self, name: str, reason: str, work: Callable[[_Job], Awaitable[Manifest]], *, made: bool) -> None:
        """Start a job. Nothing is awaited between the checks and the start, so that only one job starts."""
        if self._closed:
            raise StoreClosedError("the service is stopping")
        if self._job is not None:
            if self._job.outcome.name == name:
                return
            raise BackupConflictError(
                "running", f"the backup {self._job.outcome.name} is being made or verified; one at a time"
            )
        slot = contextlib.ExitStack()
        slot.enter_context(self._slot())
        started = to_text(time.time_ns() // 1_000_000)
        job = self._job = _Job(_Outcome(name, reason, started), Progress(), made)
        job.progress.verifying = not made
        job.task = asyncio.create_task(self._run(job, work), name="memory-backup")
        # A task that is cancelled before its first step never runs its function.
        job.task.add_done_callback(lambda _: self._ended(slot))

    def _ended(self, slot: contextlib.ExitStack) -> None:
        self._job = None
        slot.close()

    async def _run(self, job: _Job, work: Callable[[_Job], Awaitable[Manifest]]) -> None:
        name, began = job.outcome.name, time.monotonic()
        self._outcomes.pop(name, None)
        self._outcomes[name] = job.outcome
        try:
            await self._remember()
            manifest = await work(job)
        except asyncio.CancelledError as error:
            self._failed(job, Failure(BackupInterruptedError.code, _INTERRUPTED), error)
        except MemoryStoreError as error:
            self._failed(job, Failure(error.code, str(error)), error)
        except Exception as error:  # noqa: BLE001 - a job has no caller to raise to
            self._failed(job, Failure(MemoryStoreError.code, "a defect of the service; its log has the details"), error)
        else:
            del self._outcomes[name]
            self._observer.completed(manifest, seconds=time.monotonic() - began, made=job.made)
        await self._remember()

    def _failed(self, job: _Job, failure: Failure, error: BaseException) -> None:
        self._outcomes[job.outcome.name] = replace(job.outcome, failure=failure)
        self._observer.failed(job.outcome.name, failure, error)

    async def _make(self, job: _Job) -> Manifest:
        manifest = await self.catalog.make(job.outcome.name, job.outcome.reason, progress=job.progress)
        # The backup is complete even if the cleanup of others fails.
        with contextlib.suppress(MemoryStoreError):
            await self.catalog.remove_abandoned(running=[job.outcome.name])
        return manifest

    async def _verify(self, job: _Job) -> Manifest:
        return await self.catalog.verify(job.outcome.name, progress=job.progress)

    async def _cancel(self) -> None:
        if self._job is not None and (task := self._job.task) is not None:
            task.cancel()
            await asyncio.wait([task])

    def _running_state(self, job: _Job) -> State:
        outcome = job.outcome
        phase = Phase.VERIFYING if job.progress.verifying else Phase.RUNNING
        return State(
            outcome.name, phase, outcome.reason, outcome.started_at, self.catalog.location(outcome.name),
            progress=job.progress,
        )  # fmt: skip

    def _failed_state(self, outcome: _Outcome) -> State:
        return State(
            outcome.name, Phase.FAILED, outcome.reason, outcome.started_at, self.catalog.location(outcome.name),
            failure=outcome.failure,
        )  # fmt: skip

    def _state(self, stored: StoredBackup) -> State:
        """Return the state of a backup at the destination without a running job."""
        outcome, manifest = self._outcomes.get(stored.name), stored.manifest
        failure = outcome.failure if outcome else None
        if stored.complete and manifest is not None:
            phase = Phase.COMPLETED
        elif stored.problem is not None:
            phase, failure = Phase.FAILED, Failure(stored.problem.code, str(stored.problem))
        else:
            phase = Phase.FAILED if outcome else Phase.INCOMPLETE
        known = manifest or outcome
        return State(
            stored.name, phase, known.reason if known else None, known.started_at if known else None, stored.location,
            manifest, failure=failure,
        )  # fmt: skip

    def _refresh(self) -> None:
        """Report the complete backups to the observer, as soon as the destination can be read."""

        async def refresh() -> None:
            with contextlib.suppress(MemoryStoreError):
                stored = await self.catalog.list()
                self._observer.stored([each.manifest for each in stored if each.complete and each.manifest])

        if not self._closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(refresh(), name="memory-backups-list")

    async def _remember(self) -> None:
        """Write the outcomes to the file. A full disk must not prevent a backup."""
        while len(self._outcomes) > MAX_REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]
        async with self._saving:
            text = json.dumps({"outcomes": [asdict(outcome) for outcome in self._outcomes.values()]}).encode()
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_save, self._file, text)


def _load(file: Path) -> list[_Outcome]:
    """Return the outcomes in a file; none if the file is missing or was not written by this program."""
    try:
        document: Any = json.loads(file.read_bytes())
        return [
            _Outcome(
                str(each["name"]), str(each["reason"]), str(each["started_at"]),
                each["failure"] and Failure(str(each["failure"]["code"]), str(each["failure"]["detail"])),
            )
            for each in document["outcomes"][:MAX_REMEMBERED]
        ]  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _save(file: Path, text: bytes) -> None:
    new = AtomicFile.create(file, replace=True)
    try:
        new.path.write_bytes(text)
        new.publish()
    finally:
        new.discard()
