"""One claimed task: the work on it, the renewals of its lease, and its outcome.

The agent holds the task until its lease ends, counted from the moment when the last successful claim or renewal was
sent. After that, another agent may claim the task: the work is stopped even if the memory cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from swarm_operator.memory.agent.patience import persist
from swarm_operator.memory.agent.work import Work, WorkError
from swarm_operator.memory.client import (
    MemoryClient,
    MemoryClientError,
    MemoryNotFoundError,
    MemoryRequestError,
    MemoryStateError,
)

_RELEASE: Final = 5.0
"""Seconds for which a release is tried."""
_MAX_ERROR_CHARACTERS: Final = 4000

_log = structlog.get_logger(__name__)


class Claim:
    """A claimed task.

    Args:
        client: client of the memory.
        agent_id: the agent that holds the claim.
        task: the task, as the claim returned it.
        sent: time on the event loop's clock before the claim was sent.
        lease: seconds of the lease.
        renew_every: seconds between two renewals.
    """

    def __init__(
        self,
        client: MemoryClient,
        agent_id: str,
        task: dict[str, Any],
        *,
        sent: float,
        lease: float,
        renew_every: float,
    ) -> None:
        self._client = client
        self._agent_id = agent_id
        self._task = task
        self._id: str = task["id"]
        self._lease = lease
        self._renew_every = renew_every
        self._deadline = sent + lease
        self._log = _log.bind(task=self._id)

    async def carry_out(self, work: Work, halt: asyncio.Event) -> None:
        """Work on the task and report the outcome. Return when the agent no longer holds the task.

        Args:
            work: carries out the task.
            halt: ends the work; the task is then released.
        """
        self._log.info("task claimed", attempt=self._task.get("attempts"))
        working = asyncio.ensure_future(work(self._task))
        renewing = asyncio.create_task(self._keep())
        halting = asyncio.create_task(halt.wait())
        parts = (working, renewing, halting)
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            done = working.done()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)
        if done:
            await self._finish(working)
        elif not renewing.cancelled():
            self._log.warning("task lost, work stopped", reason=renewing.result())
        else:
            await self._release()

    async def _keep(self) -> str:
        """Renew the lease until the task is lost. Return the reason."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(self._renew_every, max(self._deadline - loop.time(), 0)))
            sent = loop.time()
            lost = await self._while_held(
                lambda: self._client.tasks.renew(self._id, agent=self._agent_id, lease=self._lease)
            )
            if lost is not None:
                return lost
            self._deadline = sent + self._lease

    async def _finish(self, working: asyncio.Future[Any]) -> None:
        """Complete the task, or report the work's error. The lease is not renewed meanwhile."""
        tasks, error = self._client.tasks, _cause(working.exception())
        if error is None:
            try:
                await self._report(
                    "completed", lambda: tasks.complete(self._id, agent=self._agent_id, result=working.result())
                )
            except (MemoryRequestError, ValueError) as refusal:  # the result is too large, or is not JSON
                error = refusal
        if error is not None:
            unforeseen = None if isinstance(error, (WorkError, MemoryClientError, ValueError)) else error
            self._log.warning("work failed", reason=str(error), exc_info=unforeseen)
            text = (str(error) or type(error).__name__)[:_MAX_ERROR_CHARACTERS]
            await self._report("failed", lambda: tasks.fail(self._id, agent=self._agent_id, error=text))

    async def _release(self) -> None:
        self._deadline = min(self._deadline, asyncio.get_running_loop().time() + _RELEASE)
        reason = "the agent stops"
        await self._report(
            "released", lambda: self._client.tasks.release(self._id, agent=self._agent_id, reason=reason)
        )

    async def _report(self, outcome: str, call: Callable[[], Awaitable[Any]]) -> None:
        lost = await self._while_held(call)
        if lost is None:
            self._log.info(f"task {outcome}")
        else:
            self._log.warning("task lost", outcome=outcome, reason=lost)

    async def _while_held(self, call: Callable[[], Awaitable[Any]]) -> str | None:
        """Repeat a call until it succeeds. Return the reason if the task is lost, and None otherwise.

        Raises:
            MemoryRequestError: the request is not allowed.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                await persist(call)
        except TimeoutError:
            return "the lease ended before the memory answered"
        except MemoryNotFoundError:
            return "the task was deleted"
        except MemoryStateError as error:
            return str(error)
        except MemoryRequestError:
            raise
        except MemoryClientError as error:
            return str(error)
        return None


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the only error of an exception group: task groups in the work wrap each error in a group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error
