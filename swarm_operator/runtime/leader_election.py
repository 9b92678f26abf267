"""Leader election by a Lease: of several managers one reconciles, the others stand by.

After client-go's `tools/leaderelection`. A lease of another process counts as expired when it has not *changed* for its
duration by our own monotonic clock. The times in the lease are never compared with our clock, since clocks may differ
or jump.

Guarantees:
    `is_leading` fences writes. It turns false `renew_deadline` seconds after the start of the last successful renewal,
    by the clock alone, even if the event loop hangs. Others take over `lease_duration` seconds after it at the
    earliest.

    When `run` has been cancelled and `close` called, nothing takes the lease again.

Caveats:
    A request that was sent before the deadline may take effect after it; the lease outlives the deadline for that.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import structlog

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock, rfc3339_micro
from swarm_operator.runtime.errors import ApiError, ConflictError, NotFoundError
from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.resource import Object, Resource
from swarm_operator.runtime.runnable import Phase, Runnable

log = structlog.get_logger(__name__)

LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")

_JITTER = 1.2


class LeadershipLostError(Exception):
    """The lease could not be renewed in time. The process must end: another may be leading already."""


def check_times(lease_duration: float, renew_deadline: float, retry_period: float) -> None:
    """Raise ValueError, saying what is allowed, unless the times fit each other."""
    if not lease_duration > renew_deadline > retry_period * _JITTER > 0:
        raise ValueError(
            f"leader election needs lease duration > renew deadline > {_JITTER} * retry period > 0; "
            f"got {lease_duration:g} s, {renew_deadline:g} s, {retry_period:g} s"
        )


@dataclass(slots=True)
class LeaderElector(Runnable):
    """See the module's docstring.

    Raises:
        ValueError: the times do not fit each other.
    """

    phase = Phase.ELECTION
    task_name = "leader election"

    client: Client
    """A separate client: a renewal must not wait for other requests."""
    namespace: str
    name: str
    """Name of the Lease; all candidates share it."""
    identity: str
    """Identity of this candidate: unique, and different after a restart."""
    lease_duration: float = 15.0
    """Seconds that others wait after the last renewal that they saw."""
    renew_deadline: float = 10.0
    """Seconds without a good renewal after which we stop leading."""
    retry_period: float = 2.0
    """Seconds between two tries."""
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    metrics: Metrics = field(default_factory=Metrics)
    elected: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when we have become the leader."""
    _lease: Object | None = None
    _changed_at: float = 0.0
    _renewed_at: float = float("-inf")
    _released: bool = False

    def __post_init__(self) -> None:
        check_times(self.lease_duration, self.renew_deadline, self.retry_period)
        self.metrics.leads.labels(self.name).set(0)

    def is_leading(self) -> bool:
        """Return whether this process may write: its last renewal began less than `renew_deadline` seconds ago."""
        return not self._released and self.clock.monotonic() - self._renewed_at < self.renew_deadline

    async def run(self) -> None:
        """Wait to become the leader, then renew until cancelled.

        Raises:
            LeadershipLostError: it was lost.
            Exception: whatever an attempt raised that is no answer of the API server.
        """
        log.info("waiting to become the leader", lease=f"{self.namespace}/{self.name}", identity=self.identity)
        while not await self._try():
            await self.clock.sleep(self.retry_period * (1.0 + self.rng.random() * (_JITTER - 1.0)))
        log.info("became the leader", identity=self.identity)
        self.metrics.leads.labels(self.name).set(1)
        self.elected.set()
        try:
            while self.is_leading():
                await self.clock.sleep(self.retry_period)
                await self._renew()
        finally:
            self.metrics.leads.labels(self.name).set(0)
        raise LeadershipLostError(f"lease {self.namespace}/{self.name} was not renewed for {self.renew_deadline} s")

    async def close(self) -> None:
        """Release the lease, so that another process need not wait for its expiry. Call this after the last write."""
        self._released = True
        if self._lease is None or self._lease["spec"].get("holderIdentity") != self.identity:
            return
        for _ in range(3):
            spec = {**self._spec(), "holderIdentity": "", "leaseDurationSeconds": 1}
            try:
                await self.client.update(LEASES, {**self._lease, "spec": spec}, field_manager=self.identity)
            except ConflictError:
                if not await self._read() or self._lease["spec"].get("holderIdentity") != self.identity:
                    return
            except ApiError as error:
                log.warning("the lease was not released", error=error.message)
                return
            else:
                log.info("released the lease")
                return

    async def _renew(self) -> None:
        """Try until it succeeds or the deadline passes, however a request may hang."""
        remaining = self._renewed_at + self.renew_deadline - self.clock.monotonic()
        attempt = asyncio.ensure_future(self._try())
        try:
            # Not wait_for: that would wait for a request that resists its cancellation.
            await asyncio.wait([attempt], timeout=max(0.0, remaining))
        finally:
            attempt.cancel()  # does nothing when it has ended
        if attempt.done() and not attempt.cancelled():
            attempt.result()  # raises what is a bug

    async def _try(self) -> bool:
        """Take or renew the lease, if it is ours to take. False when it is not, or when the server did not answer."""
        started = self.clock.monotonic()
        try:
            if not (self._lease and self._ours() and await self._write()) and not await self._take():
                return False
        except ApiError as error:
            log.warning("the lease could not be taken or renewed", error=error.message)
            return False
        self._renewed_at = started
        return True

    async def _take(self) -> bool:
        if not await self._read():
            self._lease = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"namespace": self.namespace, "name": self.name},
                "spec": {},
            }
            return await self._write()
        return (self._ours() or self._expired()) and await self._write()

    async def _read(self) -> bool:
        try:
            lease = await self.client.get(LEASES, self.namespace, self.name)
        except NotFoundError:
            self._lease = None
            return False
        lease.setdefault("spec", {})
        if self._lease is None or lease["spec"] != self._lease["spec"]:
            self._changed_at = self.clock.monotonic()
        self._lease = lease
        return True

    async def _write(self) -> bool:
        """Write the lease as ours. False when another was faster, or when it has been released."""
        if self._released:
            return False  # an attempt that outlived its cancellation
        if self._lease is None:
            raise RuntimeError("there is no lease to write")
        wanted = {**self._lease, "spec": self._spec()}
        try:
            if "resourceVersion" in wanted["metadata"]:
                self._lease = await self.client.update(LEASES, wanted, field_manager=self.identity)
            else:
                self._lease = await self.client.create(LEASES, wanted, field_manager=self.identity)
        except ConflictError:
            return False
        self._changed_at = self.clock.monotonic()
        return True

    def _spec(self) -> Object:
        old = self._lease["spec"] if self._lease else {}
        now = rfc3339_micro(self.clock.now())
        ours = old.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            # Whole seconds are all that the API has; rounded up, others wait a little longer.
            "leaseDurationSeconds": -int(-self.lease_duration // 1),
            "acquireTime": old.get("acquireTime") if ours else now,
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + (0 if ours or not old else 1),
        }

    def _ours(self) -> bool:
        return bool(self._lease and self._lease["spec"].get("holderIdentity") == self.identity)

    def _expired(self) -> bool:
        spec = self._lease["spec"] if self._lease else {}
        duration = spec.get("leaseDurationSeconds", 0)
        return not spec.get("holderIdentity") or self.clock.monotonic() - self._changed_at >= duration
