"""Operation `GET /v1/swarm`: returns the counts of records."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, json_reply
from swarm_operator.memory.service.http.operation import Answer, Operation


async def _stats(call: Call) -> Reply:
    call.query()
    return json_reply(await call.swarm.stats())


ENDPOINTS: Final = (
    Endpoint(
        Operation(
            "GET",
            "/v1/swarm",
            "swarm-stats",
            "Counts of records. Takes a token for all namespaces.",
            {200: Answer("The counts.", {"type": "object"})},
        ),
        _stats,
    ),
)
