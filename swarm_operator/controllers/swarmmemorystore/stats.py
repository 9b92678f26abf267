"""Numbers of a store in its status, read from the memory service.

A poll is a task of its own: a service that does not answer holds up no reconcile. A poll that finds something new
enqueues its store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmmemorystore.auth import Auth, secret_name, token_of
from swarm_operator.controllers.swarmmemorystore.network import ClientService
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.memory.client import MemoryClient, MemoryClientError, Stats
from swarm_operator.runtime.resource import Key, key_of

log = structlog.get_logger(__name__)


NUMBERS = ("databaseSize", "entryCount", "agentCount", "taskCount", "patternCount", "cacheHitRate")
"""Fields of the status that keep their values while the service does not answer."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Numbers of a store; None if the service did not answer."""

    stats: Stats | None = None
    error: str = ""
    """Why there are no numbers."""

    @property
    def news(self) -> tuple[Any, ...]:
        """Return what the status is made of."""
        return self.to_status(), self.error, self.stats and self.stats.fault

    def to_status(self) -> dict[str, Any]:
        """Return the status fields; none if nothing is known."""
        stats = self.stats
        if stats is None:
            return {}
        # Rounded: a number that changes with every request would cost a write to the API server at every poll.
        hit_rate = None if stats.cache_hit_rate is None else round(stats.cache_hit_rate, 2)
        counts = (stats.database_size_bytes, stats.entries, stats.agents, stats.tasks, stats.patterns)
        return dict(zip(NUMBERS, (*map(rounded, counts), hit_rate), strict=True))


def rounded(number: int) -> int:
    """Return a number with its first three digits; a number below 1000 is exact."""
    return round(number, 3 - len(str(number))) if number >= 1000 else number


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads the numbers of memory services."""

    url: str
    """Address of a service, with {name} and {namespace} of its store."""
    timeout: float = 5.0
    """Seconds for one answer."""

    async def observe(self, store: SwarmMemoryStore, token: str | None) -> Observation:
        """Read the numbers once. No answer is an empty observation: the pod may still serve its clients."""
        url = self.url.format(name=store.metadata.name, namespace=store.metadata.namespace)
        try:
            # No retries, since the next poll comes soon; no session is kept, since stores come and go.
            async with MemoryClient(url, token=token, timeout=self.timeout, retries=0, connections=1) as memory:
                return Observation(await memory.stats())
        except MemoryClientError as error:
            log.warning("the memory service's numbers could not be read", url=url, error=str(error))
            return Observation(error=str(error))


@dataclass(slots=True)
class _Poll:
    due: float
    """When the next one is to start, by the clock's monotonic time."""
    observation: Observation | None = None
    """What is known; None before the first poll has ended."""
    missed: bool = False
    """Whether the service answered before, and the last poll brought no answer."""
    task: asyncio.Task[None] | None = None

    @property
    def answers(self) -> bool:
        """Whether the service is known to answer."""
        return self.observation is not None and self.observation.stats is not None


class Poller:
    """Polls memory services, at most `most` at one time.

    Args:
        observer: asks one service.
        interval: seconds between two polls of a service, plus or minus a tenth.
        waiting_interval: the same while it does not answer.
        rng: spreads the polls.
        monotonic: the time in seconds.
        most: number of polls at one time.
    """

    def __init__(
        self,
        observer: Observer,
        interval: float,
        waiting_interval: float,
        *,
        rng: random.Random,
        monotonic: Callable[[], float],
        most: int = 16,
    ) -> None:
        self.enqueue: Callable[[Key], object] = lambda _: None
        """Called with the key of a store of which something new is known."""
        self._observer = observer
        self._interval = interval
        self._waiting_interval = waiting_interval
        self._rng = rng
        self._monotonic = monotonic
        self._turns = asyncio.Semaphore(most)
        self._polls: dict[Key, _Poll] = {}

    def delay(self, *, answers: bool) -> float:
        """Return the seconds until the next poll of a service."""
        return (self._interval if answers else self._waiting_interval) * self._rng.uniform(0.9, 1.1)

    def poll(self, store: SwarmMemoryStore, token: str | None) -> tuple[Observation | None, float]:
        """Start a poll if one is due. Return what the last one found, and the seconds until the next is due."""
        key, now = Key(store.metadata.namespace, store.metadata.name), self._monotonic()
        poll = self._polls.setdefault(key, _Poll(now))
        if poll.due <= now:
            poll.due = now + self.delay(answers=poll.answers)
            if poll.task is None:
                poll.task = asyncio.create_task(self._run(key, poll, store, token), name=f"poll {key}")
        return poll.observation, poll.due - now

    def forget(self, key: Key) -> None:
        """Stop polling a store."""
        poll = self._polls.pop(key, None)
        if poll is not None and poll.task is not None:
            poll.task.cancel()

    async def _run(self, key: Key, poll: _Poll, store: SwarmMemoryStore, token: str | None) -> None:
        try:
            async with self._turns:
                found = await self._observer.observe(store, token)
        except Exception as error:
            log.exception("a poll failed", store=str(key))
            found = Observation(error=f"{type(error).__name__}: {error}")
        poll.task = None
        answered, known = poll.answers, poll.observation
        # One lost answer is no news, as with a kubelet's probe: it is told when the next poll brings none, too.
        poll.missed = answered and found.stats is None and not poll.missed
        if poll.missed:
            poll.due = self._monotonic() + self.delay(answers=False)
            self.enqueue(key)
            return
        poll.observation = found
        if poll.answers != answered:
            poll.due = self._monotonic() + self.delay(answers=poll.answers)
        if known is None or known.news != found.news:
            self.enqueue(key)  # its pass comes back when the next poll is due


@dataclass(frozen=True, slots=True)
class StatsPoll(Step[SwarmMemoryStore]):
    """Report the numbers of a store whose pod is ready, and whether its service is reached and writes.

    The numbers of before stay while the service does not answer: the condition Reachable tells their age. The token is
    sent to our own Service only.
    """

    reports: ClassVar = ("Reachable", "Writable")
    needs: ClassVar = (Auth, ClientService, Workload)

    poller: Poller

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        stored = r.obj.get("status") or {}
        r.status |= {name: stored.get(name) for name in NUMBERS}
        if not r.outcomes[Workload].is_done:
            self.poller.forget(key_of(r.obj))
            for condition in self.reports:
                r.conditions.set(condition, status=None, reason="PodNotReady", message="the pod is not ready")
            # Changes of the pod enqueue the store at once; this looks at the Secret, and at events of children.
            return done(requeue_after=self.poller.delay(answers=False))
        token = token_of(r.children[kinds.SECRET, secret_name(r.parsed)])
        observation, delay = self.poller.poll(r.parsed, token)
        if observation is not None:
            r.status |= observation.to_status()
            if observation.stats is None:
                r.set_condition("Reachable", failed("NoAnswer", observation.error))
            else:
                r.set_condition("Reachable", done("Answers"))
                r.set_condition("Writable", _writable(observation.stats.fault))
        return done(requeue_after=delay)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.poller.forget(key)


def _writable(fault: str | None) -> Outcome:
    """Return the outcome of what the service says of its writes. Reasons: WritesSucceed, DiskFull or WritesFail."""
    if fault is None:
        return done("WritesSucceed")
    if fault == "disk-full":
        return failed("DiskFull", "the volume is full: reads and deletes succeed; delete entries, or raise storageSize")
    return failed("WritesFail", f"the service cannot write: {fault}")
