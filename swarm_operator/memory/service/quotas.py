"""Quotas: limits of the concurrent use of each resource, over all protocols.

Each resource has a total and a share, the maximum for one token, so that one token can't take everything. The share
does not apply to the admin. Other tokens can't use a reserve of the total, so the admin always has access.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.service.errors import BodyTooLargeError
from swarm_operator.memory.service.settings import MIB, ServiceSettings

READING_BYTES: Final = 2 * MIB
"""Maximum bytes of a request of a read-only token: enough for a batch of 1000 gets with the longest names."""
_RESERVED: Final = 8
"""Divisor of a total: an eighth is reserved for the admin."""


class Holder(Protocol):
    """Holder of a resource; see access.rights.Principal."""

    @property
    def name(self) -> str:
        """Return the name of the token."""

    @property
    def admin(self) -> bool:
        """Return whether the holder is an admin."""

    @property
    def writes(self) -> bool:
        """Return whether the holder may change entries."""


def largest_request(holder: Holder, limit: int) -> int:
    """Return the maximum bytes of a holder's request. `limit` applies to all requests."""
    return limit if holder.writes else min(limit, READING_BYTES)


def too_large(holder: Holder, limit: int) -> BodyTooLargeError:
    """Return the error for a holder's request above `largest_request`."""
    most = largest_request(holder, limit)
    of_whom = "" if most == limit else " with a token that may only read"
    return BodyTooLargeError(f"a body has at most {most} bytes{of_whom}", (b"connection", b"close"))


class Quota:
    """Limits the concurrent use of one resource.

    Args:
        resource: name of the resource in error messages and metrics.
        total: maximum amount that all principals hold together.
        percent: percentage of the total that one principal may hold, unless it is an admin.

    Attributes:
        held: amount that all principals hold.
        refused: number of refusals.
        share: maximum amount of one principal.
    """

    def __init__(self, resource: str, total: int, *, percent: int = 100) -> None:
        self.resource = resource
        self.total = total
        self._unreserved = total - min(total - 1, max(1, total // _RESERVED))
        self.share = max(1, min(total * percent // 100, self._unreserved))
        self.held = 0
        self.refused = 0
        self._held: dict[str, int] = {}

    def take(self, holder: Holder, amount: int = 1, *, mine: int = 0) -> None:
        """Take an amount, to be returned with `give_back`.

        Args:
            holder: the holder of the amount.
            amount: amount to take.
            mine: amount that the caller took before for the same request. A request gets any amount if no other request
                holds any: otherwise a request above the limit would never be accepted.

        Raises:
            OverloadedError: the holder's share or the total is exhausted.
        """
        if refusal := self._refusal(holder, amount, mine):
            self.refused += 1
            raise OverloadedError(refusal)
        self._held[holder.name] = self._held.get(holder.name, 0) + amount
        self.held += amount

    def has_room(self, holder: Holder) -> bool:
        """Return whether the holder may take an amount of one."""
        return self._refusal(holder, 1, 0) is None

    def _refusal(self, holder: Holder, amount: int, mine: int) -> str | None:
        held = self._held.get(holder.name, 0)
        if not holder.admin and held > mine and held + amount > self.share:
            return (
                f"{self.resource}: the token {holder.name} holds {held} and asks for {amount} more; the share of one "
                f"token is {self.share} of {self.total}"
            )
        limit = self.total if holder.admin else self._unreserved
        if self.held > mine and self.held + amount > limit:
            return (
                f"{self.resource}: all tokens hold {self.held}, and {amount} more are asked for; the limit is {limit}"
            )
        return None

    def give_back(self, holder: Holder, amount: int = 1) -> None:
        """Return an amount."""
        left = self._held[holder.name] - amount
        if left:
            self._held[holder.name] = left
        else:
            del self._held[holder.name]
        self.held -= amount

    @contextlib.contextmanager
    def holding(self, holder: Holder) -> Iterator[None]:
        """Hold an amount of one inside this context. Raise OverloadedError."""
        self.take(holder)
        try:
            yield
        finally:
            self.give_back(holder)


class Quotas(Collector):
    """All quotas of the service. As a collector, it yields the metrics of the quotas."""

    def __init__(self, settings: ServiceSettings) -> None:
        percent = settings.max_share
        self.watches = Quota("watches", settings.max_watches, percent=percent)
        self.exports = Quota("exports", settings.max_exports, percent=percent)
        self.imports = Quota("imports", settings.max_imports, percent=percent)
        self.bodies = Quota("bytes of requests", settings.max_held_body_bytes, percent=percent)
        """Bytes of HTTP bodies over 64 KiB and of gRPC messages whose requests are in flight."""
        self.calls = Quota("gRPC calls", settings.max_grpc_calls, percent=percent)
        self.sessions = Quota("MCP sessions", settings.mcp_max_sessions, percent=percent)
        self.listeners = Quota("MCP listeners", settings.mcp_max_sessions, percent=percent)
        self.backups = Quota("backups", 1)
        self.restores = Quota("restores", 1)
        self.syncs = Quota("synchronizations", 1)

    def collect(self) -> Iterator[Metric]:
        """Yield the held amounts and the numbers of refusals, by resource."""
        held = GaugeMetricFamily("swarm_memory_quota_held", "Amount held of a limited resource.", labels=["resource"])
        limit = GaugeMetricFamily("swarm_memory_quota_limit", "Limit of the resource.", labels=["resource"])
        refused = CounterMetricFamily(
            "swarm_memory_quota_refused", "Requests refused because of the limit.", labels=["resource"]
        )
        for name, quota in vars(self).items():
            held.add_metric([name], quota.held)
            limit.add_metric([name], quota.total)
            refused.add_metric([name], quota.refused)
        yield from (held, limit, refused)
