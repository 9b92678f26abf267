"""Operations on agents: `/v1/agents`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import (
    Call,
    Endpoint,
    boolean,
    decimal,
    deleted,
    found_reply,
    record_reply,
)
from swarm_operator.memory.service.http.operation import SWITCH
from swarm_operator.memory.service.http.record_schemas import (
    FILTER,
    MOMENT,
    WORD,
    deletion,
    listing,
    reading,
    record,
    words,
    writing,
)
from swarm_operator.memory.service.json_schema import nullable, number, object_of
from swarm_operator.memory.swarm.agents import DEFAULT_STALE_AFTER, MOST_STALE_AFTER


async def _list(call: Call) -> Reply:
    query = call.query()
    page = await call.swarm.agents.list(
        status=query.get("status"),
        agent_type=query.get("type"),
        capability=query.get("capability"),
        stale=boolean(query, "stale"),
        stale_after=decimal(query, "stale_after", DEFAULT_STALE_AFTER),
        **call.page(query),
    )
    return call.page_reply("agents", page, query)


async def _register(call: Call) -> Reply:
    return record_reply(await call.swarm.agents.register(call.id, call.document()))


async def _get(call: Call) -> Reply:
    call.query()
    return found_reply(await call.swarm.agents.get(call.id), call)


async def _deregister(call: Call) -> Reply:
    call.query()
    return deleted(await call.swarm.agents.deregister(call.id), "agent")


async def _heartbeat(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.agents.heartbeat(call.id, status=members.get("status")))


_MEMBERS: Final = {
    "type": nullable(WORD),
    "status": nullable(WORD),
    "capabilities": nullable(words("What it can do.")),
}
SHAPE: Final = record("An agent.", {"lastHeartbeat": MOMENT, "registeredAt": MOMENT})

ENDPOINTS: Final = (
    Endpoint(
        listing(
            "/v1/agents",
            "agent-list",
            "agents",
            "Agent",
            {
                "status": WORD,
                "type": WORD,
                "capability": FILTER,
                "stale": SWITCH,
                "stale_after": number(
                    "Seconds without a heartbeat.",
                    exclusiveMinimum=0,
                    most=MOST_STALE_AFTER,
                    default=DEFAULT_STALE_AFTER,
                ),
            },
        ),
        _list,
    ),
    Endpoint(
        writing(
            "PUT",
            "/v1/agents/{id}",
            "agent-register",
            "Register an agent, or say more about one; null removes a member.",
            "Agent",
            object_of(_MEMBERS, closed=False),
            answers=(200, 201),
        ),
        _register,
    ),
    Endpoint(reading("/v1/agents/{id}", "agent-get", "agent", "Agent"), _get),
    Endpoint(deletion("/v1/agents/{id}", "agent-deregister", "agent"), _deregister),
    Endpoint(
        writing(
            "POST",
            "/v1/agents/{id}/heartbeat",
            "agent-heartbeat",
            "Say that an agent is alive, and perhaps in another status.",
            "Agent",
            object_of({"status": nullable(WORD)}),
            body_needed=False,
            conflicts=(404,),
        ),
        _heartbeat,
    ),
)
