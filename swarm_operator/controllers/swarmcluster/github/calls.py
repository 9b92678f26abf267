"""Calls outside of passes, so that a server that does not answer delays no reconcile.

Each call is a separate task. When it ends, its object is enqueued, and the next pass reads its answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from swarm_operator.controllers.swarmcluster.github.errors import GitHubError
from swarm_operator.runtime.resource import Key

log = structlog.get_logger(__name__)

MAX_DELAY: Final = 900.0
"""Seconds: the longest delay that failures lead to."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Progress(Generic[Request, Answer]):
    """Progress of a call."""

    request: Request
    due: float
    """Time of the next attempt, by the monotonic clock."""
    answer: Answer | None = None
    error: GitHubError | None = None
    """Why the last try failed."""
    failures: int = 0
    task: asyncio.Task[None] | None = None
    delay: float = 0.0
    """Seconds until the next try, for the pass; 0.0 while one runs, since its end enqueues the object."""


class Calls(Generic[Request, Answer]):
    """At most one call for each object, and at most `most` at one time.

    Args:
        call: the call; it raises GitHubError.
        monotonic: the time in seconds.
        rng: spreads the tries.
        first_delay: seconds after the first failure; each further one doubles them, up to MAX_DELAY.
        most: number of calls at one time.
    """

    def __init__(
        self,
        call: Callable[[Request], Awaitable[Answer]],
        *,
        monotonic: Callable[[], float],
        rng: random.Random,
        first_delay: float = 10.0,
        most: int = 16,
    ) -> None:
        self.enqueue: Callable[[Key], object] = lambda _: None
        """Called with the key of an object whose call has ended."""
        self._call = call
        self._monotonic = monotonic
        self._rng = rng
        self._first_delay = first_delay
        self._turns = asyncio.Semaphore(most)
        self._known: dict[Key, Progress[Request, Answer]] = {}

    def ask(self, key: Key, request: Request) -> Progress[Request, Answer]:
        """Start a call if one is due, and return how far it is.

        Another request than that of the pass before is due now, and ends the former call.
        """
        known = self._known.get(key)
        if known is None or known.request != request:
            self.forget(key)
            known = self._known[key] = Progress(request, self._monotonic())
        if known.answer is None and known.task is None and known.due <= self._monotonic():
            known.task = asyncio.create_task(self._run(key, known), name=f"github {key}")
        known.delay = 0.0 if known.task or known.answer is not None else max(known.due - self._monotonic(), 1.0)
        return known

    def forget(self, key: Key) -> None:
        """Forget an object's call, and end it if it runs."""
        known = self._known.pop(key, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    async def _run(self, key: Key, known: Progress[Request, Answer]) -> None:
        try:
            async with self._turns:
                known.answer = await self._call(known.request)
            known.error = None
        except GitHubError as error:
            log.warning("a call to GitHub failed", object=str(key), reason=error.reason, error=str(error))
            self._failed(known, error)
        except Exception as error:  # noqa: BLE001 - a bug: the text may have a token
            log.error("a call to GitHub failed", object=str(key), error=type(error).__name__)  # noqa: TRY400
            self._failed(known, GitHubError("GitHubUnreachable", f"the call failed: {type(error).__name__}"))
        known.task = None
        self.enqueue(key)

    def _failed(self, known: Progress[Request, Answer], error: GitHubError) -> None:
        known.error, known.failures = error, known.failures + 1
        delay = min(self._first_delay * 2 ** min(known.failures - 1, 16), MAX_DELAY)
        known.due = self._monotonic() + max(delay, error.retry_after) * self._rng.uniform(1.0, 1.2)
