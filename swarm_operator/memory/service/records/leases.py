"""Operations on leases: `/v1/leases`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.json_schema import nullable, number
from swarm_operator.memory.service.records.operation import Body, Field, RecordOperation, Resource, ToolText
from swarm_operator.memory.service.records.schemas import AGENT, record
from swarm_operator.memory.swarm.leases import DEFAULT_LEASE, LEASE, Leases
from swarm_operator.memory.swarm.tasks.rules import MAX_LEASE

_LEASE: Final = Field(
    "lease",
    nullable(number("Seconds that the lease lasts.", exclusiveMinimum=0, most=MAX_LEASE, default=DEFAULT_LEASE)),
    {
        "type": "number",
        "minimum": 0,
        "description": "Seconds until the lease ends unless it is renewed; at most a week.",
        "default": 30,
    },
)

LEASES: Final = Resource(
    namespace=LEASE.namespace,
    records=Leases,
    noun="lease",
    plural="leases",
    schema="Lease",
    shape=record("A lease: `holder`, `term`, `leaseExpiresAt`.", {}),
    kind=LEASE,
    tools=("lease_claim", "lease_renew", "lease_release", "lease_get"),
    operations=(
        RecordOperation(
            # No conditional read: a lease ends without a write, so its version does not show whether it is held.
            "lease-get", "GET", "/v1/leases/{id}", Leases.get, "Get a lease, with `held`: whether it is held now.",
            body=Body.QUERY, answer="The lease.", conflicts=(404,),
            tool=ToolText("Get a lease with its holder, term, and whether it is held now."),
        ),
        RecordOperation(
            "lease-claim", "POST", "/v1/leases/{id}/claim", Leases.claim, "Take a free lease, or renew one's own.",
            (AGENT, _LEASE), statuses=(200, 201), conflicts=(409,), idempotent=True,
            tool=ToolText(
                "Take a free lease, such as queen, or renew your own. term grows with each new holder."
            ),
        ),
        RecordOperation(
            "lease-renew", "POST", "/v1/leases/{id}/renew", Leases.renew,
            "Let one's lease last for `lease` seconds.",
            (AGENT, _LEASE), conflicts=(404, 409), idempotent=True,
            tool=ToolText("Keep a lease that you hold before it ends, so that no other agent takes it."),
        ),
        RecordOperation(
            "lease-release", "POST", "/v1/leases/{id}/release", Leases.release, "Give one's lease back.",
            (AGENT,), conflicts=(404, 409),
            tool=ToolText("Give back a lease that you hold, so that another agent can take it at once."),
        ),
    ),
)  # fmt: skip
