"""Tools for leases, the queen's among them: `lease_claim`, `lease_renew`, `lease_release` and `lease_get`."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import object_of
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.leases import LEASE


async def _claim(call: Call, arguments: Arguments) -> dict[str, Any]:
    lease = await call.swarm.leases.claim(arguments["id"], arguments["agent"], lease=arguments.get("lease"))
    return common.one(call, "lease", LEASE, lease)


async def _renew(call: Call, arguments: Arguments) -> dict[str, Any]:
    lease = await call.swarm.leases.renew(arguments["id"], arguments["agent"], lease=arguments.get("lease"))
    return common.one(call, "lease", LEASE, lease)


async def _release(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "lease", LEASE, await call.swarm.leases.release(arguments["id"], arguments["agent"]))


async def _get(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "lease", LEASE, await call.swarm.leases.get(arguments["id"]))


_CLAIM: Final = {
    "id": schemas.ID,
    "agent": schemas.AGENT,
    "lease": {
        "type": "number",
        "minimum": 0,
        "description": "Seconds until the lease ends unless it is renewed; at most a week.",
        "default": 30,
    },
}

TOOLS: Final = (
    Tool(
        "lease_claim",
        "Take a free lease, such as queen, or renew your own. term grows with each new holder.",
        "lease-claim",
        object_of(_CLAIM, ("id", "agent")),
        _claim,
        namespace=LEASE.namespace,
        idempotent=True,
    ),
    Tool(
        "lease_renew",
        "Keep a lease that you hold before it ends, so that no other agent takes it.",
        "lease-renew",
        object_of(_CLAIM, ("id", "agent")),
        _renew,
        namespace=LEASE.namespace,
        idempotent=True,
    ),
    Tool(
        "lease_release",
        "Give back a lease that you hold, so that another agent can take it at once.",
        "lease-release",
        object_of({"id": schemas.ID, "agent": schemas.AGENT}, ("id", "agent")),
        _release,
        namespace=LEASE.namespace,
    ),
    Tool(
        "lease_get",
        "Get a lease with its holder, term, and whether it is held now.",
        "lease-get",
        object_of({"id": schemas.ID}, ("id",)),
        _get,
        namespace=LEASE.namespace,
        read_only=True,
        idempotent=True,
    ),
)
