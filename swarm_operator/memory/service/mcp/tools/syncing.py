"""Tool `memory_sync` of claude-flow: synchronizes with a peer of `peers.json`. Requires the admin token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from swarm_operator.memory.service.json_schema import object_of, text, whole
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.transfer.ndjson import Outcome

_COUNTED: Final = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.KEPT)
_COUNTS: Final = object_of({outcome.name.lower(): whole("Entries.") for outcome in _COUNTED})


async def _sync(call: Call, arguments: Arguments) -> dict[str, Any]:
    call.principal.check_admin()
    done = await call.peers.sync(call.store, arguments["target"])
    pulled = {outcome.name.lower(): count for outcome, count in done.pulled.items()}
    return {"target": arguments["target"], "pulled": _counts(pulled), "pushed": _counts(done.pushed)}


def _counts(found: Mapping[str, int]) -> dict[str, int]:
    return {outcome.name.lower(): found.get(outcome.name.lower(), 0) for outcome in _COUNTED}


TOOLS: Final = (
    Tool(
        "memory_sync",
        "Bring this memory and another one together, which the service knows by name; needs the admin token. What only "
        "one has goes to the other, of two values the newer stays; what one has deleted comes back from the other.",
        "import",
        object_of({"target": text("The other memory's name.", most=63)}, ("target",)),
        object_of({"target": text("As asked."), "pulled": _COUNTS, "pushed": _COUNTS}, ("target", "pulled", "pushed")),
        _sync,
        destructive=True,
        idempotent=True,
    ),
)
