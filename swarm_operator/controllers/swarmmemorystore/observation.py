"""What a memory service says of itself, as status fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.memory.client import MemoryClient, MemoryClientError, Stats

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """The numbers of a store; None when the service did not answer."""

    stats: Stats | None = None

    def to_status(self) -> dict[str, Any]:
        """The status fields; none when nothing is known."""
        stats = self.stats
        if stats is None:
            return {}
        # Two digits: a rate that moves with every read would mean a write to the API server at every look.
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
    """Asks stores' services for their numbers."""

    url: str
    """Where a service is reached, with {name} and {namespace} of its store."""
    timeout: float = 5.0
    """Seconds for one answer."""

    async def observe(self, store: SwarmMemoryStore, token: str | None) -> Observation:
        """Ask once. No answer is an empty observation: the pod may serve its clients all the same."""
        url = self.url.format(name=store.metadata.name, namespace=store.metadata.namespace)
        try:
            # No retries, since the next look comes soon; no session is kept, since stores come and go.
            async with MemoryClient(url, token=token, timeout=self.timeout, retries=0, connections=1) as memory:
                return Observation(await memory.stats())
        except MemoryClientError as error:
            log.warning("the memory service's numbers could not be read", url=url, error=str(error))
            return Observation()
