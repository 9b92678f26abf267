"""Polls of memory services: their numbers for the status of stores, and changes of settings that differ from the spec.

Each poll is a separate task, so a service that does not answer delays no reconcile. A poll with a new result
enqueues its store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore import settings
from swarm_operator.controllers.swarmmemorystore.auth import Auth, secret_name, token_of
from swarm_operator.controllers.swarmmemorystore.network import ClientService, service_url
from swarm_operator.controllers.swarmmemorystore.tls.names import trusted
from swarm_operator.controllers.swarmmemorystore.workload.memory import suffices
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.memory.client import MemoryClient, MemoryClientError, Stats
from swarm_operator.runtime.resource import Key, key_of
from swarm_operator.shared.tokens import ADMIN_FILE

log = structlog.get_logger(__name__)


NUMBERS = ("databaseSize", "entryCount", "agentCount", "taskCount", "patternCount", "cacheHitRate")
"""Fields of the status that keep their values while the service does not answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Data that a poll needs of a store besides its name."""

    token: str | None
    """The client token."""
    admin_token: str | None
    settings: Mapping[str, Any]
    """The wanted settings, by their names in the service's API."""
    ca: str | None = None
    """The CA certificates to verify the service by, in PEM; None for a service without TLS."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Numbers and settings of a store; None if the service did not answer."""

    stats: Stats | None = None
    error: str = ""
    """Why there are no numbers."""
    refusal: str = ""
    """Why the service did not change its settings."""

    @property
    def shown(self) -> tuple[Any, ...]:
        """Return what the status is made of."""
        stats, used = self.stats, self.volume_used
        told = stats and (stats.fault, stats.settings)
        return self.to_status(), self.error, self.refusal, told, used if used is None else int(used)

    @property
    def volume_used(self) -> float | None:
        """Return the percent of the volume that are used; None if that is not known."""
        stats = self.stats
        if stats is None or not stats.volume_size_bytes or stats.volume_free_bytes is None:
            return None
        # The free space of a full disk is the reserve, which writes do not get.
        if stats.fault == "disk-full":
            return 100.0
        return 100 * (stats.volume_size_bytes - stats.volume_free_bytes) / stats.volume_size_bytes

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
    """Reads the numbers of memory services, and changes their settings."""

    url: str
    """Address of a service, with {name} and {namespace} of its store."""
    timeout: float = 5.0
    """Seconds for one answer."""

    async def observe(self, store: SwarmMemoryStore, target: Target) -> Observation:
        """Read the numbers once, and change settings that differ from the target's.

        No answer is an empty observation: the pod may still serve its clients.
        """
        url = service_url(self.url, Key(store.metadata.namespace, store.metadata.name), target.ca)
        try:
            async with self._client(url, target.token, target.ca) as memory:
                stats = await memory.stats()
        except MemoryClientError as error:
            log.warning("the memory service's numbers could not be read", url=url, error=str(error))
            return Observation(error=str(error))
        changes = settings.differing(target.settings, stats.settings)
        if not changes:
            return Observation(stats)
        try:
            async with self._client(url, target.admin_token, target.ca) as memory:
                in_force = await memory.settings.change(changes)
        except MemoryClientError as error:
            log.warning("the memory service did not change its settings", url=url, changes=changes, error=str(error))
            return Observation(stats, refusal=str(error))
        log.info("settings changed", url=url, **changes)
        return Observation(replace(stats, settings={**stats.settings, **in_force}))

    def _client(self, url: str, token: str | None, ca: str | None) -> MemoryClient:
        # No retries, since the next poll comes soon; no session is kept, since stores come and go.
        return MemoryClient(url, token=token, ca_data=ca, timeout=self.timeout, retries=0, connections=1)


@dataclass(slots=True)
class _Poll:
    due: float
    """Monotonic time of the clock at which the next poll is due."""
    settings: Mapping[str, Any]
    """The settings that the newest pass asked for."""
    observation: Observation | None = None
    """The last observation; None before the first poll has ended."""
    is_reported: bool = False
    """Whether the status may have the answers to a former operator."""
    missed: bool = False
    """Whether the service answered before, and the last poll got no answer."""
    task: asyncio.Task[None] | None = None

    @property
    def answers(self) -> bool:
        """Return whether the service is known to answer."""
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

    def poll(
        self, store: SwarmMemoryStore, target: Target, *, is_reported: bool = False
    ) -> tuple[Observation | None, float]:
        """Start a poll if one is due. Return what the last one found, and the seconds until the next is due.

        Args:
            store: the store.
            target: what a poll needs. Other settings than those of the pass before are due now.
            is_reported: whether the status is as the pass has found it. Then the first poll of a restarted operator
                enqueues the store only if the status does not have what the poll finds.
        """
        key, now = Key(store.metadata.namespace, store.metadata.name), self._monotonic()
        poll = self._polls.setdefault(key, _Poll(now, target.settings, is_reported=is_reported))
        if poll.due <= now or poll.settings != target.settings:
            poll.due = now + self.delay(answers=poll.answers)
            poll.settings = target.settings
            if poll.task is None:
                poll.task = asyncio.create_task(self._run(key, poll, store, target), name=f"poll {key}")
        return poll.observation, poll.due - now

    def newest(self, key: Key) -> Observation | None:
        """Return what the last poll of a store found; None if the store is not polled."""
        poll = self._polls.get(key)
        return poll.observation if poll else None

    def features(self, key: Key) -> frozenset[str] | None:
        """Return what the service of a store can do; None if it has not answered."""
        observation = self.newest(key)
        return observation.stats.features if observation and observation.stats else None

    def forget(self, key: Key) -> None:
        """Stop polling a store."""
        poll = self._polls.pop(key, None)
        if poll is not None and poll.task is not None:
            poll.task.cancel()

    async def _run(self, key: Key, poll: _Poll, store: SwarmMemoryStore, target: Target) -> None:
        try:
            async with self._turns:
                found = await self._observer.observe(store, target)
        except Exception as error:
            log.exception("a poll failed", store=str(key))
            found = Observation(error=f"{type(error).__name__}: {error}")
        poll.task = None
        if poll.settings != target.settings:  # a pass asked for others meanwhile
            poll.due = self._monotonic()
            self.enqueue(key)
            return
        answered, known = poll.answers, poll.observation
        # One lost answer changes nothing, as with a kubelet's probe. The status reports it when the next poll gets no
        # answer.
        poll.missed = answered and found.stats is None and not poll.missed
        if poll.missed:
            poll.due = self._monotonic() + self.delay(answers=False)
            self.enqueue(key)
            return
        poll.observation = found
        if poll.answers != answered:
            poll.due = self._monotonic() + self.delay(answers=poll.answers)
        if known is None:
            is_known = poll.is_reported and _is_in_status(store, target.settings, found)
        else:
            is_known = known.shown == found.shown
        if not is_known:
            self.enqueue(key)  # its pass comes back when the next poll is due


@dataclass(frozen=True, slots=True)
class StatsPoll(Step[SwarmMemoryStore]):
    """Report the numbers of a store whose pod is ready, and the conditions that the service's answers decide.

    The last numbers stay while the service does not answer: the condition Reachable shows their age. The tokens are
    sent to our own Service only.
    """

    reports: ClassVar = ("Reachable", "Writable", "SettingsApplied")
    needs: ClassVar = (Auth, ClientService, Workload)

    poller: Poller

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        stored = r.obj.get("status") or {}
        r.status |= {name: stored.get(name) for name in NUMBERS}
        if not r.outcomes[Workload].is_done:
            self.poller.forget(key_of(r.obj))
            for condition in ("Reachable", "Writable"):
                r.conditions.set(condition, status=None, reason="PodNotReady", message="the pod is not ready")
            r.set_condition(
                "SettingsApplied", waiting("WaitingForService", "the pod is not ready; it starts with them")
            )
            # Changes of the pod enqueue the store at once; this looks at the Secret, and at events of children. Where
            # no pod is wanted, these can wait.
            return done(requeue_after=self.poller.delay(answers=r.parsed.spec.hibernated))
        secret = r.children[kinds.SECRET, secret_name(r.parsed)]
        asked = settings.live(r.parsed)
        # A larger cache waits for a pod with more memory.
        if not suffices(r.client.get(kinds.STATEFUL_SET, key_of(r.obj)), r.parsed):
            del asked[settings.CACHE_MEMORY]
        target = Target(token_of(secret), token_of(secret, ADMIN_FILE), asked, trusted(r.parsed, r.client.cache))
        observation, delay = self.poller.poll(r.parsed, target, is_reported=not r.conditions.changed())
        if observation is not None:
            r.status |= observation.to_status()
            for type_, outcome in judged(r.parsed, asked, observation).items():
                r.set_condition(type_, outcome)
            return done(requeue_after=delay)
        before = r.conditions.of_this_spec("SettingsApplied")
        # A restarted operator has no answer yet: what the service answered to the former one stays.
        if before is None or before["reason"] == "WaitingForService":
            r.set_condition("SettingsApplied", settings_outcome(r.parsed, asked, None))
        return done(requeue_after=delay)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self.poller.forget(key)


def judged(store: SwarmMemoryStore, asked: Mapping[str, Any], observation: Observation) -> dict[str, Outcome]:
    """Return the outcomes that a poll decides, by the types of their conditions.

    Args:
        store: the store.
        asked: the settings that the polls ask for.
        observation: what the poll has found.
    """
    outcomes = {"SettingsApplied": settings_outcome(store, asked, observation)}
    if observation.stats is None:
        return outcomes | {"Reachable": failed("NoAnswer", observation.error)}
    return outcomes | {"Reachable": done("Answers"), "Writable": _writable(observation.stats.fault)}


def _is_in_status(store: SwarmMemoryStore, asked: Mapping[str, Any], observation: Observation) -> bool:
    """Return whether the status of a store has all that a poll has found."""
    generation, stored = store.metadata.generation, {found.type: found for found in store.status.conditions}
    for type_, outcome in judged(store, asked, observation).items():
        found = stored.get(type_)
        if found is None or found.observed_generation != generation:
            return False
        if (found.status, found.reason, found.message) != (str(outcome.is_done), outcome.reason, outcome.message):
            return False
    status, used = store.status.model_dump(by_alias=True), store.status.volume_used_percent
    return observation.to_status().items() <= status.items() and settled(observation.volume_used, used) == used


def settled(exact: float | None, stored: int | None) -> int | None:
    """Return the percent for the status. The stored one stays until it is wrong by one: else an edge would flap."""
    if exact is None or (stored is not None and abs(exact - stored) < 1):
        return stored
    return int(exact)


def settings_outcome(store: SwarmMemoryStore, asked: Mapping[str, Any], observation: Observation | None) -> Outcome:
    """Return the outcome of the settings, as the service reported them last.

    Args:
        store: the store.
        asked: the settings that the polls ask for.
        observation: what is known.

    Returns:
        Reasons: Applied, WaitingForService, RestartNeeded or Refused.
    """
    if observation is None or observation.stats is None:
        return waiting("WaitingForService", "the service does not report its settings; it is asked again")
    in_force = observation.stats.settings
    if changes := settings.differing(asked, in_force):
        if observation.refusal:
            return failed("Refused", f"{settings.fields_of(changes)}: {observation.refusal}")
        return waiting("WaitingForService", f"{settings.fields_of(changes)}: the service is asked to change them")
    if held := settings.differing(settings.reported(store), in_force):
        return waiting("RestartNeeded", f"{settings.fields_of(held)}: in force when the pod has been replaced")
    return done("Applied")


def _writable(fault: str | None) -> Outcome:
    """Return the outcome for the service's report on writes. Reasons: WritesSucceed, DiskFull or WritesFail."""
    if fault is None:
        return done("WritesSucceed")
    if fault == "disk-full":
        return failed("DiskFull", "the volume is full: reads and deletes succeed; delete entries, or raise storageSize")
    return failed("WritesFail", f"the service cannot write: {fault}")
