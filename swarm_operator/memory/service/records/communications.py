"""`/v1/communications`, `/v1/coordination` and `/v1/metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from swarm_operator.memory.engine import codec
from swarm_operator.memory.engine.records.bulletins import METRICS
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.records.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    json_reply,
    page_reply,
    record_reply,
)

if TYPE_CHECKING:
    from swarm_operator.memory.engine.records import Swarm

__all__ = ["ENDPOINTS"]


async def _read(swarm: Swarm, call: Call) -> Reply:
    query = call.query("agent", "from", "type", "since", "limit")
    page = await swarm.communications.read(
        agent=query.get("agent"),
        from_agent=query.get("from"),
        message_type=query.get("type"),
        since=cursors.decode(query.get("since"), "since"),
        limit=cursors.limit(query),
    )
    messages = [message.document for message in page.messages]
    return json_reply({"messages": messages, "cursor": cursors.encode(page.cursor), "more": page.more})


async def _send(swarm: Swarm, call: Call) -> Reply:
    members = call.members("fromAgent", "toAgent", "message", required=("fromAgent", "message"))
    message = await swarm.communications.send(members["fromAgent"], members.get("toAgent"), members["message"])
    return record_reply(message)


async def _put_coordination(swarm: Swarm, call: Call) -> Reply:
    call.query()
    created = await swarm.coordination.put(call.id, codec.parse_document("body", call.body, levels=0))
    return Reply(201 if created else 200, b"{}", (JSON,))


async def _get_coordination(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return Reply(200, orjson.dumps({"key": call.id, "value": await swarm.coordination.get(call.id)}), (JSON,))


async def _delete_coordination(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return deleted(await swarm.coordination.delete(call.id), "coordination")


async def _list_metrics(swarm: Swarm, call: Call) -> Reply:
    query = call.query("type", "agent", "limit", "cursor")
    page = await swarm.metrics.list(
        metrics_type=query.get("type"), agent=query.get("agent"), **call.page(query, METRICS.prefix)
    )
    return page_reply("metrics", page)


async def _put_metrics(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.metrics.store(call.id, call.document()))


async def _get_metrics(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return found_reply(await swarm.metrics.get(call.id), call)


ENDPOINTS: Final = (
    Endpoint("GET", "communications", "communication-read", _read),
    Endpoint("POST", "communications", "communication-send", _send),
    Endpoint("PUT", "coordination/{id}", "coordination-put", _put_coordination),
    Endpoint("GET", "coordination/{id}", "coordination-get", _get_coordination),
    Endpoint("DELETE", "coordination/{id}", "coordination-delete", _delete_coordination),
    Endpoint("GET", "metrics", "metrics-list", _list_metrics),
    Endpoint("PUT", "metrics/{id}", "metrics-put", _put_metrics),
    Endpoint("GET", "metrics/{id}", "metrics-get", _get_metrics),
)
