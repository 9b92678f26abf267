"""Consensus: proposals that agents vote on. The vote that decides and the decision are one transaction.

In `swarm:consensus` under `consensus:<id>`, with the tags consensus and status, as the seed's storeConsensus writes
them. How votes become an outcome is in ballots.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields
from swarm_operator.memory.swarm.consensus import ballots
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import Kind, Record, RecordPage, Records, text_of

CONSENSUS: Final = Kind(
    name="consensus",
    namespace="swarm:consensus",
    prefix="consensus:",
    tagged=("status",),
    ttl=0,
    metadata=lambda document: {
        "swarmId": document.get("swarmId"),
        "taskId": text_of(document, "taskId") or None,
        "threshold": fields.number(document, "threshold") or None,
    },
)


class Consensus:
    """The proposals of a swarm.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, CONSENSUS)

    async def propose(self, document: dict[str, Any], *, proposal_id: str | None = None) -> Record:
        """Open a proposal.

        Args:
            document: `options` (2 to 16 words; approve and reject by default), `threshold` (0.5 to 1; 0.5, the
                default, is more than half), `voters` (at most 64 agents; everyone by default), `minVotes`,
                `deadlineSeconds` (from now), `taskId`, `id`, and anything else.
            proposal_id: 1 to 512 bytes; made up when there is none here and none in the document.

        Raises:
            InvalidInputError: names the member.
            RecordStateError: `exists`.
        """
        given = document.get("id") if isinstance(document, dict) else None
        made_up = f"{self._store.now():012x}-{secrets.token_hex(6)}"
        proposal_id = fields.identifier("id", proposal_id or given or made_up)
        changes = ballots.check_new(document, proposal_id)

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any]:
            if found is not None:
                raise RecordStateError("exists", f"there is a proposal {proposal_id!r} already")
            return {**ballots.new(changes, now), "swarmId": self._store.swarm_id}

        return await self._records.change(proposal_id, change)

    async def vote(self, proposal_id: str, agent: str, choice: str, *, reason: str | None = None) -> Record:
        """Vote. An agent has one vote, and may change it while the proposal is open.

        Args:
            proposal_id: which.
            agent: whose vote.
            choice: one of the options, or "abstain".
            reason: 1 to 512 bytes, kept with the vote.

        Returns:
            The proposal, decided if this vote decided it.

        Raises:
            RecordNotFoundError: there is none.
            RecordStateError: `closed`, `not-a-voter` or `full`.
            InvalidInputError: names the member.
        """
        fields.identifier("agent", agent)
        if reason is not None:
            fields.identifier("reason", reason)

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            if found is None:
                return None
            proposal = ballots.settle(found, now) or found
            return ballots.cast(proposal, agent, choice, now, reason=reason)

        return await self._records.change(proposal_id, change)

    async def close(self, proposal_id: str) -> Record:
        """End a proposal now: it is decided if an option has enough of the votes, else it has failed.

        Closing one that is closed changes nothing.
        """

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            return None if found is None else ballots.settle(found, now) or ballots.close(found, now)

        return await self._records.change(proposal_id, change)

    async def get(self, proposal_id: str) -> Record:
        """The proposal, as its deadline has left it. Raises RecordNotFoundError."""
        found = await self._records.get(proposal_id)
        if ballots.settle(found.document, self._store.now()) is None:
            return found

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            return None if found is None else ballots.settle(found, now)

        return await self._records.change(proposal_id, change)

    async def delete(self, proposal_id: str) -> bool:
        """Delete a proposal. False when there was none."""
        return await self._records.delete(proposal_id)

    async def list(
        self, *, status: str | None = None, task_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> RecordPage:
        """A page of the proposals with that status (open, decided, failed) and task, by id."""
        now = self._store.now()
        for name, value in (("status", status), ("task", task_id)):
            if value is not None:
                fields.identifier(name, value)

        def matches(proposal: Record) -> bool:
            document = proposal.document
            # Tags know nothing of a deadline that has passed since.
            document |= ballots.settle(document, now) or {}
            return (status is None or document.get("status") == status) and (
                task_id is None or document.get("taskId") == task_id
            )

        return await self._records.page(matches, after=after, limit=limit)
