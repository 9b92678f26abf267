"""Operation `GET /v1/scale/{pool}`: the work of a pool of agents, for programs that scale the pool, such as KEDA."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, json_reply
from swarm_operator.memory.service.http.operation import Answer, Operation
from swarm_operator.memory.service.http.record_schemas import WORD
from swarm_operator.memory.service.json_schema import Schema, number, object_of, whole


async def _scale(call: Call) -> Reply:
    call.query()
    (pool,) = call.parameters
    workload = await call.swarm.tasks.workload(pool)
    return json_reply(
        {
            "pool": workload.pool,
            "claimable": workload.claimable,
            "inFlight": workload.in_flight,
            "oldestSeconds": workload.oldest_seconds,
            "work": workload.work,
            "partial": workload.partial,
        }
    )


POOL: Final[Schema] = {**WORD, "description": "The type of the pool's tasks; `*`: tasks of all types."}
_PROPERTIES: Final[dict[str, Schema]] = {
    "pool": {"type": "string"},
    "claimable": whole("Tasks that an agent may claim now, assigned to agents or not."),
    "inFlight": whole("Tasks that agents hold: their leases have not expired."),
    "oldestSeconds": number("Seconds since the oldest claimable task was created; 0: there is none.", least=0),
    "work": whole("The number to scale by: claimable and in-flight tasks; at least 1 if `partial`."),
    "partial": {"type": "boolean", "description": "True: there were too many tasks to read; the numbers are minimums."},
}

ENDPOINTS: Final = (
    Endpoint(
        Operation(
            "GET",
            "/v1/scale/{pool}",
            "scale",
            "Work of a pool of agents, for an autoscaler.",
            {200: Answer("The work.", object_of(_PROPERTIES, tuple(_PROPERTIES)))},
        ),
        _scale,
    ),
)
