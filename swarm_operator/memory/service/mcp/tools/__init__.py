"""List of all tools, by topic, and the toolsets. Capabilities that the service lacks have no tool; see docs/mcp.md."""

from itertools import chain
from typing import Final

from swarm_operator.memory.service.mcp.tools import backups, classic, entries, records, syncing
from swarm_operator.memory.service.mcp.toolsets import Toolset

__all__ = ["TOOLS", "TOOLSETS"]

TOOLS: Final = (
    *entries.TOOLS,
    *chain.from_iterable(records.TOOLS.values()),
    *classic.TOOLS,
    *backups.TOOLS,
    *syncing.TOOLS,
)
_TASKS: Final = records.TOOLS["tasks"]
_MESSAGES: Final = records.TOOLS["communications"]
_SHARED_WORK: Final = {"task_create", "task_claim_next", "task_set_status"}
_CLAUDE_FLOW: Final = (*classic.TOOLS, *backups.TOOLS, *syncing.TOOLS)

TOOLSETS: Final = {
    # For an agent in a swarm: store and find entries, work on tasks, exchange messages.
    Toolset.CORE: (*entries.TOOLS, *(tool for tool in _TASKS if tool.name in _SHARED_WORK), *_MESSAGES),
    Toolset.TASKS: _TASKS,
    Toolset.SWARM: tuple(tool for plural, tools in records.TOOLS.items() if plural != "tasks" for tool in tools),
    Toolset.CLASSIC: (*(tool for tool in entries.TOOLS if tool.name == "memory_search"), *_CLAUDE_FLOW),
    Toolset.ADMIN: tuple(tool for tool in TOOLS if tool.admin),
    Toolset.ALL: TOOLS,
}
"""Tools of each toolset. A tool may be in several."""
