"""Tools `message_send` and `message_read` for messages between agents, which are kept for a day."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.json_schema import object_of, text
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
    own = cursors.of_messages(call.credential)
    page = await call.swarm.communications.read(
        agent=arguments.get("agent"),
        from_agent=arguments.get("from"),
        message_type=arguments.get("type"),
        since=own.decode(arguments.get("cursor")),
        limit=arguments.get("limit", 50),
    )
    taken = call.budget.take(page.messages, lambda message: _shown(call, message.document))
    whole = len(taken) == len(page.messages)
    last = page.cursor if whole else COMMUNICATION.prefix + page.messages[len(taken) - 1].id
    return {"messages": taken, "cursor": own.encode(last), "more": page.more or not whole}


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
        "Send a message to one agent or to all others. It is kept for a day; to keep something longer, use "
        "memory_store.",
        "communication-send",
        object_of(
            {
                "from": text("ID of the sending agent.", most=512),
                "to": text("ID of the receiving agent; if omitted or *: all others.", most=512),
                "message": {"description": "Any JSON value. message_read can filter by an object's member `type`."},
            },
            ("from", "message"),
        ),
        _send,
        namespace=COMMUNICATION.namespace,
    ),
    Tool(
        "message_read",
        "Read messages in sending order. To read only new messages, pass the cursor of the previous answer, even if "
        "that had no messages.",
        "communication-read",
        object_of(
            {
                "agent": text("Messages to this agent, and messages of others to all.", most=512),
                "from": text("Messages of this sender.", most=512),
                "type": common.WORD,
                "limit": schemas.limit(50),
                "cursor": text("cursor of the previous answer; repeat the other arguments.", most=8192),
            }
        ),
        _read,
        namespace=COMMUNICATION.namespace,
        read_only=True,
        idempotent=True,
    ),
)
