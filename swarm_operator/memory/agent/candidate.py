"""Leader election: an agent claims the lease `queen` in the swarm's hive mind, and renews the lease while it runs.

    waits --the lease is free--> is queen --after each third of the lease--> renews it
      ^                            |
      +--the lease is another's----+--stop--> gives it back

Guarantees:
    A process takes only a free lease, never one that an earlier process of the same agent ID holds: each queen has a
    new term. While the hive mind does not respond, the agent retries without limit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from swarm_operator.memory.client import MemoryClient, MemoryClientError, MemoryNotFoundError, MemoryStateError

QUEEN: Final = "queen"
"""Name of the lease."""
_LOOKS: Final = 10
"""Number of attempts per lease: another agent becomes queen at most one interval after the lease has ended."""
_RELEASE: Final = 5.0
"""Seconds for which a release is tried."""

_log = structlog.get_logger(__name__)


class Candidate:
    """A candidate for queen.

    Args:
        client: an open client of the hive mind.
        agent_id: ID of the agent.
        lease: seconds without a renewal after which another agent may become queen.
    """

    def __init__(self, client: MemoryClient, agent_id: str, *, lease: float = 30.0) -> None:
        self._leases = client.leases
        self._agent_id = agent_id
        self._lease = lease
        self._term: int | None = None
        self._ends = 0.0
        self._away = False
        self._stopping = asyncio.Event()

    @property
    def term(self) -> int | None:
        """Return the term if the agent is queen now, else None. Send the term along with each order."""
        return self._term if asyncio.get_running_loop().time() < self._ends else None

    def stop(self) -> None:
        """Stop the candidacy and release the lease."""
        self._stopping.set()

    async def run(self) -> None:
        """Claim and renew the lease until `stop` is called. Log errors of the hive mind."""
        while not self._stopping.is_set():
            try:
                await self._stand()
            except MemoryClientError as error:
                self._log_away(error)
            else:
                self._away = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lease / (3 if self.term else _LOOKS)):
                    await self._stopping.wait()
        await self._step_down()

    async def _stand(self) -> None:
        try:
            if self._term is not None:
                await self._reign(self._leases.renew)
            elif not (await self._leases.get(QUEEN) or {}).get("held"):
                await self._reign(self._leases.claim)
        except (MemoryStateError, MemoryNotFoundError) as error:
            self._lose(str(error))

    async def _reign(self, call: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        """Claim the lease, or renew it."""
        sent = asyncio.get_running_loop().time()
        term = (await call(QUEEN, agent=self._agent_id, lease=self._lease))["term"]
        if self._term not in {None, term}:
            self._lose("another process of this agent is queen")
            return
        if self._term is None:
            _log.info("is queen", agent=self._agent_id, term=term)
        self._term, self._ends = term, sent + self._lease

    def _lose(self, reason: str) -> None:
        if self._term is not None:
            _log.warning("is queen no more", agent=self._agent_id, term=self._term, reason=reason)
        self._term = None

    async def _step_down(self) -> None:
        """Release the lease if the hive mind responds. Otherwise the lease expires."""
        if self._term is None:
            return
        try:
            async with asyncio.timeout(_RELEASE):
                await self._leases.release(QUEEN, agent=self._agent_id)
        except (MemoryClientError, TimeoutError) as error:
            _log.warning("the queen's lease is not given back", reason=str(error) or type(error).__name__)
        self._term = None

    def _log_away(self, error: MemoryClientError) -> None:
        """Log that the hive mind does not respond, once until the next response."""
        if not self._away:
            _log.warning("waiting for the hive mind", reason=str(error))
        self._away = True
