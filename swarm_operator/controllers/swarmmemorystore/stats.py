"""Numbers of a store in its status, read from the memory service."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.controllers.swarmmemorystore.auth import Auth, secret_name, token_of
from swarm_operator.controllers.swarmmemorystore.network import ClientService
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.memory.client import MemoryClient, MemoryClientError, Stats

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """Numbers of a store; None if the service did not answer."""

    stats: Stats | None = None

    def to_status(self) -> dict[str, Any]:
        """Return the status fields; none if nothing is known."""
        stats = self.stats
        if stats is None:
            return {}
        # Two digits: a rate that changes with every read would cost a write to the API server at every poll.
        hit_rate = None if stats.cache_hit_rate is None else round(stats.cache_hit_rate, 2)
        return {
            "databaseSize": stats.database_size_bytes,
            "entryCount": stats.entries,
            "agentCount": stats.agents,
            "taskCount": stats.tasks,
            "patternCount": stats.patterns,
            "cacheHitRate": hit_rate,
        }


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
            return Observation()


@dataclass(frozen=True, slots=True)
class StatsPoll(Step[SwarmMemoryStore]):
    """Poll the numbers of a store whose pod is ready. The token is sent to our own Service only."""

    needs: ClassVar = (Auth, ClientService, Workload)

    observer: Observer
    interval: float
    """Seconds between two polls, plus or minus a tenth."""
    waiting_interval: float
    """The same while the pod is not ready or does not answer. Changes of the pod enqueue the store at once anyway."""
    rng: random.Random

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        observation = Observation()
        if r.outcomes[Workload].is_done:
            token = token_of(r.children[kinds.SECRET, secret_name(r.parsed)])
            observation = await self.observer.observe(r.parsed, token)
        r.status |= observation.to_status()
        interval = self.interval if observation.stats else self.waiting_interval
        return done(requeue_after=interval * self.rng.uniform(0.9, 1.1))
