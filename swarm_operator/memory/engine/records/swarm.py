"""All records of one swarm in one hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm_operator.memory.engine.records.agents import Agents
from swarm_operator.memory.engine.records.bulletins import Coordination, Metrics
from swarm_operator.memory.engine.records.communications import Communications
from swarm_operator.memory.engine.records.consensus import Consensus
from swarm_operator.memory.engine.records.patterns import Patterns
from swarm_operator.memory.engine.records.tasks import Tasks

if TYPE_CHECKING:
    from swarm_operator.memory.engine.store import MemoryStore

__all__ = ["Swarm"]


class Swarm:
    """The records of a swarm.

    Args:
        store: where they are; its `swarm_id` is written into each of them.

    Attributes:
        agents: who is in it.
        tasks: what is to be done.
        patterns: what has worked.
        consensus: what is voted on.
        communications: what is said.
        coordination: what is agreed for the hour.
        metrics: what was measured.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.agents = Agents(store)
        self.tasks = Tasks(store)
        self.patterns = Patterns(store)
        self.consensus = Consensus(store)
        self.communications = Communications(store)
        self.coordination = Coordination(store)
        self.metrics = Metrics(store)
