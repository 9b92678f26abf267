"""Operations on proposals and votes: `/v1/consensus`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.json_schema import array, nullable, number, one_of, text, whole
from swarm_operator.memory.service.records.operation import (
    Body,
    Field,
    RecordOperation,
    Resource,
    ToolText,
    deletion,
    listing,
    reading,
)
from swarm_operator.memory.service.records.schemas import (
    AGENT,
    FILTER,
    IDENTIFIER,
    NEW_ID,
    identifier,
    record,
    tool_words,
    words,
)
from swarm_operator.memory.swarm.consensus.ballots import MAX_DEADLINE, MAX_VOTES
from swarm_operator.memory.swarm.consensus.proposals import CONSENSUS, Consensus

_MEMBERS: Final = (
    NEW_ID,
    Field(
        "options",
        nullable({**words("What can be voted.", least=2, most=16), "default": ["approve", "reject"]}),
        tool_words("Options to choose from; default: approve, reject.", least=2, most=16),
    ),
    Field(
        "voters",
        nullable(array(IDENTIFIER, "Who may vote; left out: everyone.", least=1, most=64)),
        array(text(most=512), "IDs of agents that may vote; default: all.", least=1, most=64),
    ),
    Field(
        "threshold",
        nullable(number("Share of the votes; 0.5 is more than half.", least=0.5, most=1, default=0.5)),
        {
            "type": "number",
            "minimum": 0.5,
            "maximum": 1,
            "default": 0.5,
            "description": "Share of votes that decides; 0.5 means more than half.",
        },
    ),
    Field("minVotes", nullable(whole(least=1, most=MAX_VOTES)), whole("The vote fails with fewer votes.", least=1)),
    Field("taskId", nullable(IDENTIFIER), identifier("ID of the task that the vote is about.")),
    Field(
        "deadlineSeconds",
        nullable(number("Seconds from now.", exclusiveMinimum=0, most=MAX_DEADLINE)),
        {"type": "number", "exclusiveMinimum": 0, "description": "Seconds from now."},
    ),
)
_VOTE: Final = (
    AGENT,
    Field("choice", text("An option, or abstain."), text("One of the options, or abstain.", most=128), required=True),
    Field("reason", nullable(IDENTIFIER), identifier("Reason for the vote.")),
)

PROPOSALS: Final = Resource(
    namespace=CONSENSUS.namespace,
    records=Consensus,
    noun="proposal",
    plural="consensus",
    schema="Proposal",
    shape=record("A proposal.", {}),
    kind=CONSENSUS,
    tools=("consensus_propose", "consensus_vote", "consensus_result", "consensus_list", "consensus_close"),
    operations=(
        listing(
            "consensus-list", "/v1/consensus", Consensus.list,
            (
                Field("status", FILTER, one_of("", "open", "decided", "failed")),
                Field("task", FILTER, identifier("Proposals about this task."), argument="taskId"),
            ),
            plural="consensus",
            tool=ToolText(
                "List proposals, for example the open ones to vote on; proposals match all given conditions."
            ),
        ),
        RecordOperation(
            "consensus-propose", "POST", "/v1/consensus", Consensus.propose, "Open a proposal.",
            _MEMBERS, Body.DOCUMENT, statuses=(201,), conflicts=(409,),
            tool=ToolText(
                "Open a vote among agents. It is decided as soon as enough agents agree, or at the deadline.",
                arguments=("id", "options", "threshold", "voters", "minVotes", "deadlineSeconds", "taskId"),
            ),
        ),
        reading(
            "consensus-get", "/v1/consensus/{id}", Consensus.get, noun="proposal",
            tool=ToolText(
                "Get a proposal with its status (open, decided, failed), tally and outcome. Call again to wait for a "
                "decision.",
                name="consensus_result",
            ),
        ),
        deletion(
            "consensus-delete", "/v1/consensus/{id}", Consensus.delete, noun="proposal",
            tool=ToolText("Delete a proposal with its votes. deleted is false if there was none."),
        ),
        RecordOperation(
            "consensus-vote", "POST", "/v1/consensus/{id}/votes", Consensus.vote, "Vote, or vote otherwise.",
            _VOTE, conflicts=(404, 409), idempotent=True,
            tool=ToolText(
                "Vote on an open proposal. A later vote of the same agent replaces its earlier vote."
            ),
        ),
        RecordOperation(
            "consensus-close", "POST", "/v1/consensus/{id}/close", Consensus.close, "End it now.",
            conflicts=(404,), body_needed=False, idempotent=True,
            tool=ToolText("End an open vote now. The option with the most votes wins if its votes suffice."),
        ),
    ),
)  # fmt: skip
