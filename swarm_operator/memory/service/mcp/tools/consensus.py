"""Tools for decisions of the swarm: `consensus_propose`, `consensus_vote`, `consensus_result` and others."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import array, object_of, one_of, text, whole
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.consensus.proposals import CONSENSUS

_MEMBERS: Final = ("id", "options", "threshold", "voters", "minVotes", "deadlineSeconds", "taskId")


async def _propose(call: Call, arguments: Arguments) -> dict[str, Any]:
    proposal = await call.swarm.consensus.propose(common.document(arguments, *_MEMBERS))
    return common.one(call, "proposal", CONSENSUS, proposal)


async def _vote(call: Call, arguments: Arguments) -> dict[str, Any]:
    proposal = await call.swarm.consensus.vote(
        arguments["id"], arguments["agent"], arguments["choice"], reason=arguments.get("reason")
    )
    return common.one(call, "proposal", CONSENSUS, proposal)


async def _result(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "proposal", CONSENSUS, await call.swarm.consensus.get(arguments["id"]))


async def _list(call: Call, arguments: Arguments) -> dict[str, Any]:
    page = await call.swarm.consensus.list(
        status=arguments.get("status"),
        task_id=arguments.get("taskId"),
        **common.page_arguments(call, CONSENSUS, arguments),
    )
    return common.page(call, "proposals", CONSENSUS, arguments, page)


async def _close(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "proposal", CONSENSUS, await call.swarm.consensus.close(arguments["id"]))


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.consensus.delete(arguments["id"]), "id": arguments["id"]}


TOOLS: Final = (
    Tool(
        "consensus_propose",
        "Open a vote among agents. It is decided as soon as enough agents agree, or at the deadline.",
        "consensus-propose",
        object_of(
            {
                "id": schemas.NEW_ID,
                "options": array(common.WORD, "Options to choose from; default: approve, reject.", least=2, most=16),
                "threshold": {
                    "type": "number",
                    "minimum": 0.5,
                    "maximum": 1,
                    "default": 0.5,
                    "description": "Share of votes that decides; 0.5 means more than half.",
                },
                "voters": array(text(most=512), "IDs of agents that may vote; default: all.", least=1, most=64),
                "minVotes": whole("The vote fails with fewer votes.", least=1),
                "deadlineSeconds": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds from now."},
                "taskId": text("ID of the task that the vote is about.", most=512),
                "details": schemas.DETAILS,
            }
        ),
        _propose,
        namespace=CONSENSUS.namespace,
    ),
    Tool(
        "consensus_vote",
        "Vote on an open proposal. A later vote of the same agent replaces its earlier vote.",
        "consensus-vote",
        object_of(
            {
                "id": schemas.ID,
                "agent": schemas.AGENT,
                "choice": text("One of the options, or abstain.", most=128),
                "reason": text("Reason for the vote.", most=512),
            },
            ("id", "agent", "choice"),
        ),
        _vote,
        namespace=CONSENSUS.namespace,
        idempotent=True,
    ),
    Tool(
        "consensus_result",
        "Get a proposal with its status (open, decided, failed), tally and outcome. Call again to wait for a decision.",
        "consensus-get",
        object_of({"id": schemas.ID}, ("id",)),
        _result,
        namespace=CONSENSUS.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "consensus_list",
        "List proposals, for example the open ones to vote on; proposals match all given conditions.",
        "consensus-list",
        object_of(
            {
                "status": one_of("", "open", "decided", "failed"),
                "taskId": text("Proposals about this task.", most=512),
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        _list,
        namespace=CONSENSUS.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "consensus_close",
        "End an open vote now. The option with the most votes wins if its votes suffice.",
        "consensus-close",
        object_of({"id": schemas.ID}, ("id",)),
        _close,
        namespace=CONSENSUS.namespace,
        idempotent=True,
    ),
    Tool(
        "consensus_delete",
        "Delete a proposal with its votes. deleted is false if there was none.",
        "consensus-delete",
        object_of({"id": schemas.ID}, ("id",)),
        _delete,
        namespace=CONSENSUS.namespace,
        destructive=True,
        idempotent=True,
    ),
)
