"""Toolsets: groups of tools from which a client chooses what `tools/list` returns, to save a model's context.

A client chooses with the query of its URL, which every client can set: `/mcp?toolsets=core,tasks`. Without the query
the setting `mcp_toolsets` applies. Toolsets are not permissions: a tool that is not listed can still be called.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from swarm_operator.memory.core.errors import InvalidInputError

QUERY: Final = "toolsets"
"""Query parameter of /mcp."""
SCOPE_KEY: Final = "swarm_memory.toolsets"
"""Key of the ASGI scope under which the endpoint passes a request's toolsets to the server."""


class Toolset(StrEnum):
    """Name of a toolset. `tools.TOOLSETS` has their tools."""

    CORE = "core"
    TASKS = "tasks"
    SWARM = "swarm"
    CLASSIC = "classic"
    ADMIN = "admin"
    ALL = "all"


_NAMES: Final = frozenset(Toolset)


def parse(text: str) -> tuple[Toolset, ...]:
    """Return the toolsets named in a comma-separated list. Raise InvalidInputError."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _NAMES:
            allowed = f"one or more of {', '.join(Toolset)}, separated by commas; {name[:64]!r} is none of them"
            raise InvalidInputError(QUERY, allowed)
    return tuple(map(Toolset, names))
