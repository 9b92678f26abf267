"""`/v1/agents`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swarm_operator.memory.engine.records.agents import AGENT, DEFAULT_STALE_AFTER
from swarm_operator.memory.service.records.endpoint import (
    Call,
    Endpoint,
    decimal,
    deleted,
    found_reply,
    page_reply,
    record_reply,
    switch,
)

if TYPE_CHECKING:
    from swarm_operator.memory.engine.records import Swarm
    from swarm_operator.memory.service.asgi import Reply

__all__ = ["ENDPOINTS"]


async def _list(swarm: Swarm, call: Call) -> Reply:
    query = call.query("status", "type", "capability", "stale", "stale_after", "limit", "cursor")
    page = await swarm.agents.list(
        status=query.get("status"),
        agent_type=query.get("type"),
        capability=query.get("capability"),
        stale=switch(query, "stale"),
        stale_after=decimal(query, "stale_after", DEFAULT_STALE_AFTER),
        **call.page(query, AGENT.prefix),
    )
    return page_reply("agents", page)


async def _register(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.agents.register(call.id, call.document()))


async def _get(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return found_reply(await swarm.agents.get(call.id), call)


async def _deregister(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return deleted(await swarm.agents.deregister(call.id), "agent")


async def _heartbeat(swarm: Swarm, call: Call) -> Reply:
    members = call.members("status")
    return record_reply(await swarm.agents.heartbeat(call.id, status=members.get("status")))


ENDPOINTS: Final = (
    Endpoint("GET", "agents", "agent-list", _list),
    Endpoint("PUT", "agents/{id}", "agent-register", _register),
    Endpoint("GET", "agents/{id}", "agent-get", _get),
    Endpoint("DELETE", "agents/{id}", "agent-deregister", _deregister),
    Endpoint("POST", "agents/{id}/heartbeat", "agent-heartbeat", _heartbeat),
)
