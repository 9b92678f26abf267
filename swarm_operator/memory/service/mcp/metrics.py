"""What is counted of MCP besides what every protocol's requests are counted as."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

OTHER: Final = "other"
"""Stands for tools that there are not: callers choose their names."""


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    REFUSED = "refused"
    """For what the caller asked."""
    FAILED = "failed"
    """For what the service or its disk is like."""


class McpMetrics:
    """The series of /mcp.

    Args:
        registry: the service's.
        tools: their names.
    """

    def __init__(self, registry: CollectorRegistry, tools: Iterable[str]) -> None:
        calls = Counter("swarm_memory_mcp_calls_total", "Calls of MCP tools.", ["tool", "outcome"], registry=registry)
        self._calls = {(tool, outcome): calls.labels(tool, outcome) for tool in (*tools, OTHER) for outcome in Outcome}
        self.subscribers = Gauge(
            "swarm_memory_mcp_subscribers", "Clients that are told of resources' changes.", registry=registry
        )

    def called(self, tool: str, outcome: Outcome) -> None:
        """Count a call."""
        self._calls[tool, outcome].inc()
