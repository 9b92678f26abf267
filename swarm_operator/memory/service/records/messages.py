"""Operations on messages, coordination values and metrics: `/v1/communications`, `/v1/coordination`, `/v1/metrics`."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import nullable, object_of, text
from swarm_operator.memory.service.records.operation import (
    Body,
    Field,
    RecordOperation,
    Resource,
    Result,
    ToolText,
    deletion,
    listing,
    reading,
)
from swarm_operator.memory.service.records.schemas import (
    ANY,
    AUTHOR,
    FILTER,
    IDENTIFIER,
    TOOL_WORD,
    WORD,
    identifier,
    record,
)
from swarm_operator.memory.swarm.coordination import COORDINATION_NAMESPACE, METRICS, Coordination, Metrics
from swarm_operator.memory.swarm.messages import COMMUNICATION, Communications


async def _value(coordination: Coordination, key: str) -> dict[str, Any]:
    entry = await coordination.entry(key)
    return {"key": key, "value": entry.value, "updatedBy": entry.updated_by}


_KEPT: Final = {"key": text(), "value": ANY, "updatedBy": AUTHOR}
_MESSAGE: Final = (
    Field(
        "fromAgent", IDENTIFIER, identifier("ID of the sending agent."),
        required=True, parameter="from_agent", argument="from",
    ),
    Field(
        "toAgent", nullable(IDENTIFIER), identifier("ID of the receiving agent; if omitted or *: all others."),
        parameter="to_agent", argument="to",
    ),
    Field(
        "message", ANY,
        {"description": "Any JSON value. message_read can filter by an object's member `type`."},
        required=True, positional=True,
    ),
)  # fmt: skip

COMMUNICATIONS: Final = Resource(
    namespace=COMMUNICATION.namespace,
    records=Communications,
    noun="message",
    plural="communications",
    schema="Message",
    shape=record("A message.", {"fromAgent": text(), "toAgent": text(), "timestamp": text()}),
    kind=COMMUNICATION,
    tools=("message_send", "message_read"),
    operations=(
        RecordOperation(
            "communication-read", "GET", "/v1/communications", Communications.read,
            "Messages in the order in which they were sent.",
            (
                Field("agent", FILTER, identifier("Messages to this agent, and messages of others to all.")),
                Field("from", FILTER, identifier("Messages of this sender."), parameter="from_agent"),
                Field("type", FILTER, TOOL_WORD),
            ),
            Body.QUERY, Result.MESSAGES,
            answer="Messages; `cursor` goes into `since`, now if there is `more`, or later.",
            tool=ToolText(
                "Read messages in sending order. To read only new messages, pass the cursor of the previous answer, "
                "even if that had no messages.",
                name="message_read",
            ),
        ),
        RecordOperation(
            "communication-send", "POST", "/v1/communications", Communications.send,
            "Send a message; toAgent left out or *: to everyone else.",
            _MESSAGE, result=Result.SENT, statuses=(201,),
            tool=ToolText(
                "Send a message to one agent or to all others. It is kept for a day; to keep something longer, use "
                "memory_store.",
                name="message_send",
            ),
        ),
    ),
)  # fmt: skip
COORDINATION: Final = Resource(
    namespace=COORDINATION_NAMESPACE,
    records=Coordination,
    noun="coordination",
    plural="coordination",
    operations=(
        RecordOperation(
            "coordination-put", "PUT", "/v1/coordination/{key}", Coordination.put, "Keep a JSON value for an hour.",
            (Field("state", ANY, required=True, positional=True),), Body.VALUE, Result.CREATED,
            answer="It is kept.", statuses=(200, 201),
        ),
        RecordOperation(
            "coordination-get", "GET", "/v1/coordination/{key}", _value, "What was kept.",
            body=Body.QUERY, result=Result.REPORT, report=object_of(_KEPT, tuple(_KEPT)), answer="The value.",
            conflicts=(404,), client="",
        ),
        deletion("coordination-delete", "/v1/coordination/{key}", Coordination.delete, noun="value"),
    ),
)  # fmt: skip
MEASUREMENTS: Final = Resource(
    namespace=METRICS.namespace,
    records=Metrics,
    noun="object",
    plural="metrics",
    schema="Measurements",
    shape=record("What was measured.", {}),
    kind=METRICS,
    operations=(
        listing(
            "metrics-list", "/v1/metrics", Metrics.list, (Field("type", WORD), Field("agent", FILTER)),
            plural="metrics",
        ),
        RecordOperation(
            "metrics-put", "PUT", "/v1/metrics/{id}", Metrics.store,
            "Keep measurements for a week, in place of former ones.",
            (Field("type", nullable(WORD)), Field("agentId", nullable(IDENTIFIER))),
            Body.DOCUMENT, statuses=(200, 201),
        ),
        reading("metrics-get", "/v1/metrics/{id}", Metrics.get, noun="object"),
    ),
)  # fmt: skip
