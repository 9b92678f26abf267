"""Tools for agents: `agent_register`, `agent_heartbeat`, `agent_get`, `agent_list`, `agent_deregister`."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import array, object_of
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.agents import AGENT, DEFAULT_STALE_AFTER


async def _register(call: Call, arguments: Arguments) -> dict[str, Any]:
    document = common.document(arguments, "type", "status", "capabilities")
    return common.one(call, "agent", AGENT, await call.swarm.agents.register(arguments["id"], document))


async def _heartbeat(call: Call, arguments: Arguments) -> dict[str, Any]:
    agent = await call.swarm.agents.heartbeat(arguments["id"], status=arguments.get("status"))
    return common.one(call, "agent", AGENT, agent)


async def _get(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "agent", AGENT, await call.swarm.agents.get(arguments["id"]))


async def _list(call: Call, arguments: Arguments) -> dict[str, Any]:
    page = await call.swarm.agents.list(
        status=arguments.get("status"),
        agent_type=arguments.get("type"),
        capability=arguments.get("capability"),
        stale=arguments.get("stale"),
        stale_after=arguments.get("stale_after", DEFAULT_STALE_AFTER),
        **common.page_arguments(call, AGENT, arguments),
    )
    return common.page(call, "agents", AGENT, arguments, page)


async def _deregister(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.agents.deregister(arguments["id"]), "id": arguments["id"]}


TOOLS: Final = (
    Tool(
        "agent_register",
        "Register an agent under an ID, or change its registration: given members replace the stored ones.",
        "agent-register",
        object_of(
            {
                "id": schemas.ID,
                "type": common.WORD,
                "status": common.WORD,
                "capabilities": array(common.WORD, "What the agent can do.", most=64),
                "details": schemas.DETAILS,
            },
            ("id",),
        ),
        _register,
        namespace=AGENT.namespace,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "agent_heartbeat",
        "Report that a registered agent is alive, and optionally its status. Call regularly; agent_list can then tell "
        "agents that have gone.",
        "agent-heartbeat",
        object_of({"id": schemas.ID, "status": common.WORD}, ("id",)),
        _heartbeat,
        namespace=AGENT.namespace,
        idempotent=True,
    ),
    Tool(
        "agent_get",
        "Get one agent by its ID.",
        "agent-get",
        object_of({"id": schemas.ID}, ("id",)),
        _get,
        namespace=AGENT.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "agent_list",
        "List agents, to find one that can do something or that no longer responds; agents match all given conditions.",
        "agent-list",
        object_of(
            {
                "status": common.WORD,
                "type": common.WORD,
                "capability": common.WORD,
                "stale": {
                    "type": "boolean",
                    "description": "Whether the last heartbeat is more than stale_after seconds ago.",
                },
                "stale_after": {"type": "number", "exclusiveMinimum": 0, "default": DEFAULT_STALE_AFTER},
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        _list,
        namespace=AGENT.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "agent_deregister",
        "Delete an agent's registration. deleted is false if there was none.",
        "agent-deregister",
        object_of({"id": schemas.ID}, ("id",)),
        _deregister,
        namespace=AGENT.namespace,
        destructive=True,
        idempotent=True,
    ),
)
