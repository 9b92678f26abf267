"""Tool `memory_sync` of claude-flow: synchronizes with a peer of `peers.json`. Requires the admin token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.json_schema import object_of, text
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.transfer.importer import Outcome

_COUNTED: Final = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.KEPT)


async def _sync(call: Call, arguments: Arguments) -> dict[str, Any]:
    audit.record("sync", call.credential.principal.name, target=arguments["target"])
    done = await call.peers.sync(call.store, arguments["target"])
    pulled = {outcome.name.lower(): count for outcome, count in done.pulled.items()}
    return {"target": arguments["target"], "pulled": _counts(pulled), "pushed": _counts(done.pushed)}


def _counts(found: Mapping[str, int]) -> dict[str, int]:
    return {outcome.name.lower(): found.get(outcome.name.lower(), 0) for outcome in _COUNTED}


TOOLS: Final = (
    Tool(
        "memory_sync",
        "Synchronize this memory with another one that the service knows by name: entries that only one memory has are "
        "copied to the other, and of two values the newer wins. Deleted entries come back from the other memory. "
        "Requires the admin token.",
        "import",
        object_of({"target": text("Name of the other memory.", most=63)}, ("target",)),
        _sync,
        admin=True,
        destructive=True,
        idempotent=True,
    ),
)
