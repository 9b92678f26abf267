"""All operations on records. A new operation is a row in its topic's module; a new kind of record is a line here."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.records.agents import AGENTS
from swarm_operator.memory.service.records.consensus import PROPOSALS
from swarm_operator.memory.service.records.leases import LEASES
from swarm_operator.memory.service.records.messages import COMMUNICATIONS, COORDINATION, MEASUREMENTS
from swarm_operator.memory.service.records.operation import Body, RecordOperation, Resource, Result
from swarm_operator.memory.service.records.patterns import PATTERNS
from swarm_operator.memory.service.records.tasks import TASKS
from swarm_operator.memory.swarm import Swarm

_SWARM: Final = Resource(
    namespace=None,
    records=Swarm,
    noun="swarm",
    plural="swarm",
    operations=(
        RecordOperation(
            "swarm-stats", "GET", "/v1/swarm", Swarm.stats, "Counts of records. Takes a token for all namespaces.",
            body=Body.QUERY, result=Result.REPORT, report={"type": "object"}, answer="The counts.", client="",
        ),
    ),
)  # fmt: skip

RESOURCES: Final = (
    AGENTS, TASKS, PATTERNS, PROPOSALS, LEASES, COMMUNICATIONS, COORDINATION, MEASUREMENTS, _SWARM,
)  # fmt: skip
"""All resources, in the order of the OpenAPI document."""
