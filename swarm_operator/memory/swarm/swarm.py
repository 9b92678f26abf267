"""Facade over all record collections of a swarm."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm.agents import ACTIVE, AGENT, Agents
from swarm_operator.memory.swarm.cleanup import DEFAULT_MAX_AGE, Cleanup, clean_up
from swarm_operator.memory.swarm.consensus.proposals import CONSENSUS, Consensus
from swarm_operator.memory.swarm.coordination import COORDINATION_NAMESPACE, METRICS, Coordination, Metrics
from swarm_operator.memory.swarm.leases import Leases
from swarm_operator.memory.swarm.messages import COMMUNICATION, Communications
from swarm_operator.memory.swarm.patterns import PATTERN, Patterns
from swarm_operator.memory.swarm.tasks.queue import TASK
from swarm_operator.memory.swarm.tasks.rules import STATUSES
from swarm_operator.memory.swarm.tasks.tasks import Tasks

NAMESPACES: Final = (
    AGENT.namespace,
    TASK.namespace,
    COMMUNICATION.namespace,
    CONSENSUS.namespace,
    PATTERN.namespace,
    METRICS.namespace,
    COORDINATION_NAMESPACE,
)
_PROPOSALS: Final = ("open", "decided", "failed")


class Swarm:
    """The records of a swarm.

    Args:
        store: the store that holds the records; its `swarm_id` is written into every record.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def agents(self) -> Agents:
        """Return the agents."""
        return Agents(self._store)

    @property
    def tasks(self) -> Tasks:
        """Return the tasks."""
        return Tasks(self._store)

    @property
    def patterns(self) -> Patterns:
        """Return the learned patterns."""
        return Patterns(self._store)

    @property
    def consensus(self) -> Consensus:
        """Return the proposals and votes."""
        return Consensus(self._store)

    @property
    def leases(self) -> Leases:
        """Return the leases, the queen's among them."""
        return Leases(self._store)

    @property
    def communications(self) -> Communications:
        """Return the messages."""
        return Communications(self._store)

    @property
    def coordination(self) -> Coordination:
        """Return the coordination data."""
        return Coordination(self._store)

    @property
    def metrics(self) -> Metrics:
        """Return the measurements."""
        return Metrics(self._store)

    async def stats(self) -> dict[str, Any]:
        """Return counts of records, like the seed's getSwarmStats. Counts by status are counts of tags.

        The cost grows with the number of tasks, which are counted in the tag index: about 100 ms per million.
        """
        totals = await self._store.counts(NAMESPACES)
        active = await self._store.tag_counts(AGENT.namespace, sorted(ACTIVE))
        tasks = await self._store.tag_counts(TASK.namespace, STATUSES)
        proposals = await self._store.tag_counts(CONSENSUS.namespace, _PROPOSALS)
        tasks["inProgress"] = tasks.pop("in_progress")
        return {
            "swarmId": self._store.swarm_id,
            "agents": {"total": totals[AGENT.namespace], "active": sum(active.values())},
            "tasks": {"total": totals[TASK.namespace], **tasks},
            "patterns": {"total": totals[PATTERN.namespace]},
            "consensus": {"total": totals[CONSENSUS.namespace], **proposals},
            "communications": {"total": totals[COMMUNICATION.namespace]},
            "metrics": {"total": totals[METRICS.namespace]},
            "coordination": {"total": totals[COORDINATION_NAMESPACE]},
            "namespaces": list(NAMESPACES),
        }

    async def cleanup(
        self,
        *,
        max_age: float = DEFAULT_MAX_AGE,
        keep_patterns: bool = True,
        keep_consensus: bool = True,
        dry_run: bool = False,
    ) -> Cleanup:
        """Delete old records. See cleanup.clean_up."""
        return await clean_up(
            self._store,
            max_age=max_age,
            keep_patterns=keep_patterns,
            keep_consensus=keep_consensus,
            dry_run=dry_run,
        )
