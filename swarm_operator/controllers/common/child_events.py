"""Events about children: the reason why a child makes no progress, if the child's status lacks the reason.

Events are listed when a child makes no progress, and never watched. The API server reads all events of a namespace to
find those of one object. So all children of a kind share one list for some seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from swarm_operator.controllers.common.errors import ends_pass
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.runtime.errors import ApiError
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.resource import Object, Resource, is_newer

log = structlog.get_logger(__name__)

GRACE = 5.0
"""Seconds for which a child may make no progress before its events are read."""

_MAX_AGE = 10.0
"""Seconds for which a list of a namespace's events is used."""


@dataclass(frozen=True, slots=True)
class _Events:
    read_at: float
    newest: dict[str, Object]
    """By the uid of the object that the event is about."""


class ChildEvents:
    """The newest event that the controller of a kind has written about each object of that kind.

    Args:
        child: the kind.
        controller: name of its controller in Kubernetes, such as `statefulset-controller`.
    """

    def __init__(self, child: Resource, controller: str) -> None:
        self._child = child
        self._controller = controller
        self._known: dict[str, _Events] = {}
        """By namespace."""

    async def newest(self, r: Reconciliation[Any], child: Object, *, condition: str) -> Object | None:
        """Return the newest event about a child, or None.

        Args:
            r: the pass.
            child: the child.
            condition: type of the condition that waits for the child; no event is read before it has waited for GRACE.

        Raises:
            ApiError: the events cannot be read, for a reason that ends the pass.
        """
        if r.conditions.seconds_not_true(condition) < GRACE:
            return None
        namespace, now = child["metadata"]["namespace"], r.clock.monotonic()
        known = self._known.get(namespace)
        if known is None or now - known.read_at >= _MAX_AGE:
            known = _Events(now, await self._read(r, namespace))
            recent = {name: events for name, events in self._known.items() if now - events.read_at < _MAX_AGE}
            self._known = {**recent, namespace: known}
        return known.newest.get(child["metadata"]["uid"])

    async def _read(self, r: Reconciliation[Any], namespace: str) -> dict[str, Object]:
        try:
            events, _ = await r.client.server.list(
                EVENTS, namespace=namespace, field_selector=f"regarding.kind={self._child.kind}"
            )
        except ApiError as error:
            if ends_pass(error):
                raise
            log.warning("events not read", kind=self._child.kind, error=error.message)
            return {}
        newest: dict[str, Object] = {}
        for event in events:
            uid = event["regarding"].get("uid", "")
            if self._controller in _reporters(event) and (uid not in newest or _is_newer(event, newest[uid])):
                newest[uid] = event
        return newest


def _reporters(event: Object) -> tuple[str | None, ...]:
    # Controllers of older releases write core/v1 events without a reportingController.
    return event.get("reportingController"), (event.get("deprecatedSource") or {}).get("component")


def _is_newer(event: Object, than: Object) -> bool:
    # A repeated event is updated: the time of its last write is the time when it happened last.
    return is_newer(event["metadata"]["resourceVersion"], than["metadata"]["resourceVersion"])
