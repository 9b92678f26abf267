"""Growth of the data volume by itself, as spec.autogrow asks for.

One annotation of the claim, which is written together with the size, has the progress of a growth. So a restarted
operator continues a growth. The next growth waits until the memory service has seen the larger file system, and at
least INTERVAL. So neither an old figure nor a clock that jumps makes the volume grow twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from swarm_operator.api.quantity import canonical_quantity, parse_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.autogrow import Autogrow
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.storage import apply_claim, data_claim, data_claim_name
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.resource import Key, Object, key_of

INTERVAL: Final = 600.0
"""Seconds between two growths of a volume, also if the first was refused."""

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Try:
    at: float
    """Monotonic time of it."""
    refusal: str
    """Error of the API server; empty if the claim was changed."""


class Growth:
    """Makes claims larger."""

    def __init__(self) -> None:
        self._tries: dict[Key, _Try] = {}

    async def grow(self, r: Reconciliation[SwarmMemoryStore], used: int, size: int | None) -> str:
        """Make the claim larger if that is due. Return why it cannot be; empty if nothing is wrong.

        Args:
            r: the pass.
            used: percent of the volume that are used, now or when that was last known.
            size: bytes of the file system, as the memory service has just reported them; None if it does not answer.
        """
        claim = r.children[kinds.PERSISTENT_VOLUME_CLAIM, data_claim_name(r.parsed)]
        asked_at, before = _read((claim["metadata"].get("annotations") or {}).get(labels.AUTOGROWN, ""))
        # The status has the figure that shows the growth, so that an older figure is not used after a restart.
        stored = (r.obj.get("status") or {}).get("volumeUsedPercent")
        if before is not None and size is not None and size > before and stored == used:
            await apply_claim(r, _marked(r.parsed, claim, rfc3339(asked_at) if asked_at else ""))
            return ""
        settings = r.parsed.spec.autogrow
        if settings is None or used < settings.threshold:
            return ""
        requested = claim["spec"]["resources"]["requests"]["storage"]
        capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage", requested)
        if parse_quantity(capacity) < parse_quantity(requested):
            return ""  # StorageReady reports the progress of that growth
        key, now = key_of(r.obj), r.clock.now()
        last = self._tries.get(key)
        if last is not None and r.clock.monotonic() - last.at < INTERVAL:
            return last.refusal
        if asked_at is not None and abs((now - asked_at).total_seconds()) < INTERVAL:
            return ""
        if before is not None:
            return f"the file system has still the {before} bytes from before the claim grew to {requested}"
        wanted = larger(settings, requested)
        if wanted is None:
            return f"autogrow.max of {settings.max} is reached"
        _, refusal = await apply_claim(r, _marked(r.parsed, claim, f"{rfc3339(now)} from {size or 0}", wanted))
        name = claim["metadata"]["name"]
        note = f"the volume is {used} % full: PersistentVolumeClaim {name} grows from {requested} to {wanted}"
        if refusal is None:
            r.recorder.event(r.obj, "Normal", "Growing", note, action="Update")
        else:
            r.recorder.event(r.obj, "Warning", "GrowthRefused", f"{note}; {refusal.message}", action="Update")
        self._tries[key] = _Try(r.clock.monotonic(), f"autogrow was refused: {refusal.message}" if refusal else "")
        return self._tries[key].refusal

    def forget(self, key: Key) -> None:
        """Forget a deleted store."""
        self._tries.pop(key, None)


def larger(settings: Autogrow, requested: str) -> str | None:
    """Return the size that follows a requested one, in canonical form; None if there is no larger one."""
    now, most = parse_quantity(requested), parse_quantity(settings.max)
    step = parse_quantity(settings.step) if settings.step else now // 5
    if now >= most:
        return None
    mebibytes = -(-(now + step) // _MIB)
    return canonical_quantity(settings.max if mebibytes * _MIB >= most else f"{mebibytes}Mi")


def _marked(store: SwarmMemoryStore, claim: Object, mark: str, size: str | None = None) -> Object:
    """Return the wanted claim with a mark of its growth, and with another size if one is given."""
    wanted = data_claim(store, claim)
    wanted["metadata"]["annotations"] = {labels.AUTOGROWN: mark}
    if size is not None:
        wanted["spec"]["resources"]["requests"]["storage"] = size
    return wanted


def _read(mark: str) -> tuple[datetime | None, int | None]:
    """Return when a claim was last made larger, and the bytes that its file system had until this has shown."""
    time, _, size = mark.partition(" from ")
    try:
        asked_at = datetime.fromisoformat(time)
    except ValueError:
        return None, None
    return (asked_at if asked_at.tzinfo else None), int(size) if size.isdecimal() else None
