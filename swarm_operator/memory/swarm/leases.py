"""Leases: names that one agent at a time holds, such as `queen`. They are claimed and renewed like tasks.

    free --claim--> held by an agent --renew--> held
      ^               |        |
      +---release-----+        +--the lease ends--> free, unless the agent renews before another claims it

Each change of the holder has a higher `term`: a fencing token, which shows receivers of a former holder's orders that a
newer holder exists. These operations never delete a record, so its term only grows.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.errors import RecordStateError
from swarm_operator.memory.swarm.record import Kind, Record, Records, text_of
from swarm_operator.memory.swarm.tasks.rules import MAX_LEASE

Lease = dict[str, Any]

DEFAULT_LEASE: Final = 30.0
"""Seconds until an unrenewed lease ends, and thus until another agent can replace a killed holder."""

LEASE: Final = Kind(
    name="lease",
    namespace="swarm:leases",
    prefix="lease:",
    tagged=(),
    ttl=0,
    metadata=lambda document: {"holder": text_of(document, "holder") or None},
)


class Leases:
    """The leases of a swarm.

    Args:
        store: the store that holds the leases.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, LEASE)

    async def claim(self, name: str, agent: str, *, lease: float | None = None) -> Record:
        """Take a free lease, or renew it if the agent holds it.

        Args:
            name: name of the lease, 1 to 512 bytes.
            agent: the agent.
            lease: seconds that it lasts; 30 by default, a week at most.

        Raises:
            RecordStateError: `claimed`: another agent holds it.
            InvalidInputError: names the invalid member.
        """
        fields.identifier("agent", agent)
        seconds = check_lease(lease)
        return await self._records.change(name, lambda found, now: claim(found or {}, agent, now, duration=seconds))

    async def renew(self, name: str, agent: str, *, lease: float | None = None) -> Record:
        """Let the agent's lease last from now. One that has ended can be renewed until another agent claims it.

        Raises:
            RecordNotFoundError: it was never claimed.
            RecordStateError: `not-claimed`: the agent does not hold it.
            InvalidInputError: names the invalid member.
        """
        fields.identifier("agent", agent)
        seconds = check_lease(lease)

        def change(found: Lease | None, now: int) -> Lease | None:
            return None if found is None else renew(found, agent, now, duration=seconds)

        return await self._records.change(name, change)

    async def release(self, name: str, agent: str) -> Record:
        """Give the agent's lease back, so that another agent can claim it at once.

        Raises:
            RecordNotFoundError: it was never claimed.
            RecordStateError: `not-claimed`: the agent does not hold it.
            InvalidInputError: names the invalid member.
        """
        fields.identifier("agent", agent)

        def change(found: Lease | None, now: int) -> Lease | None:
            return None if found is None else release(found, agent, now)

        return await self._records.change(name, change)

    async def get(self, name: str) -> Record:
        """Return a lease, with `held`: whether its holder has it now.

        Raises:
            RecordNotFoundError: it was never claimed.
        """
        found = await self._records.get(name)
        found.document["held"] = is_held(found.document, self._store.now())
        return found


def check_lease(value: Any) -> float:
    """Return the duration of a lease in seconds."""
    return DEFAULT_LEASE if value is None else fields.seconds("lease", value, MAX_LEASE)


def term_of(lease: Lease) -> int:
    """Return the term of a stored lease; 0 if it has none."""
    return int(fields.number(lease, "term"))


def is_held(lease: Lease, now: int) -> bool:
    """Return whether an agent holds the lease now."""
    ends_at = times.from_text(lease.get("leaseExpiresAt"))
    return bool(text_of(lease, "holder")) and ends_at is not None and ends_at > now


def claim(lease: Lease, agent: str, now: int, *, duration: float) -> Lease:
    """Return the lease as the agent's, in a new term unless the agent holds it already.

    Raises:
        RecordStateError: another agent holds it.
    """
    if is_held(lease, now):
        if text_of(lease, "holder") != agent:
            raise RecordStateError("claimed", f"the lease is held by {text_of(lease, 'holder')!r}")
        return renew(lease, agent, now, duration=duration)
    time = times.to_text(now)
    taken = {**lease, "holder": agent, "term": term_of(lease) + 1, "claimedAt": time}
    return renew(taken, agent, now, duration=duration)


def renew(lease: Lease, agent: str, now: int, *, duration: float) -> Lease:
    """Return the lease with its end `duration` seconds from now.

    Raises:
        RecordStateError: the agent is not the last that claimed it.
    """
    _check_holder(lease, agent)
    return {**lease, "leaseExpiresAt": times.to_text(now + round(duration * 1000)), "updatedAt": times.to_text(now)}


def release(lease: Lease, agent: str, now: int) -> Lease:
    """Return the lease as free. It keeps its term.

    Raises:
        RecordStateError: the agent is not the last that claimed it.
    """
    _check_holder(lease, agent)
    freed = {**lease, "updatedAt": times.to_text(now)}
    for name in ("holder", "leaseExpiresAt", "claimedAt"):
        freed.pop(name, None)
    return freed


def _check_holder(lease: Lease, agent: str) -> None:
    holder = text_of(lease, "holder")
    if holder != agent:
        raise RecordStateError(
            "not-claimed",
            f"the lease is not held by {agent!r}: " + (f"it is by {holder!r}" if holder else "it is free"),
        )
