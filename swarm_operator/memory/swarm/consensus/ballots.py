"""Vote counting as pure functions: each takes a proposal's document and the time, and returns the new document.

A proposal is open until an option wins, a caller closes it, or its deadline passes. It then is decided, with the
winning option as its outcome, or has failed. With named voters, an option wins once it has `threshold` of all voters.
Without, an option wins at the end if it has `threshold` of the votes and there are `minVotes`. The minimum threshold,
0.5, means more than half: two options can't both win.
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
"""Choice that every proposal accepts. It counts as a vote, but for no option."""
DEFAULT_OPTIONS: Final = ["approve", "reject"]
MAX_VOTES: Final = 1000
MAX_DEADLINE: Final = 366 * 24 * 3600
_HALF: Final = 0.5
_OWN: Final = ("swarmId", "timestamp", "updatedAt", "deadline", "votes", "tally", "outcome", "decidedAt", "status")
_MAX_OPTIONS: Final = 16


def check_new(document: Any, proposal_id: str) -> Proposal:
    """Check the document of a new proposal. Raise InvalidInputError, which names the invalid member."""
    changes = fields.document("proposal", document)
    fields.check_id(changes, proposal_id)
    fields.own(changes, _OWN, {"status": "open"}, "votes and the deadline set it; `deadlineSeconds` sets the deadline")
    changes = {name: value for name, value in changes.items() if value is not None}
    options = fields.words("options", changes.setdefault("options", DEFAULT_OPTIONS))
    if not 2 <= len(options) <= _MAX_OPTIONS or ABSTAIN in options:
        raise InvalidInputError("options", f"2 to {_MAX_OPTIONS} different strings other than {ABSTAIN!r}")
    changes["options"] = options
    fields.share("threshold", changes.setdefault("threshold", _HALF), _HALF)
    if "voters" in changes and not (voters := fields.identifiers("voters", changes["voters"])):
        raise InvalidInputError("voters", "1 to 64 ids; absent for everyone")
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
    """Return the document of an open proposal without votes."""
    time = times.to_text(now)
    proposal = {**changes, "status": "open", "timestamp": time, "updatedAt": time, "votes": {}}
    seconds = proposal.pop("deadlineSeconds", None)
    if seconds is not None:
        proposal["deadline"] = times.to_text(now + round(seconds * 1000))
    return _counted(proposal)


def settle(proposal: Proposal, now: int) -> Proposal | None:
    """Return the proposal closed at its deadline; None if the deadline has not passed or the proposal is not open."""
    deadline = times.from_text(proposal.get("deadline"))
    if text_of(proposal, "status") != "open" or deadline is None or deadline > now:
        return None
    return _end(proposal, deadline)


def cast(proposal: Proposal, agent: str, choice: Any, now: int, *, reason: str | None = None) -> Proposal | None:
    """Cast or change a vote, and decide the proposal if an option wins. Return None if the vote is unchanged.

    Raises:
        InvalidInputError: `choice` is not an option.
        RecordStateError: `closed`, `not-a-voter`, or `full`: the proposal has 1000 votes.
    """
    if not isinstance(choice, str):
        raise InvalidInputError("choice", f"one of the proposal's options, or {ABSTAIN}")
    votes = _votes(proposal)
    options = texts_of(proposal, "options")
    if text_of(proposal, "status") != "open":
        if votes.get(agent, {}).get("choice") == choice:
            return None  # a retry after a lost response
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
    """Close the proposal now. Return None if it is not open."""
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
    """Return the valid votes: older clients may have written invalid votes."""
    votes = proposal.get("votes")
    if not isinstance(votes, dict):
        return {}
    return {
        agent: vote for agent, vote in votes.items() if isinstance(vote, dict) and isinstance(vote.get("choice"), str)
    }
