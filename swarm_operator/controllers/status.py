"""Conditions, and writing a status only when it says something new."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swarm_operator.controllers import labels
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.clock import Clock, rfc3339
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Object, Resource


@dataclass(slots=True)
class Conditions:
    """The conditions of one object, as this reconcile finds them.

    A condition that keeps its status keeps its lastTransitionTime, so that it can be compared with what is stored.
    """

    obj: Object
    clock: Clock
    _found: dict[str, Object] = field(default_factory=dict)

    def set(self, kind: str, *, holds: bool | None, reason: str, message: str = "") -> None:
        """State one condition; `holds` None is Unknown."""
        status = {True: "True", False: "False", None: "Unknown"}[holds]
        old = self._stored().get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == status else rfc3339(self.clock.now())
        self._found[kind] = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": self.obj["metadata"]["generation"],
            "lastTransitionTime": since,
        }

    def get(self, kind: str) -> Object:
        """A condition that was set."""
        return self._found[kind]

    def render(self) -> list[Object]:
        """What goes into the status: what was set, and what an earlier reconcile set and this one did not judge."""
        return list({**self._stored(), **self._found}.values())

    def news(self) -> list[Object]:
        """The conditions whose status, reason or message differs from what is stored."""
        stored = self._stored()
        keys = ("status", "reason", "message")
        return [
            condition
            for kind, condition in self._found.items()
            if [condition[key] for key in keys] != [stored.get(kind, {}).get(key) for key in keys]
        ]

    def _stored(self) -> dict[str, Object]:
        return {c["type"]: c for c in (self.obj.get("status") or {}).get("conditions") or ()}


async def write_status(
    cache: Cache,
    recorder: EventRecorder,
    resource: Resource,
    obj: Object,
    status: dict[str, Any],
    conditions: Conditions,
) -> None:
    """Apply the status if it differs from the stored one, and tell of changed conditions by events.

    Args:
        cache: where to write.
        recorder: where events go.
        resource: the object's kind.
        obj: the object as read.
        status: the fields besides conditions and observedGeneration; those that are None are left out.
        conditions: what was found.
    """
    wanted = {name: value for name, value in status.items() if value is not None}
    wanted["observedGeneration"] = obj["metadata"]["generation"]
    wanted["conditions"] = conditions.render()
    if wanted == (obj.get("status") or {}):
        return
    metadata = obj["metadata"]
    await cache.apply(
        resource,
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            # The uid makes it fail for an object of the same name that came later.
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": wanted,
        },
        field_manager=labels.FIELD_MANAGER,
        subresource="status",
    )
    for condition in conditions.news():
        _tell(recorder, obj, condition)


def _tell(recorder: EventRecorder, obj: Object, condition: Object) -> None:
    # Degraded is the one condition whose being true is bad news, and whose being false is none.
    degraded = condition["type"] == "Degraded"
    if condition["type"] not in TOLD or (degraded and condition["status"] == "False"):
        return
    bad = degraded or (condition["status"] != "True" and condition["reason"] not in WAITING_REASONS)
    note = f"{condition['type']} is {condition['status']}: {condition['message'] or condition['reason']}"
    recorder.event(obj, "Warning" if bad else "Normal", condition["reason"], note, action="Reconcile")


TOLD = frozenset({"Ready", "StorageReady", "Degraded"})
"""Conditions whose changes make events."""

WAITING_REASONS = frozenset({"WaitingForPod", "WaitingForVolume", "WaitingForStore", "Disabled"})
"""Reasons that are a step on the way and no cause for a warning."""
