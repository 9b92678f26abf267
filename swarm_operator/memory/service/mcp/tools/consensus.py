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
        status=arguments.get("status"), task_id=arguments.get("taskId"), **common.page_arguments(arguments, CONSENSUS)
    )
    return common.page(call, "proposals", CONSENSUS, page)


async def _close(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "proposal", CONSENSUS, await call.swarm.consensus.close(arguments["id"]))


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.consensus.delete(arguments["id"]), "id": arguments["id"]}


TOOLS: Final = (
    Tool(
        "consensus_propose",
        "Put something to the vote. It is decided as soon as enough agree, or at the deadline.",
        "consensus-propose",
        object_of(
            {
                "id": text("1 to 512 bytes; made up when not given.", most=512),
                "options": array(common.WORD, "2 to 16; approve and reject by default.", least=2, most=16),
                "threshold": {
                    "type": "number",
                    "minimum": 0.5,
                    "maximum": 1,
                    "default": 0.5,
                    "description": "The share of votes that decides; 0.5 is more than half.",
                },
                "voters": array(text(most=512), "Who may vote; everyone by default.", least=1, most=64),
                "minVotes": whole("With fewer votes it fails.", least=1),
                "deadlineSeconds": {"type": "number", "exclusiveMinimum": 0, "description": "From now on."},
                "taskId": text("The task that it is about.", most=512),
                "details": schemas.DETAILS,
            }
        ),
        common.one_of("proposal"),
        _propose,
    ),
    Tool(
        "consensus_vote",
        "Vote; a later vote of the same agent replaces its former one while the vote is open.",
        "consensus-vote",
        object_of(
            {
                "id": schemas.ID,
                "agent": schemas.AGENT,
                "choice": text("One of the options, or abstain.", most=128),
                "reason": text("Why.", most=512),
            },
            ("id", "agent", "choice"),
        ),
        common.one_of("proposal"),
        _vote,
        idempotent=True,
    ),
    Tool(
        "consensus_result",
        "Get a proposal: its status (open, decided, failed), tally and outcome.",
        "consensus-get",
        object_of({"id": schemas.ID}, ("id",)),
        common.one_of("proposal"),
        _result,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "consensus_list",
        "List proposals, all or by status or task.",
        "consensus-list",
        object_of(
            {
                "status": one_of("", "open", "decided", "failed"),
                "taskId": text("Those about this task.", most=512),
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        common.list_of("proposals"),
        _list,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "consensus_close",
        "Close a vote now; what has the most votes wins if they are enough.",
        "consensus-close",
        object_of({"id": schemas.ID}, ("id",)),
        common.one_of("proposal"),
        _close,
        idempotent=True,
    ),
    Tool(
        "consensus_delete",
        "Delete a proposal with its votes.",
        "consensus-delete",
        object_of({"id": schemas.ID}, ("id",)),
        common.DELETED,
        _delete,
        destructive=True,
        idempotent=True,
    ),
)
