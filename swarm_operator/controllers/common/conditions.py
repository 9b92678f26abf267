"""Conditions of an object, and the events of their changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from swarm_operator.runtime.clock import Clock, rfc3339
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Object

EVENT_CONDITIONS = frozenset({"Ready", "StorageReady", "Degraded"})
"""Conditions whose changes emit events."""

NEGATIVE_CONDITIONS = frozenset({"Degraded"})
"""Conditions of negative polarity: True is a problem; False is normal and emits no event."""

WAITING_REASONS = frozenset({"WaitingForPod", "WaitingForVolume", "Resizing", "WaitingForStore", "Disabled"})
"""Reasons of normal progress, which emit no warning."""


@dataclass(slots=True)
class Conditions:
    """The conditions of one object during one pass.

    A condition that keeps its status keeps its lastTransitionTime, so that it equals the stored one if unchanged.
    """

    obj: Object
    clock: Clock
    _set: dict[str, Object] = field(default_factory=dict)

    def set(self, type: str, *, status: bool | None, reason: str, message: str = "") -> None:  # noqa: A002 - the API's word
        """Set one condition; `status` None is Unknown."""
        text = {True: "True", False: "False", None: "Unknown"}[status]
        old = self._stored().get(type)
        since = old["lastTransitionTime"] if old and old["status"] == text else rfc3339(self.clock.now())
        self._set[type] = {
            "type": type,
            "status": text,
            "reason": reason,
            "message": message,
            "observedGeneration": self.obj["metadata"]["generation"],
            "lastTransitionTime": since,
        }

    def render(self) -> list[Object]:
        """Return the conditions for the status: the stored ones, replaced by those that were set."""
        return list({**self._stored(), **self._set}.values())

    def changed(self) -> list[Object]:
        """Return the conditions that were set and differ from the stored ones in status, reason or message."""
        stored = self._stored()
        keys = ("status", "reason", "message")
        return [
            condition
            for type_, condition in self._set.items()
            if [condition[key] for key in keys] != [stored.get(type_, {}).get(key) for key in keys]
        ]

    def _stored(self) -> dict[str, Object]:
        return {c["type"]: c for c in (self.obj.get("status") or {}).get("conditions") or ()}


def emit_event(recorder: EventRecorder, obj: Object, condition: Object) -> None:
    """Record an event of a changed condition, if people need one: see EVENT_CONDITIONS and NEGATIVE_CONDITIONS."""
    negative = condition["type"] in NEGATIVE_CONDITIONS
    if condition["type"] not in EVENT_CONDITIONS or (negative and condition["status"] == "False"):
        return
    warns = negative or (condition["status"] != "True" and condition["reason"] not in WAITING_REASONS)
    note = f"{condition['type']} is {condition['status']}: {condition['message'] or condition['reason']}"
    recorder.event(obj, "Warning" if warns else "Normal", condition["reason"], note, action="Reconcile")
