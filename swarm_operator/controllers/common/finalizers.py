"""Finalizers: delay the deletion of an object until its cleanup has finished.

As in kube-rs (`kube-runtime/src/finalizer.rs`), create objects that need a cleanup only after `add` has stored the
finalizer. A cleanup must tolerate that nothing was created, and must be idempotent.
"""

from __future__ import annotations

import contextlib
from typing import Any

from swarm_operator.controllers.common import labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object


async def add(r: Reconciliation[Any], name: str) -> None:
    """Add our finalizer to the object, unless it has it. An object that is being deleted takes no new finalizers.

    Raises:
        ConflictError: the object has changed since it was read.
    """
    metadata = r.obj["metadata"]
    found = metadata.get("finalizers") or []
    if name not in found and not metadata.get("deletionTimestamp"):
        r.obj = await _write(r, [*found, name])


async def remove(r: Reconciliation[Any], *names: str) -> None:
    """Remove our finalizers from the object, if it has them. The server deletes a deleted object without finalizers.

    The status of a deleted object is not written after this, so these must be our last finalizers.

    Raises:
        ConflictError: the object has changed since it was read.
    """
    metadata = r.obj["metadata"]
    found = metadata.get("finalizers") or []
    left = [other for other in found if other not in names]
    if left != found:
        with contextlib.suppress(NotFoundError):  # the cache is stale: the object was deleted
            r.obj = await _write(r, left)
    r.released = bool(metadata.get("deletionTimestamp"))


async def _write(r: Reconciliation[Any], finalizers: list[str]) -> Object:
    """Replace the list. The preconditions protect the finalizers of others and a newer object of the same name."""
    metadata = r.obj["metadata"]
    preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    patch = {"metadata": {**preconditions, "finalizers": finalizers}}
    return await r.client.merge(
        r.resource, metadata["namespace"], metadata["name"], patch, field_manager=labels.FIELD_MANAGER
    )
