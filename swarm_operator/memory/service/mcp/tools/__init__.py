"""List of all tools, by topic. Capabilities that the service lacks have no tool; docs/mcp.md lists them."""

from swarm_operator.memory.service.mcp.tools import (
    agents,
    backups,
    classic,
    consensus,
    entries,
    messages,
    patterns,
    syncing,
    tasks,
)

__all__ = ["TOOLS"]

TOOLS = (
    *entries.TOOLS,
    *agents.TOOLS,
    *tasks.TOOLS,
    *patterns.TOOLS,
    *consensus.TOOLS,
    *messages.TOOLS,
    *classic.TOOLS,
    *backups.TOOLS,
    *syncing.TOOLS,
)
