"""Calls of memory services about backups and, in swarmmemoryrestore, restores.

Each call is a separate task, so a slow service delays no reconcile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.conditions import reason_of
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.auth import secret_name, token_of
from swarm_operator.controllers.swarmmemorystore.network import service_url
from swarm_operator.controllers.swarmmemorystore.tls.names import trusted
from swarm_operator.controllers.swarmmemorystore.workload.serving import serves
from swarm_operator.memory.client import (
    BackupState,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryServerError,
    MemoryStateError,
)
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Key, Object, controller_of
from swarm_operator.shared.tokens import ADMIN_FILE

log = structlog.get_logger(__name__)

State = TypeVar("State")

INTERRUPTED = "interrupted"
"""Code of a backup or a restore that a restart of the service ended: it is asked for again."""


@dataclass(frozen=True, slots=True)
class Service:
    """The memory service of a store."""

    store: Key
    token: str
    """The admin token."""
    ca: str | None = None
    """The CA certificates to verify the service by, in PEM; None for a service without TLS."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[State]):
    """Result of a call: a state, or the reason why there is none."""

    state: State | None = None
    reason: str = ""
    """In one CamelCase word; empty if the call succeeded."""
    message: str = ""


class BackupService(Protocol):
    """Asks memory services about backups."""

    async def advance(self, service: Service, name: str, reason: str, *, asked: bool) -> Answer[BackupState]:
        """Return the state of a backup, which is started first if need be.

        Args:
            service: the service to ask.
            name: name of the backup.
            reason: why it is made.
            asked: whether the service was known to work on it before. A failed backup then stays failed.
        """

    async def delete(self, service: Service, name: str) -> Answer[BackupState]:
        """Delete a backup; one that is not there counts as deleted."""


@dataclass(frozen=True, slots=True)
class HttpCalls:
    """Sends calls over HTTP."""

    url: str
    """Address of a service, with {name} and {namespace} of its store."""
    timeout: float = 30.0
    """Seconds for one answer."""

    async def call(
        self, service: Service, call: Callable[[MemoryClient], Coroutine[Any, Any, Answer[State]]]
    ) -> Answer[State]:
        """Return the answer of a call, which gets a client of the service; or the reason why there is none."""
        url = service_url(self.url, service.store, service.ca)
        try:
            # No retries: the next pass asks again.
            async with MemoryClient(
                url, token=service.token, ca_data=service.ca, timeout=self.timeout, retries=0, connections=1
            ) as memory:
                return await call(memory)
        except MemoryClientError as error:
            log.warning("the memory service refused a request or did not answer", url=url, error=str(error))
            return Answer(reason=_reason(error), message=str(error))


class HttpBackupService(HttpCalls):
    """BackupService over HTTP."""

    async def advance(self, service: Service, name: str, reason: str, *, asked: bool) -> Answer[BackupState]:
        """See BackupService.advance."""

        async def call(memory: MemoryClient) -> Answer[BackupState]:
            state = await memory.backups.get(name)
            if state is None or state.phase == "Incomplete" or (state.phase == "Failed" and _again(state, asked)):
                state = await memory.backups.make(name, reason=reason)
            return Answer(state)

        return await self.call(service, call)

    async def delete(self, service: Service, name: str) -> Answer[BackupState]:
        """See BackupService.delete."""

        async def call(memory: MemoryClient) -> Answer[BackupState]:
            await memory.backups.delete(name)
            return Answer()

        return await self.call(service, call)


class Calls(Generic[State]):
    """Runs calls, at most `most` at one time and one for each key.

    Args:
        most: number of calls at one time.
    """

    def __init__(self, *, most: int = 16) -> None:
        self.enqueue: Callable[[Key], object] = lambda _: None
        """Called with the key of a call that has ended."""
        self._turns = asyncio.Semaphore(most)
        self._tasks: dict[Key, asyncio.Task[Answer[State]]] = {}

    def answer(self, key: Key, call: Callable[[], Coroutine[Any, Any, Answer[State]]]) -> Answer[State] | None:
        """Return what the last call has found, once; or start a call, unless one runs, and return None."""
        task = self._tasks.get(key)
        if task is None:
            self._tasks[key] = asyncio.create_task(self._run(key, call), name=f"call {key}")
        elif task.done():
            del self._tasks[key]
            return task.result()
        return None

    def forget(self, key: Key) -> None:
        """Cancel the call of a key and forget what it has found."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def _run(self, key: Key, call: Callable[[], Coroutine[Any, Any, Answer[State]]]) -> Answer[State]:
        try:
            async with self._turns:
                return await call()
        except Exception as error:
            log.exception("a call of a memory service failed", of=str(key))
            return Answer(reason="NoAnswer", message=f"{type(error).__name__}: {error}")
        finally:
            # The task is done when the event loop gets to this.
            asyncio.get_running_loop().call_soon(self.enqueue, key)


async def find_service(r: Reconciliation[Any], store: SwarmMemoryStore, obj: Object) -> Service | str:
    """Return the service of a store, or why it cannot be asked. The token is sent to the store's own Service only.

    Raises:
        ApiError: the Secret cannot be read.
    """
    name, namespace, uid = store.metadata.name, store.metadata.namespace, store.metadata.uid
    if store.metadata.deletion_timestamp:
        pod = serves(store, r.client.cache, r.clock.now())
        ready: Object | None = {"status": str(pod.is_done), "message": pod.message}
    else:
        ready = {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}.get("Ready")
    if ready is None or ready["status"] != "True":
        return f"SwarmMemoryStore {name} is not ready{': ' + ready['message'] if ready and ready['message'] else ''}"
    service = r.client.get(kinds.SERVICE, Key(namespace, name))
    controller = controller_of(service) if service else None
    if controller is None or controller["uid"] != uid:
        return f"SwarmMemoryStore {name} has no Service"
    try:
        secret = await r.client.server.get(kinds.SECRET, namespace, secret_name(store))
    except NotFoundError:
        return f"SwarmMemoryStore {name} has no Secret"
    token = token_of(secret, ADMIN_FILE)
    if token is None or all(owner["uid"] != uid for owner in secret["metadata"].get("ownerReferences") or ()):
        return f"Secret {secret_name(store)} has no {ADMIN_FILE} of SwarmMemoryStore {name}"
    return Service(Key(namespace, name), token, trusted(store, r.client.cache))


def _again(state: BackupState, asked: bool) -> bool:  # noqa: FBT001 - both are needed
    return not asked or (state.problem is not None and state.problem["code"] == INTERRUPTED)


def _reason(error: MemoryClientError) -> str:
    if isinstance(error, MemoryStateError):
        return {"running": "AnotherBackupRuns", "no-destination": "NoDestination"}.get(error.reason or "", "Conflict")
    if isinstance(error, MemoryBusyError):
        return "ServiceBusy"
    if isinstance(error, MemoryServerError) and error.code:
        return reason_of(error.code)
    return "NoAnswer"
