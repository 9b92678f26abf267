"""Children: objects that a custom resource owns. A child that is as wanted is not written.

`ensure` compares a child with the cache before it sends anything. Each wanted field must have its value, and the hash
of all wanted fields must equal the hash that was applied last. The fields reveal changes by others, the hash reveals
fields that are no longer wanted. Only then is the child applied, server-side.

A child in its owner's namespace has an owner reference, so Kubernetes deletes it with its owner. A child in another
namespace (`metadata.namespace` of the wanted object) has labels in its place. Its owner must have a finalizer before
the child is made, and the owner's cleanup deletes the child. See labels.owner_elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from swarm_operator.controllers.common import labels
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.runtime.errors import ApiError, ConflictError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, Resource, controller_of, key_of, owner_reference

log = structlog.get_logger(__name__)

ELSEWHERE_INDEX = "cluster-uid"
"""Index of the kinds whose objects may be in another namespace than their owner: by the owner's uid."""


def by_owner_elsewhere(obj: Object) -> Iterable[str]:
    """Return the uid of an owner in another namespace, to index by it."""
    uid = (obj["metadata"].get("labels") or {}).get(labels.CLUSTER_UID)
    return (uid,) if uid else ()


def matches(wanted: Any, live: Any) -> bool:
    """Return whether `live` has every field of `wanted` with that value. Fields that others added are ignored.

    In a list of objects each wanted item must match some live item, since others may have added items. The one in the
    same place is tried first: without others' items it is the one.
    """
    if wanted == live:
        return True
    if isinstance(wanted, dict):
        if not wanted:
            return live is None or isinstance(live, dict)
        return isinstance(live, dict) and all(matches(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and any(isinstance(item, dict) for item in wanted):
        return isinstance(live, list) and all(
            any(matches(item, other) for other in (*live[place:], *live[:place])) for place, item in enumerate(wanted)
        )
    return False


Settled = dict[Key, tuple[str, int]]
"""By child: uid and generation that an apply has led to. A spec that differs then from what was applied differs in form
only, such as 0.50 and 500m, until its generation changes."""


def differs(
    r: Reconciliation[Any], resource: Resource, wanted: Object, live: Object, settled: Settled | None = None
) -> bool:
    """Return whether `ensure` would write this child."""
    return not is_applied(_complete(r.obj, resource, wanted, controlled=True), live, settled)


def is_applied(wanted: Object, live: Object, settled: Settled | None = None) -> bool:
    """Return whether a child is as it was last applied, and has the wanted fields.

    Args:
        wanted: the wanted fields, as they are applied.
        live: the child.
        settled: what was applied so far, of children with fields of a user's.
    """
    if matches(wanted, live):
        return True
    has_form_of_server = settled is not None and settled.get(key_of(live)) == _form(live)
    return has_form_of_server and matches(wanted["metadata"], live["metadata"])


def _form(live: Object) -> tuple[str, int]:
    return live["metadata"]["uid"], live["metadata"].get("generation", 0)


async def ensure(
    r: Reconciliation[Any],
    resource: Resource,
    wanted: Object,
    *,
    controlled: bool = True,
    adopted_by: Mapping[str, str] | None = None,
    on_refusal: Callable[[ApiError], None] | None = None,
    settled: Settled | None = None,
) -> Object:
    """Make one child as wanted, with an event if it is created.

    A failed update does not change the child, and steps that need the child still run.

    Args:
        r: the pass.
        resource: the child's kind. The cache must have its informer.
        wanted: the wanted fields, with metadata.name; metadata.namespace is the owner's by default. Values must be in
            the server's canonical form.
        controlled: whether the pass's object becomes the child's controller, so that deleting the object deletes it.
        adopted_by: labels by which an object without a controller counts as ours. By default no label does.
        on_refusal: gets the error of an update that failed. By default it is recorded in `r`.
        settled: the applied states of children with user-supplied fields, which may not be in canonical form.

    Returns:
        The child as it is now. If it is being deleted (deletionTimestamp), nothing was written.

    Raises:
        NameTakenError: an object that is not ours has the name.
        ApiError: the child does not exist and the server refused to create it.
    """
    wanted = _complete(r.obj, resource, wanted, controlled=controlled)
    namespace, name = key_of(wanted)
    live = r.client.get(resource, key_of(wanted))
    if live is None:
        try:
            # The cache lacks objects without our label. An apply takes such an object over if its values equal ours. So
            # the server must confirm first that the name is free.
            live = await r.client.server.get(resource, namespace, name)
        except NotFoundError:
            # Without `force` the server refuses to change values of an object that another client created just now.
            live = await r.client.apply(resource, wanted, field_manager=labels.FIELD_MANAGER, force=False)
            _check_ours(r.obj, resource, live, adopted_by)
            if settled is not None:
                settled[key_of(live)] = _form(live)
            r.recorder.event(r.obj, "Normal", "Created", f"created {resource.kind} {name}", action="Create")
            return _remember(r, resource, live)
    _check_ours(r.obj, resource, live, adopted_by)
    if not live["metadata"].get("deletionTimestamp") and not is_applied(wanted, live, settled):
        log.info("applying", kind=resource.kind, child=name)
        # The uid makes the server refuse if the cache is stale and another object has the name now.
        exactly = {**wanted, "metadata": {**wanted["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            live = await r.client.apply(resource, exactly, field_manager=labels.FIELD_MANAGER)
            if settled is not None:
                settled[key_of(live)] = _form(live)
        except ApiError as error:
            (on_refusal or r.record_error)(error)
    return _remember(r, resource, live)


async def create_once(r: Reconciliation[Any], resource: Resource, wanted: Object) -> Object:
    """Create a child if it does not exist, with an event, and never change it. For Secrets, Jobs and the like.

    The child is read from the server, so its kind need not be watched: watching takes the right to list every object.

    Args:
        r: the pass; its object becomes the child's owner.
        resource: the child's kind.
        wanted: the object to create, with metadata.name; metadata.namespace is the owner's by default.

    Raises:
        NameTakenError: an object that this pass's object does not own has the name.
        ApiError: the server refused.
    """
    wanted = _named(r.obj, resource, wanted, controlled=True)
    namespace, name = key_of(wanted)
    try:
        live = await r.client.server.get(resource, namespace, name)
    except NotFoundError:
        try:
            live = await r.client.server.create(resource, wanted, field_manager=labels.FIELD_MANAGER)
        except ConflictError:  # another worker was faster
            live = await r.client.server.get(resource, namespace, name)
        else:
            r.recorder.event(r.obj, "Normal", "Created", f"created {resource.kind} {name}", action="Create")
    references = live["metadata"].get("ownerReferences") or ()
    owned = any(reference["uid"] == r.obj["metadata"]["uid"] for reference in references)
    if not owned and not is_ours(r.obj, live, None):
        raise NameTakenError(resource, name)
    return _remember(r, resource, live)


async def delete(r: Reconciliation[Any], resource: Resource, child: Object, *, propagation: str = "Background") -> None:
    """Delete a child, with an event, unless it is being deleted. A newer object of the same name stays.

    Args:
        r: the pass.
        resource: the child's kind.
        child: the child.
        propagation: see Client.delete. Foreground keeps the child until the objects that it owns are deleted.
    """
    metadata = child["metadata"]
    if metadata.get("deletionTimestamp"):
        return
    # NotFound and, because of the uid, Conflict mean that the child was deleted already.
    with contextlib.suppress(NotFoundError, ConflictError):
        namespace, name = key_of(child)
        await r.client.server.delete(resource, namespace, name, uid=metadata["uid"], propagation=propagation)
        r.recorder.event(r.obj, "Normal", "Deleted", f"deleted {resource.kind} {metadata['name']}", action="Delete")


async def prune(r: Reconciliation[Any], resource: Resource, keep: Iterable[str]) -> None:
    """Delete the children of a kind that are no longer wanted. One failure does not stop the others: it is recorded.

    Args:
        r: the pass; only children of its object are deleted.
        resource: the children's kind. The cache must have its informer with ELSEWHERE_INDEX.
        keep: names of the children that are still wanted.
    """
    wanted = frozenset(keep)
    for child in owned(r, resource):
        if child["metadata"]["name"] not in wanted:
            try:
                await delete(r, resource, child)
            except ApiError as error:
                r.record_error(error)


def owned(r: Reconciliation[Any], resource: Resource) -> list[Object]:
    """Return the children of a kind, in all namespaces. The cache must have its informer with ELSEWHERE_INDEX."""
    return [*r.client.owned(resource, r.obj), *elsewhere(r, resource)]


def elsewhere(r: Reconciliation[Any], resource: Resource) -> list[Object]:
    """Return the children of a kind that are in other namespaces than their owner; none of a kind without an index."""
    if not r.client.cache.has_index(resource, ELSEWHERE_INDEX):
        return []
    found = r.client.cache.everywhere(resource, ELSEWHERE_INDEX, r.obj["metadata"]["uid"])
    return [child for child in found if is_ours(r.obj, child, None)]


def _remember(r: Reconciliation[Any], resource: Resource, child: Object) -> Object:
    r.children[resource, child["metadata"]["name"]] = child
    return child


def _named(owner: Object, resource: Resource, wanted: Object, *, controlled: bool) -> Object:
    """Return a copy with the fields that every child has: kind, namespace and, if controlled, its owner."""
    home = owner["metadata"]["namespace"]
    metadata = {"namespace": home, **wanted["metadata"]}
    if controlled and metadata["namespace"] == home:
        metadata["ownerReferences"] = [owner_reference(owner)]
    elif controlled:
        metadata["labels"] = {**metadata.get("labels", {}), **labels.owner_elsewhere(owner)}
    return {**wanted, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _complete(owner: Object, resource: Resource, wanted: Object, *, controlled: bool) -> Object:
    """Return a copy with the fields that every applied child has: those of `_named` and the hash of all of them."""
    complete = _named(owner, resource, wanted, controlled=controlled)
    digest = hashlib.sha256(json.dumps(complete, sort_keys=True).encode()).hexdigest()[:16]
    annotations = {**wanted["metadata"].get("annotations", {}), labels.APPLIED: digest}
    return {**complete, "metadata": {**complete["metadata"], "annotations": annotations}}


def is_ours(owner: Object, live: Object, adopted_by: Mapping[str, str] | None) -> bool:
    """Return whether `owner` controls the object, or the object has no controller and the labels of our children."""
    controller = controller_of(live)
    if controller is not None:
        return bool(controller["uid"] == owner["metadata"]["uid"])
    found = live["metadata"].get("labels") or {}
    if key_of(live).namespace != key_of(owner).namespace and labels.CLUSTER_UID in found:
        return bool(found[labels.CLUSTER_UID] == owner["metadata"]["uid"])
    return adopted_by is not None and adopted_by.items() <= found.items()


def _check_ours(owner: Object, resource: Resource, live: Object, adopted_by: Mapping[str, str] | None) -> None:
    """Raise NameTakenError unless the object is ours, see is_ours."""
    if not is_ours(owner, live, adopted_by):
        raise NameTakenError(resource, live["metadata"]["name"])
