"""Space on the data volume: how full it is, a warning before it is full, and its growth."""

from __future__ import annotations

from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmmemorystore.growth import Growth
from swarm_operator.controllers.swarmmemorystore.stats import Poller, settled
from swarm_operator.controllers.swarmmemorystore.storage import Storage
from swarm_operator.runtime.resource import Key, key_of

CONDITION = "SpaceAvailable"
_HYSTERESIS = 5
"""Percent below a limit at which its warning ends."""


class Space(Step[SwarmMemoryStore]):
    """Report how full the volume is, and let it grow. The last figure counts while the service does not answer."""

    reports: ClassVar = (CONDITION,)
    needs: ClassVar = (Storage,)

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._growth = Growth()

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        stored = r.parsed.status
        observation = self._poller.newest(key_of(r.obj))
        exact = observation.volume_used if observation else None
        used = settled(exact, stored.volume_used_percent)
        r.status["volumeUsedPercent"] = used
        if used is None:
            message = "the memory service has not reported yet how full the volume is"
            r.conditions.set(CONDITION, status=None, reason="NotMeasured", message=message)
            return done()
        size = observation.stats.volume_size_bytes if observation and observation.stats else None
        obstacle = await self._growth.grow(r, used, size)
        before = next((condition.reason for condition in stored.conditions if condition.type == CONDITION), "")
        r.set_condition(CONDITION, space(used, before, obstacle))
        return done()

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._growth.forget(key)


def space(used: int, before: str, obstacle: str) -> Outcome:
    """Return the outcome of a volume. Reasons: AlmostFull, NearlyFull or AsExpected.

    Args:
        used: percent that are used.
        before: reason of the stored condition.
        obstacle: why the volume cannot grow by itself; empty if nothing is wrong.
    """
    # No figure that changes: each change of a message is an event.
    hint = f"delete entries, or raise storageSize{obstacle and f'; {obstacle}'}"
    if used >= 90 - _HYSTERESIS * (before == "AlmostFull"):
        return failed("AlmostFull", f"the volume is almost full, see volumeUsedPercent: {hint}")
    if used >= 80 - _HYSTERESIS * (before in {"AlmostFull", "NearlyFull"}):
        return failed("NearlyFull", f"the volume is nearly full, see volumeUsedPercent: {hint}")
    return done("AsExpected", obstacle)
