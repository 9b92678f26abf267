"""Operations on proposals and votes: `/v1/consensus`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, deleted, found_reply, record_reply
from swarm_operator.memory.service.http.record_schemas import (
    FILTER,
    IDENTIFIER,
    deletion,
    listing,
    reading,
    record,
    words,
    writing,
)
from swarm_operator.memory.service.json_schema import array, nullable, number, object_of, text, whole
from swarm_operator.memory.swarm.consensus.ballots import MAX_DEADLINE, MAX_VOTES


async def _list(call: Call) -> Reply:
    query = call.query()
    page = await call.swarm.consensus.list(status=query.get("status"), task_id=query.get("task"), **call.page(query))
    return call.page_reply("consensus", page, query)


async def _propose(call: Call) -> Reply:
    return record_reply(await call.swarm.consensus.propose(call.document()))


async def _get(call: Call) -> Reply:
    call.query()
    return found_reply(await call.swarm.consensus.get(call.id), call)


async def _delete(call: Call) -> Reply:
    call.query()
    return deleted(await call.swarm.consensus.delete(call.id), "proposal")


async def _vote(call: Call) -> Reply:
    members = call.members()
    proposal = await call.swarm.consensus.vote(
        call.id, members["agent"], members["choice"], reason=members.get("reason")
    )  # fmt: skip
    return record_reply(proposal)


async def _close(call: Call) -> Reply:
    call.members()
    return record_reply(await call.swarm.consensus.close(call.id))


_MEMBERS: Final = {
    "id": nullable(IDENTIFIER),
    "options": nullable({**words("What can be voted.", least=2, most=16), "default": ["approve", "reject"]}),
    "voters": nullable(array(IDENTIFIER, "Who may vote; left out: everyone.", least=1, most=64)),
    "threshold": nullable(number("Share of the votes; 0.5 is more than half.", least=0.5, most=1, default=0.5)),
    "minVotes": nullable(whole(least=1, most=MAX_VOTES)),
    "taskId": nullable(IDENTIFIER),
    "deadlineSeconds": nullable(number("Seconds from now.", exclusiveMinimum=0, most=MAX_DEADLINE)),
}
SHAPE: Final = record("A proposal.", {})

ENDPOINTS: Final = (
    Endpoint(
        listing(
            "/v1/consensus",
            "consensus-list",
            "consensus",
            "Proposal",
            {"status": FILTER, "task": FILTER},
        ),
        _list,
    ),
    Endpoint(
        writing(
            "POST",
            "/v1/consensus",
            "consensus-propose",
            "Open a proposal.",
            "Proposal",
            object_of(_MEMBERS, closed=False),
            answers=(201,),
            conflicts=(409,),
        ),
        _propose,
    ),
    Endpoint(reading("/v1/consensus/{id}", "consensus-get", "proposal", "Proposal"), _get),
    Endpoint(deletion("/v1/consensus/{id}", "consensus-delete", "proposal"), _delete),
    Endpoint(
        writing(
            "POST",
            "/v1/consensus/{id}/votes",
            "consensus-vote",
            "Vote, or vote otherwise.",
            "Proposal",
            object_of(
                {"agent": IDENTIFIER, "choice": text("An option, or abstain."), "reason": nullable(IDENTIFIER)},
                ("agent", "choice"),
            ),
            conflicts=(404, 409),
        ),
        _vote,
    ),
    Endpoint(
        writing(
            "POST",
            "/v1/consensus/{id}/close",
            "consensus-close",
            "End it now.",
            "Proposal",
            object_of({}),
            body_needed=False,
            conflicts=(404,),
        ),
        _close,
    ),
)
