"""Calls of memory services about restores. See swarmmemorybackup.service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore
from swarm_operator.controllers.swarmmemorybackup.service import INTERRUPTED, Answer, HttpCalls, Service
from swarm_operator.memory.client import (
    MemoryClient,
    MemoryClientError,
    MemoryRequestError,
    MemoryStateError,
    RestoreState,
)

_MAX_PREFIX = 200
"""Characters of an object's name in the name for the service, to which the safety backup's name adds some."""


@dataclass(frozen=True, slots=True)
class Request:
    """Request for a restore to a memory service."""

    location: str
    """URL of the backup."""
    namespaces: tuple[str, ...] | None
    """Only these; None for all."""
    key_prefix: str
    dry_run: bool

    @property
    def needs_safety_backup(self) -> bool:
        """Return whether the service first makes a backup of the store."""
        return self.namespaces is None and not self.key_prefix and not self.dry_run


@dataclass(frozen=True, slots=True)
class Observed:
    """A restore as the service sees it."""

    state: RestoreState
    safety_backups: tuple[str, ...] = ()
    """Names of the backups that the service made before it replaced everything: one for each attempt. They are known
    when the restore has ended."""


class RestoreService(Protocol):
    """Asks memory services about restores."""

    async def advance(
        self, service: Service, name: str, request: Request, *, known: bool, again: bool
    ) -> Answer[Observed]:
        """Return the state of a restore, which is started first if need be.

        Args:
            service: the service to ask.
            name: name of the restore.
            request: what it is.
            known: whether the service was known to be at work on it before. A restore that the service no longer knows
                is not started: it may have been carried out, and later writes would be lost.
            again: whether a restore that was interrupted is started again.
        """


def service_name(restore: SwarmMemoryRestore) -> str:
    """Return the name of a restore for the service. A newer object of the same name is another restore."""
    return f"{restore.metadata.name[:_MAX_PREFIX].rstrip('-.')}-{restore.metadata.uid[:8]}"


class HttpRestoreService(HttpCalls):
    """RestoreService over HTTP."""

    async def advance(
        self, service: Service, name: str, request: Request, *, known: bool, again: bool
    ) -> Answer[Observed]:
        """See RestoreService.advance."""

        async def call(memory: MemoryClient) -> Answer[Observed]:
            state = await memory.restores.get(name)
            if state is None and known:
                message = f"the memory service has no record of {name} any more; it may have been carried out"
                return Answer(reason="OutcomeUnknown", message=f"{message}: create another SwarmMemoryRestore if not")
            if state is None or (again and _is_interrupted(state)):
                try:
                    state = await _ask(memory, name, request)
                except MemoryStateError as error:
                    if error.reason != "running":
                        raise
                    return await _who_runs(memory, error)
            return Answer(Observed(state, await _safety_backups(memory, state, request)))

        async def call_or_refusal(memory: MemoryClient) -> Answer[Observed]:
            try:
                return await call(memory)
            except MemoryStateError as error:
                if error.reason == "no-destination":
                    raise
                return Answer(reason="RequestRefused", message=str(error))
            except MemoryRequestError as error:
                return Answer(reason="RequestRefused", message=str(error))

        return await self.call(service, call_or_refusal)


async def _ask(memory: MemoryClient, name: str, request: Request) -> RestoreState:
    return await memory.restores.ask(
        name,
        location=request.location,
        namespaces=request.namespaces,
        key_prefix=request.key_prefix,
        dry_run=request.dry_run,
    )


async def _who_runs(memory: MemoryClient, error: MemoryStateError) -> Answer[Observed]:
    """Return why the service does not start a restore: another restore or a backup runs."""
    running = [state.name for state in await memory.restores.list() if not state.ended]
    if running:
        return Answer(reason="AnotherRestoreRuns", message=f"the memory service is at work on the restore {running[0]}")
    return Answer(reason="AnotherBackupRuns", message=str(error))


async def _safety_backups(memory: MemoryClient, state: RestoreState, request: Request) -> tuple[str, ...]:
    """Return the names of the complete safety backups, also of an attempt that was killed."""
    if not state.ended or not request.needs_safety_backup:
        return ()
    try:
        complete = [backup.name for backup in await memory.backups.list() if backup.phase == "Completed"]
    except MemoryClientError:  # how the restore ended is known all the same
        complete = [state.safety_backup] if state.safety_backup else []
    return tuple(name for name in complete if name.startswith(f"{state.name}.before-"))


def _is_interrupted(state: RestoreState) -> bool:
    return state.phase == "Failed" and state.problem is not None and state.problem["code"] == INTERRUPTED
