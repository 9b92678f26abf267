"""Operations on leases: `/v1/leases`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, record_reply
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.record_schemas import IDENTIFIER, record, writing
from swarm_operator.memory.service.json_schema import Schema, nullable, number, object_of
from swarm_operator.memory.swarm.leases import DEFAULT_LEASE
from swarm_operator.memory.swarm.tasks.rules import MAX_LEASE


async def _get(call: Call) -> Reply:
    call.query()
    return record_reply(await call.swarm.leases.get(call.id))


async def _claim(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.leases.claim(call.id, members["agent"], lease=members.get("lease")))


async def _renew(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.leases.renew(call.id, members["agent"], lease=members.get("lease")))


async def _release(call: Call) -> Reply:
    return record_reply(await call.swarm.leases.release(call.id, call.members()["agent"]))


_LEASE: Final = nullable(
    number("Seconds that the lease lasts.", exclusiveMinimum=0, most=MAX_LEASE, default=DEFAULT_LEASE)
)
_CLAIM: Final = object_of({"agent": IDENTIFIER, "lease": _LEASE}, ("agent",))
SHAPE: Final = record("A lease: `holder`, `term`, `leaseExpiresAt`.", {})


def _action(
    name: str, summary: str, body: Schema, *, answers: tuple[int, ...], conflicts: tuple[int, ...]
) -> Operation:
    path = f"/v1/leases/{{id}}/{name}"
    return writing("POST", path, f"lease-{name}", summary, "Lease", body, answers=answers, conflicts=conflicts)


ENDPOINTS: Final = (
    Endpoint(
        # No conditional read: a lease ends without a write, so its version does not say whether it is held.
        Operation(
            "GET",
            "/v1/leases/{id}",
            "lease-get",
            "Get a lease, with `held`: whether it is held now.",
            {200: Answer("The lease.", reference("Lease"), versioned=True)},
            conflicts=(404,),
        ),
        _get,
    ),
    Endpoint(
        _action("claim", "Take a free lease, or renew one's own.", _CLAIM, answers=(200, 201), conflicts=(409,)), _claim
    ),
    Endpoint(
        _action("renew", "Let one's lease last for `lease` seconds.", _CLAIM, answers=(200,), conflicts=(404, 409)),
        _renew,
    ),
    Endpoint(
        _action(
            "release",
            "Give one's lease back.",
            object_of({"agent": IDENTIFIER}, ("agent",)),
            answers=(200,),
            conflicts=(404, 409),
        ),
        _release,
    ),
)
