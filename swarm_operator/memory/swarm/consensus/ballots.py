"""How votes become an outcome, as pure functions: a proposal's document and the time in, the new document out.

A proposal is open until an option has enough votes, until somebody closes it, or until its deadline; then it is
decided, with that option as its outcome, or it has failed. With named voters an option needs `threshold` of all of
them, and is the outcome as soon as it has them. Without, it needs `threshold` of the votes at the end, and there must
be `minVotes`. As a threshold is at least a half, and a half means more than that, two options can never both have it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import text_of, texts_of

Proposal = dict[str, Any]

ABSTAIN: Final = "abstain"
"""May always be voted; counts as a vote, for no option."""
DEFAULT_OPTIONS: Final = ["approve", "reject"]
MAX_VOTES: Final = 1000
MAX_DEADLINE: Final = 366 * 24 * 3600
_HALF: Final = 0.5
_OWN: Final = ("swarmId", "timestamp", "updatedAt", "deadline", "votes", "tally", "outcome", "decidedAt", "status")
_MOST_OPTIONS: Final = 16


def check_new(document: Any, proposal_id: str) -> Proposal:
    """Check a proposal that a caller makes. Raises InvalidInputError, which names the member."""
    changes = fields.document("proposal", document)
    fields.check_id(changes, proposal_id)
    fields.own(changes, _OWN, {"status": "open"}, "votes and the deadline set it; `deadlineSeconds` sets the deadline")
    changes = {name: value for name, value in changes.items() if value is not None}
    options = fields.words("options", changes.setdefault("options", DEFAULT_OPTIONS))
    if not 2 <= len(options) <= _MOST_OPTIONS or ABSTAIN in options:
        raise InvalidInputError("options", f"2 to {_MOST_OPTIONS} different strings other than {ABSTAIN!r}")
    changes["options"] = options
    fields.share("threshold", changes.setdefault("threshold", _HALF), _HALF)
    if "voters" in changes and not (voters := fields.identifiers("voters", changes["voters"])):
        raise InvalidInputError("voters", "1 to 64 ids; left out for everyone")
    if "voters" in changes:
        changes["voters"] = voters
    if "minVotes" in changes:
        fields.whole("minVotes", changes["minVotes"], 1, MAX_VOTES)
    if "taskId" in changes:
        fields.identifier("taskId", changes["taskId"])
    if "deadlineSeconds" in changes:
        fields.seconds("deadlineSeconds", changes["deadlineSeconds"], MAX_DEADLINE)
    return changes


def new(changes: Proposal, now: int) -> Proposal:
    """An open proposal."""
    time = times.to_text(now)
    proposal = {**changes, "status": "open", "timestamp": time, "updatedAt": time, "votes": {}}
    seconds = proposal.pop("deadlineSeconds", None)
    if seconds is not None:
        proposal["deadline"] = times.to_text(now + round(seconds * 1000))
    return _counted(proposal)


def settle(proposal: Proposal, now: int) -> Proposal | None:
    """The proposal as its deadline leaves it; None when that has not come, or it is not open."""
    deadline = times.from_text(proposal.get("deadline"))
    if text_of(proposal, "status") != "open" or deadline is None or deadline > now:
        return None
    return _end(proposal, deadline)


def cast(proposal: Proposal, agent: str, choice: Any, now: int, *, reason: str | None = None) -> Proposal | None:
    """Vote, or vote otherwise; decide if that decides. None when the vote is there already.

    Raises:
        InvalidInputError: `choice` is no option.
        RecordStateError: `closed`, `not-a-voter`, or `full`: it has 1000 votes.
    """
    if not isinstance(choice, str):
        raise InvalidInputError("choice", f"one of the proposal's options, or {ABSTAIN}")
    votes = _votes(proposal)
    options = texts_of(proposal, "options")
    if text_of(proposal, "status") != "open":
        if votes.get(agent, {}).get("choice") == choice:
            return None  # whose answer got lost asks again
        raise RecordStateError("closed", f"the proposal is {text_of(proposal, 'status') or 'not open'}")
    fields.choice("choice", choice, [*options, ABSTAIN])
    voters = texts_of(proposal, "voters")
    if voters and agent not in voters:
        raise RecordStateError("not-a-voter", f"{agent!r} is none of the proposal's voters")
    if votes.get(agent, {}).get("choice") == choice:
        return None
    if agent not in votes and len(votes) >= MAX_VOTES:
        raise RecordStateError("full", f"the proposal has {MAX_VOTES} votes")
    time = times.to_text(now)
    votes[agent] = {"choice": choice, "at": time, **({} if reason is None else {"reason": reason})}
    proposal = _counted({**proposal, "votes": votes, "updatedAt": time})
    if voters and (winner := _winner(proposal, len(voters))) is not None:
        return {**proposal, "status": "decided", "outcome": winner, "decidedAt": time}
    return proposal


def close(proposal: Proposal, now: int) -> Proposal | None:
    """End it now. None when it is not open."""
    return _end(proposal, now) if text_of(proposal, "status") == "open" else None


def _end(proposal: Proposal, moment: int) -> Proposal:
    proposal = _counted(proposal)
    voters = texts_of(proposal, "voters")
    votes = len(_votes(proposal))
    least = max(int(fields.number(proposal, "minVotes", 1)), 1)
    winner = _winner(proposal, len(voters) or votes) if votes >= least else None
    time = times.to_text(moment)
    ended = {"updatedAt": time, "decidedAt": time, "outcome": winner}
    return {**proposal, **ended, "status": "failed" if winner is None else "decided"}


def _winner(proposal: Proposal, electorate: int) -> str | None:
    threshold = Fraction(str(min(max(fields.number(proposal, "threshold", _HALF), _HALF), 1)))
    needed = electorate // 2 + 1 if threshold == Fraction(1, 2) else math.ceil(threshold * electorate)
    return next((option for option, votes in proposal["tally"].items() if option != ABSTAIN and votes >= needed), None)


def _counted(proposal: Proposal) -> Proposal:
    tally = dict.fromkeys([*texts_of(proposal, "options"), ABSTAIN], 0)
    for vote in _votes(proposal).values():
        if vote["choice"] in tally:
            tally[vote["choice"]] += 1
    return {**proposal, "tally": tally}


def _votes(proposal: Proposal) -> dict[str, dict[str, Any]]:
    """The votes that can be understood: older clients may have written others."""
    votes = proposal.get("votes")
    if not isinstance(votes, dict):
        return {}
    return {
        agent: vote for agent, vote in votes.items() if isinstance(vote, dict) and isinstance(vote.get("choice"), str)
    }
