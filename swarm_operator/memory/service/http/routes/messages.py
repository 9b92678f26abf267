"""Operations on messages, coordination values and metrics: `/v1/communications`, `/v1/coordination`, `/v1/metrics`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    json_reply,
    record_reply,
)
from swarm_operator.memory.service.http.operation import CURSOR, LIMIT, NEXT_CURSOR, Answer, Operation, reference
from swarm_operator.memory.service.http.record_schemas import (
    AUTHOR,
    FILTER,
    IDENTIFIER,
    WORD,
    deletion,
    listing,
    reading,
    record,
    writing,
)
from swarm_operator.memory.service.json_schema import array, nullable, object_of, text


async def _read(call: Call) -> Reply:
    query = call.query()
    own = cursors.of_messages(call.credential)
    page = await call.swarm.communications.read(
        agent=query.get("agent"),
        from_agent=query.get("from"),
        message_type=query.get("type"),
        since=own.decode(query.get("since"), "since"),
        limit=cursors.page_size(query),
    )
    messages = [message.document for message in page.messages]
    return json_reply({"messages": messages, "cursor": own.encode(page.cursor), "more": page.more})


async def _send(call: Call) -> Reply:
    members = call.members()
    message = await call.swarm.communications.send(members["fromAgent"], members.get("toAgent"), members["message"])
    return record_reply(message)


async def _put_coordination(call: Call) -> Reply:
    call.query()
    created = await call.swarm.coordination.put(call.id, strict_json.parse_document("body", call.body, levels=0))
    return Reply(201 if created else 200, b"{}", (JSON,))


async def _get_coordination(call: Call) -> Reply:
    call.query()
    entry = await call.swarm.coordination.entry(call.id)
    return json_reply({"key": call.id, "value": entry.value, "updatedBy": entry.updated_by})


async def _delete_coordination(call: Call) -> Reply:
    call.query()
    return deleted(await call.swarm.coordination.delete(call.id), "coordination")


async def _list_metrics(call: Call) -> Reply:
    query = call.query()
    page = await call.swarm.metrics.list(metrics_type=query.get("type"), agent=query.get("agent"), **call.page(query))
    return call.page_reply("metrics", page, query)


async def _put_metrics(call: Call) -> Reply:
    return record_reply(await call.swarm.metrics.store(call.id, call.document()))


async def _get_metrics(call: Call) -> Reply:
    call.query()
    return found_reply(await call.swarm.metrics.get(call.id), call)


MESSAGE: Final = record("A message.", {"fromAgent": text(), "toAgent": text(), "timestamp": text()})
MEASUREMENTS: Final = record("What was measured.", {})
_MESSAGES: Final = object_of(
    {"messages": array(reference("Message")), "cursor": NEXT_CURSOR, "more": {"type": "boolean"}},
    ("messages", "cursor", "more"),
)
_VALUE: Final = {"description": "Any JSON value."}
_KEPT: Final = {"key": text(), "value": _VALUE, "updatedBy": AUTHOR}

ENDPOINTS: Final = (
    Endpoint(
        Operation(
            "GET",
            "/v1/communications",
            "communication-read",
            "Messages in the order in which they were sent.",
            {200: Answer("Messages; `cursor` goes into `since`, now if there is `more`, or later.", _MESSAGES)},
            query={"agent": FILTER, "from": FILTER, "type": FILTER, "since": CURSOR, "limit": LIMIT},
        ),
        _read,
    ),
    Endpoint(
        writing(
            "POST",
            "/v1/communications",
            "communication-send",
            "Send a message; toAgent left out or *: to everyone else.",
            "Message",
            object_of(
                {"fromAgent": IDENTIFIER, "toAgent": nullable(IDENTIFIER), "message": _VALUE}, ("fromAgent", "message")
            ),
            answers=(201,),
        ),
        _send,
    ),
    Endpoint(
        Operation(
            "PUT",
            "/v1/coordination/{key}",
            "coordination-put",
            "Keep a JSON value for an hour.",
            dict.fromkeys((200, 201), Answer("It is kept.", {"type": "object"})),
            body=_VALUE,
        ),
        _put_coordination,
    ),
    Endpoint(
        Operation(
            "GET",
            "/v1/coordination/{key}",
            "coordination-get",
            "What was kept.",
            {200: Answer("The value.", object_of(_KEPT, tuple(_KEPT)))},
            conflicts=(404,),
        ),
        _get_coordination,
    ),
    Endpoint(deletion("/v1/coordination/{key}", "coordination-delete", "value"), _delete_coordination),
    Endpoint(
        listing("/v1/metrics", "metrics-list", "metrics", "Measurements", {"type": WORD, "agent": FILTER}),
        _list_metrics,
    ),
    Endpoint(
        writing(
            "PUT",
            "/v1/metrics/{id}",
            "metrics-put",
            "Keep measurements for a week, in place of former ones.",
            "Measurements",
            object_of({"type": nullable(WORD), "agentId": nullable(IDENTIFIER)}, closed=False),
            answers=(200, 201),
        ),
        _put_metrics,
    ),
    Endpoint(reading("/v1/metrics/{id}", "metrics-get", "object", "Measurements"), _get_metrics),
)
