"""Consensus: proposals that agents vote on. The deciding vote and the decision are written in one transaction.

Stored in `swarm:consensus` under `consensus:<id>`, tagged with consensus and status, like the seed's storeConsensus.
`consensus.ballots` counts the votes.
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
        store: the store that holds the proposals.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, CONSENSUS)

    async def propose(self, document: dict[str, Any], *, proposal_id: str | None = None) -> Record:
        """Open a proposal.

        Args:
            document: `options` (2 to 16 words; approve and reject by default), `threshold` (0.5 to 1; 0.5, the
                default, is more than half), `voters` (at most 64 agents; everyone by default), `minVotes`,
                `deadlineSeconds` (from now), `taskId`, `id`, and any other members.
            proposal_id: 1 to 512 bytes; by default the document's `id`, else a generated id.

        Raises:
            InvalidInputError: names the invalid member.
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
        """Cast or change a vote. An agent has one vote and may change the vote while the proposal is open.

        Args:
            proposal_id: the proposal.
            agent: the voter.
            choice: one of the options, or "abstain".
            reason: 1 to 512 bytes, stored with the vote.

        Returns:
            The proposal; its status is decided if an option has won.

        Raises:
            RecordNotFoundError: the proposal does not exist.
            RecordStateError: `closed`, `not-a-voter` or `full`.
            InvalidInputError: names the invalid member.
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
        """Close a proposal now: it is decided if an option has enough votes, else it has failed.

        Closing a closed proposal changes nothing.
        """

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            return None if found is None else ballots.settle(found, now) or ballots.close(found, now)

        return await self._records.change(proposal_id, change)

    async def get(self, proposal_id: str) -> Record:
        """Return the proposal, closed if its deadline has passed. Raise RecordNotFoundError if it does not exist."""
        found = await self._records.get(proposal_id)
        if ballots.settle(found.document, self._store.now()) is None:
            return found

        def change(found: dict[str, Any] | None, now: int) -> dict[str, Any] | None:
            return None if found is None else ballots.settle(found, now)

        return await self._records.change(proposal_id, change)

    async def delete(self, proposal_id: str) -> bool:
        """Delete a proposal. Return False if it did not exist."""
        return await self._records.delete(proposal_id)

    async def list(
        self, *, status: str | None = None, task: str | None = None, after: str | None = None, limit: int = 100
    ) -> RecordPage:
        """Return a page of the proposals that match all filters, by id.

        Args:
            status: only proposals with this status: open, decided or failed.
            task: only proposals about the task with this id.
            after: `next_key` of the previous page.
            limit: 1 to 1000. A filtered page may be shorter and not be the last.
        """
        now = self._store.now()
        for name, value in (("status", status), ("task", task)):
            if value is not None:
                fields.identifier(name, value)

        def matches(proposal: Record) -> bool:
            document = proposal.document
            # The status tag is not updated when a deadline passes.
            document |= ballots.settle(document, now) or {}
            return (status is None or document.get("status") == status) and (
                task is None or document.get("taskId") == task
            )

        return await self._records.page(matches, after=after, limit=limit)
