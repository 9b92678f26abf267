"""`/v1/consensus`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swarm_operator.memory.engine.records.consensus import CONSENSUS
from swarm_operator.memory.service.records.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    page_reply,
    record_reply,
)

if TYPE_CHECKING:
    from swarm_operator.memory.engine.records import Swarm
    from swarm_operator.memory.service.asgi import Reply

__all__ = ["ENDPOINTS"]


async def _list(swarm: Swarm, call: Call) -> Reply:
    query = call.query("status", "task", "limit", "cursor")
    page = await swarm.consensus.list(
        status=query.get("status"), task_id=query.get("task"), **call.page(query, CONSENSUS.prefix)
    )
    return page_reply("consensus", page)


async def _propose(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.consensus.propose(call.document()))


async def _get(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return found_reply(await swarm.consensus.get(call.id), call)


async def _delete(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return deleted(await swarm.consensus.delete(call.id), "proposal")


async def _vote(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agent", "choice", "reason", required=("agent", "choice"))
    proposal = await swarm.consensus.vote(
        call.id, members["agent"], members["choice"], reason=members.get("reason")
    )  # fmt: skip
    return record_reply(proposal)


async def _close(swarm: Swarm, call: Call) -> Reply:
    call.members()
    return record_reply(await swarm.consensus.close(call.id))


ENDPOINTS: Final = (
    Endpoint("GET", "consensus", "consensus-list", _list),
    Endpoint("POST", "consensus", "consensus-propose", _propose),
    Endpoint("GET", "consensus/{id}", "consensus-get", _get),
    Endpoint("DELETE", "consensus/{id}", "consensus-delete", _delete),
    Endpoint("POST", "consensus/{id}/votes", "consensus-vote", _vote),
    Endpoint("POST", "consensus/{id}/close", "consensus-close", _close),
)
