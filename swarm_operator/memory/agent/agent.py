"""Life cycle of an agent: register, send heartbeats, claim one task after the other, deregister.

An agent works on one task at a time. After `stop`, the agent finishes its task within the grace period, or releases the
task. While the memory restarts, the agent waits without limit.

Guarantees:
    An agent completes a task only while it holds the task: once its lease has ended and another agent has claimed the
    task, the memory refuses its result. Work is carried out at least once, and completed once.

Assumptions:
    No two agents that run at the same time have the same ID.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from swarm_operator.memory.agent.claim import Claim
from swarm_operator.memory.agent.patience import PAUSE, passes
from swarm_operator.memory.agent.work import Work
from swarm_operator.memory.client import (
    MemoryClient,
    MemoryClientError,
    MemoryNotFoundError,
    MemoryStateError,
)

_LEAVING_SECONDS: Final = 15.0
"""Seconds for the end of the work, the release of the task and the deregistration, after the grace period."""
_DEREGISTRATION: Final = 5.0
_MIN_BEAT: Final = 1.0
"""Minimum seconds between two heartbeats."""

_log = structlog.get_logger(__name__)


class AgentError(Exception):
    """The memory belongs to another swarm. The message names the setting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSettings:
    """Settings of an agent.

    Attributes:
        agent_id: ID of the agent; no other agent that runs has it.
        swarm_id: required swarm of the memory; "" accepts any.
        types: types of tasks to claim, which are also the agent's capabilities; empty claims all.
        cognitive_patterns: ways of thinking that the agent registers with, such as divergent.
        lease: seconds without a renewal after which another agent may claim the task.
        renew_every: seconds between two renewals of the lease; None is a third of the lease.
        poll: seconds between two attempts to claim a task while none is available.
        heartbeat: seconds between two heartbeats.
        grace: seconds to finish the current task after `stop`.
    """

    agent_id: str
    swarm_id: str = ""
    types: Sequence[str] = ()
    cognitive_patterns: Sequence[str] = ()
    lease: float = 60.0
    renew_every: float | None = None
    poll: float = 1.0
    heartbeat: float = 20.0
    grace: float = 30.0


class Agent:
    """An agent.

    Args:
        client: an open client of the memory.
        settings: the agent's settings.
        work: carries out a task.
    """

    def __init__(self, client: MemoryClient, settings: AgentSettings, work: Work) -> None:
        self._client = client
        self._settings = settings
        self._work = work
        self._stopping = asyncio.Event()
        self._halt = asyncio.Event()
        self._busy = False
        self._busy_changed = asyncio.Event()

    def stop(self) -> None:
        """Claim no more tasks and end within the grace period. A second call ends the grace period."""
        if self._stopping.is_set():
            self._halt.set()
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            AgentError: the memory belongs to another swarm.
            MemoryClientError: the memory refuses the agent's requests.
        """
        living = asyncio.create_task(self._live())
        stopping = asyncio.create_task(self._stopping.wait())
        halting = asyncio.create_task(self._halt.wait())
        tasks = (living, stopping, halting)
        try:
            await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({living, halting}, timeout=self._settings.grace, return_when=asyncio.FIRST_COMPLETED)
            self._halt.set()
            await asyncio.wait({living}, timeout=_LEAVING_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not living.cancelled():
            living.result()

    async def _live(self) -> None:
        if not await self._join():
            return
        beating = asyncio.create_task(self._beat())
        try:
            await self._work_through()
        finally:
            beating.cancel()
            await asyncio.wait({beating})
            await self._leave()

    async def _join(self) -> bool:
        """Register. Return False if the agent was stopped before.

        Raises:
            AgentError: the memory belongs to another swarm. The registration is removed.
        """
        wanted = self._settings.swarm_id
        while not self._stopping.is_set():
            try:
                swarm_id = (await self._register()).get("swarmId")
            except MemoryClientError as error:
                await self._wait_for_memory(error)
                continue
            if wanted and swarm_id != wanted:
                await self._leave()
                raise AgentError(f"swarm-id: {wanted!r} is not allowed; this is the memory of the swarm {swarm_id!r}")
            _log.info("registered", agent=self._settings.agent_id, swarm=swarm_id)
            return True
        return False

    async def _work_through(self) -> None:
        """Claim tasks and carry them out until the agent is stopped."""
        # A former process of this agent, or a claim whose answer was lost, may have left a task claimed.
        look = True
        while not self._stopping.is_set():
            try:
                claim = await self._claim_left() if look else None
                look = False
                claim = claim or await self._claim_next()
            except MemoryClientError as error:
                look = True
                await self._wait_for_memory(error)
                continue
            if claim is None:
                await self._idle(self._settings.poll)
                continue
            self._set_busy(True)
            await claim.carry_out(self._work, self._halt)
            self._set_busy(False)

    async def _claim_next(self) -> Claim | None:
        settings, sent = self._settings, asyncio.get_running_loop().time()
        task = await self._client.tasks.claim_next(
            agent=settings.agent_id, types=settings.types or None, lease=settings.lease
        )
        return None if task is None else self._claim(task, sent)

    async def _claim_left(self) -> Claim | None:
        """Claim a task again that this agent has claimed and does not work on."""
        settings = self._settings
        async for task in self._client.tasks.iterate(status="in_progress", agent=settings.agent_id):
            if task.get("claimedBy") != settings.agent_id or not self._is_mine(task):
                continue
            sent = asyncio.get_running_loop().time()
            with contextlib.suppress(MemoryNotFoundError, MemoryStateError):
                again = await self._client.tasks.claim(task["id"], agent=settings.agent_id, lease=settings.lease)
                return self._claim(again, sent)
        return None

    def _is_mine(self, task: dict[str, Any]) -> bool:
        return not self._settings.types or task.get("type") in self._settings.types

    def _claim(self, task: dict[str, Any], sent: float) -> Claim:
        settings = self._settings
        renew_every = settings.lease / 3 if settings.renew_every is None else settings.renew_every
        return Claim(self._client, settings.agent_id, task, sent=sent, lease=settings.lease, renew_every=renew_every)

    async def _register(self) -> dict[str, Any]:
        settings = self._settings
        # None removes the value that a former process of this agent has registered.
        return await self._client.agents.register(
            settings.agent_id,
            type="worker",
            status=self._status,
            capabilities=[*settings.types],
            cognitivePatterns=[*settings.cognitive_patterns] or None,
        )

    async def _beat(self) -> None:
        """Send heartbeats, at once when the agent becomes busy or idle. Register again if the memory has no such agent.

        A failed heartbeat is not retried before the next one: claims report permanent errors.
        """
        settings = self._settings
        while True:
            self._busy_changed.clear()
            try:
                await self._client.agents.heartbeat(settings.agent_id, status=self._status)
            except MemoryNotFoundError:
                with contextlib.suppress(MemoryClientError):
                    await self._register()
            except MemoryClientError as error:
                _log.warning("heartbeat failed", reason=str(error))
            await asyncio.sleep(_MIN_BEAT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(settings.heartbeat - _MIN_BEAT, 0)):
                    await self._busy_changed.wait()

    async def _leave(self) -> None:
        """Deregister if the memory responds. Otherwise the agent becomes stale."""
        try:
            async with asyncio.timeout(_DEREGISTRATION):
                await self._client.agents.deregister(self._settings.agent_id)
        except (MemoryClientError, TimeoutError) as error:
            _log.warning("not deregistered", reason=str(error))
        else:
            _log.info("deregistered", agent=self._settings.agent_id)

    @property
    def _status(self) -> str:
        return "busy" if self._busy else "idle"

    def _set_busy(self, busy: bool) -> None:  # noqa: FBT001 - the value is the name's
        self._busy = busy
        self._busy_changed.set()

    async def _wait_for_memory(self, error: MemoryClientError) -> None:
        """Wait before a retry. Raise `error` if it is not transient."""
        if not passes(error):
            raise error
        _log.warning("waiting for the memory", reason=str(error))
        await self._idle(PAUSE)

    async def _idle(self, seconds: float) -> None:
        """Wait, at most until the agent is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
