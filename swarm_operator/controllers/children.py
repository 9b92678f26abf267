"""Brings the objects that a custom resource owns to their wanted state, and writes nothing when they are there.

A child is compared with the cache before anything is sent: every field that we want must be there with that value,
and the hash of all that we want must be the one that was last applied. The first finds what others changed, the second
finds fields of ours that are no longer wanted. Only then is it applied, server-side.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import structlog

from swarm_operator.controllers import labels
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Object, Resource, controller_of, key_of, owner_reference

log = structlog.get_logger(__name__)


class NameTakenError(Exception):
    """An object that is not ours has the name that a child needs. We never take such an object over."""

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(
            f"{resource.kind} {name} exists and belongs to somebody else: rename or delete it, or rename this object"
        )


def matches(wanted: Any, live: Any) -> bool:
    """Whether `live` has every field of `wanted` with that value. What it has besides is others' business.

    In a list of objects each wanted item must match some live one, since others may have added items of theirs.
    """
    if isinstance(wanted, dict):
        if not wanted:
            return live is None or isinstance(live, dict)
        return isinstance(live, dict) and all(matches(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and any(isinstance(item, dict) for item in wanted):
        return isinstance(live, list) and all(any(matches(item, other) for other in live) for item in wanted)
    return bool(wanted == live)


class Children:
    """Ensures children in the cluster, with an event for each that is created.

    Args:
        cache: must have the informers of the kinds that are ensured.
        recorder: where the events go.
    """

    def __init__(self, cache: Cache, recorder: EventRecorder) -> None:
        self._cache = cache
        self._recorder = recorder

    async def ensure(self, owner: Object, resource: Resource, wanted: Object) -> Object:
        """Make one child as wanted.

        Args:
            owner: the custom resource; becomes the child's controller, so that deleting it deletes the child.
            resource: the child's kind.
            wanted: the fields that we want, with metadata.name. Its values must be in the server's canonical form.

        Returns:
            The child as it is now. It may be on its way out (deletionTimestamp): then nothing was written.

        Raises:
            NameTakenError: the name belongs to somebody else.
            ApiError: the server refused.
        """
        wanted = _complete(owner, resource, wanted)
        live = self._cache.get(resource, key_of(wanted))
        if live is None:
            return await self._create(owner, resource, wanted)
        _check_owner(owner, resource, live)
        return await self._keep(resource, wanted, live)

    async def _create(self, owner: Object, resource: Resource, wanted: Object) -> Object:
        namespace, name = key_of(wanted)
        try:
            # The cache has no objects without our label. An apply takes such an object over, as long as none of its
            # values differ from ours, so the name must be known to be free first.
            live = await self._cache.client.get(resource, namespace, name)
        except NotFoundError:
            # Without force the server refuses to change the values of an object that came just now.
            created = await self._cache.apply(resource, wanted, field_manager=labels.FIELD_MANAGER, force=False)
            _check_owner(owner, resource, created)
            self._recorder.event(owner, "Normal", "Created", f"created {resource.kind} {name}", action="Create")
            return created
        # Ours after all, and the cache is behind; or somebody else's.
        _check_owner(owner, resource, live)
        return await self._keep(resource, wanted, live)

    async def _keep(self, resource: Resource, wanted: Object, live: Object) -> Object:
        if live["metadata"].get("deletionTimestamp") or matches(wanted, live):
            return live
        log.info("applying", kind=resource.kind, child=live["metadata"]["name"])
        return await self._cache.apply(resource, wanted, field_manager=labels.FIELD_MANAGER)


def _complete(owner: Object, resource: Resource, wanted: Object) -> Object:
    """Add what every child has: its kind, namespace, owner and the hash of all that is wanted."""
    metadata = {
        **wanted["metadata"],
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    complete = {**wanted, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    digest = hashlib.sha256(json.dumps(complete, sort_keys=True).encode()).hexdigest()[:16]
    metadata["annotations"] = {**wanted["metadata"].get("annotations", {}), labels.APPLIED: digest}
    return complete


def _check_owner(owner: Object, resource: Resource, live: Object) -> None:
    controller = controller_of(live)
    if controller is None or controller["uid"] != owner["metadata"]["uid"]:
        raise NameTakenError(resource, live["metadata"]["name"])
