"""List of all tools, by topic, and the toolsets. Capabilities that the service lacks have no tool; see docs/mcp.md."""

from typing import Final

from swarm_operator.memory.service.mcp.tools import (
    agents,
    backups,
    classic,
    consensus,
    entries,
    leases,
    messages,
    patterns,
    syncing,
    tasks,
)
from swarm_operator.memory.service.mcp.toolsets import Toolset

__all__ = ["TOOLS", "TOOLSETS"]

TOOLS: Final = (
    *entries.TOOLS,
    *agents.TOOLS,
    *tasks.TOOLS,
    *patterns.TOOLS,
    *consensus.TOOLS,
    *leases.TOOLS,
    *messages.TOOLS,
    *classic.TOOLS,
    *backups.TOOLS,
    *syncing.TOOLS,
)
_SHARED_WORK: Final = {"task_create", "task_claim_next", "task_set_status"}
_CLAUDE_FLOW: Final = (*classic.TOOLS, *backups.TOOLS, *syncing.TOOLS)

TOOLSETS: Final = {
    # What an agent in a swarm needs: remember and find, take part in the work, talk.
    Toolset.CORE: (*entries.TOOLS, *(tool for tool in tasks.TOOLS if tool.name in _SHARED_WORK), *messages.TOOLS),
    Toolset.TASKS: tasks.TOOLS,
    Toolset.SWARM: (*agents.TOOLS, *patterns.TOOLS, *consensus.TOOLS, *leases.TOOLS, *messages.TOOLS),
    Toolset.CLASSIC: (*(tool for tool in entries.TOOLS if tool.name == "memory_search"), *_CLAUDE_FLOW),
    Toolset.ADMIN: tuple(tool for tool in TOOLS if tool.admin),
    Toolset.ALL: TOOLS,
}
"""Tools of each toolset. A tool may be in several."""
