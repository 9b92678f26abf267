"""Operations on agents: `/v1/agents`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.json_schema import nullable, number
from swarm_operator.memory.service.records.operation import (
    Body,
    Field,
    RecordOperation,
    Resource,
    ToolText,
    deletion,
    listing,
    reading,
)
from swarm_operator.memory.service.records.schemas import (
    FILTER,
    MOMENT,
    TOOL_WORD,
    TYPE,
    WORD,
    record,
    tool_words,
    words,
)
from swarm_operator.memory.swarm.agents import AGENT, DEFAULT_STALE_AFTER, MOST_STALE_AFTER, Agents

_STATUS: Final = Field("status", nullable(WORD), TOOL_WORD)
_CAPABILITIES: Final = Field("capabilities", nullable(words("What it can do.")), tool_words("What the agent can do."))
_STALE: Final = Field(
    "stale",
    {"type": "boolean", "default": False},
    {"type": "boolean", "description": "Whether the last heartbeat is more than stale_after seconds ago."},
)
_STALE_AFTER: Final = Field(
    "stale_after",
    number("Seconds without a heartbeat.", exclusiveMinimum=0, most=MOST_STALE_AFTER, default=DEFAULT_STALE_AFTER),
    {"type": "number", "exclusiveMinimum": 0, "default": DEFAULT_STALE_AFTER},
)

AGENTS: Final = Resource(
    namespace=AGENT.namespace,
    records=Agents,
    noun="agent",
    plural="agents",
    schema="Agent",
    shape=record("An agent.", {"lastHeartbeat": MOMENT, "registeredAt": MOMENT}),
    kind=AGENT,
    tools=("agent_register", "agent_heartbeat", "agent_get", "agent_list", "agent_deregister"),
    operations=(
        listing(
            "agent-list", "/v1/agents", Agents.list,
            (
                Field("status", WORD, TOOL_WORD),
                Field("type", WORD, TOOL_WORD),
                Field("capability", FILTER, TOOL_WORD),
                _STALE,
                _STALE_AFTER,
            ),
            plural="agents",
            tool=ToolText(
                "List agents, to find one that can do something or that no longer responds; agents match all given "
                "conditions."
            ),
        ),
        RecordOperation(
            "agent-register", "PUT", "/v1/agents/{id}", Agents.register,
            "Register an agent, or say more about one; null removes a member.",
            (TYPE, _STATUS, _CAPABILITIES),
            Body.DOCUMENT, statuses=(200, 201),
            tool=ToolText(
                "Register an agent under an ID, or change its registration: given members replace the stored ones."
            ),
        ),
        reading(
            "agent-get", "/v1/agents/{id}", Agents.get, noun="agent",
            tool=ToolText("Get one agent by its ID."),
        ),
        deletion(
            "agent-deregister", "/v1/agents/{id}", Agents.deregister, noun="agent",
            tool=ToolText("Delete an agent's registration. deleted is false if there was none."),
        ),
        RecordOperation(
            "agent-heartbeat", "POST", "/v1/agents/{id}/heartbeat", Agents.heartbeat,
            "Say that an agent is alive, and perhaps in another status.",
            (_STATUS,), conflicts=(404,), body_needed=False, idempotent=True,
            tool=ToolText(
                "Report that a registered agent is alive, and optionally its status. Call regularly; agent_list can "
                "then tell agents that have gone."
            ),
        ),
    ),
)  # fmt: skip
