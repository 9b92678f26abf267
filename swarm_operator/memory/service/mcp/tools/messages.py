"""Tools `message_send` and `message_read` for messages between agents, which are kept for a day."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.json_schema import array, nullable, object_of, text
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.budget import size_of
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool, naming
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.messages import COMMUNICATION


async def _send(call: Call, arguments: Arguments) -> dict[str, Any]:
    with naming(fromAgent="from", toAgent="to"):
        message = await call.swarm.communications.send(arguments["from"], arguments.get("to"), arguments["message"])
    return {"id": message.id}


async def _read(call: Call, arguments: Arguments) -> dict[str, Any]:
    page = await call.swarm.communications.read(
        agent=arguments.get("agent"),
        from_agent=arguments.get("from"),
        message_type=arguments.get("type"),
        since=cursors.decode(arguments.get("cursor")),
        limit=arguments.get("limit", 50),
    )
    taken = call.budget.take(page.messages, lambda message: _shown(call, message.document))
    whole = len(taken) == len(page.messages)
    last = page.cursor if whole else COMMUNICATION.prefix + page.messages[len(taken) - 1].id
    return {"messages": taken, "cursor": cursors.encode(last), "more": page.more or not whole}


def _shown(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """Return a message, without its content if the message takes more than half of the budget."""
    if size_of(document) <= call.budget.contents // 2:
        return document
    kept = {name: value for name, value in document.items() if name != "message"}
    kept["cut"] = f"too long: memory_retrieve with namespace {COMMUNICATION.namespace} and key {document['id']}"
    return kept


TOOLS: Final = (
    Tool(
        "message_send",
        "Send a message to an agent, or to all others. It is kept for a day.",
        "communication-send",
        object_of(
            {
                "from": text("The id of the agent that sends it.", most=512),
                "to": text("To whom; left out or *: everyone else.", most=512),
                "message": {"description": "Any JSON value; the member type of an object can be looked for."},
            },
            ("from", "message"),
        ),
        object_of({"id": schemas.TEXT}, ("id",)),
        _send,
    ),
    Tool(
        "message_read",
        "Read messages in the order in which they were sent. Keep cursor and give it the next time, also when there "
        "was nothing new.",
        "communication-read",
        object_of(
            {
                "agent": text("Only those to this agent, and those that others sent to everyone.", most=512),
                "from": text("Only those that this agent sent.", most=512),
                "type": common.WORD,
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        object_of(
            {
                "messages": array(schemas.OBJECT),
                "cursor": nullable(text("Where to go on; null: there was no message yet.")),
                "more": schemas.BOOL,
            },
            ("messages", "cursor", "more"),
        ),
        _read,
        read_only=True,
        idempotent=True,
    ),
)
