"""State of the pod of a store that is being deleted, whose conditions are no longer updated."""

from __future__ import annotations

from datetime import datetime

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, waiting
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.resource import Key, Object, controller_of


def running_workload(store: SwarmMemoryStore, cache: Cache) -> Object | None:
    """Return the store's StatefulSet, or None if it was deleted or runs no pod."""
    workload = cache.get(kinds.STATEFUL_SET, Key(store.metadata.namespace, store.metadata.name))
    controller = controller_of(workload) if workload else None
    if workload is None or controller is None or controller["uid"] != store.metadata.uid:
        return None
    stops = workload["metadata"].get("deletionTimestamp") or workload["spec"].get("replicas") == 0
    return None if stops else workload


def is_stopped(store: SwarmMemoryStore, cache: Cache) -> bool:
    """Return whether the store has no pod and gets no other, so that no process has the database open."""
    return running_workload(store, cache) is None and _pod(store, cache) is None


def serves(store: SwarmMemoryStore, cache: Cache, now: datetime) -> Outcome:
    """Return the outcome of the store's pod: done if its service can be asked. See availability."""
    workload, pod = running_workload(store, cache), _pod(store, cache)
    if workload is None:
        return waiting("WaitingForPod", "the memory service's pod is being stopped")
    return availability(workload, [pod] if pod else [], now=now)


def _pod(store: SwarmMemoryStore, cache: Cache) -> Object | None:
    return cache.get(kinds.POD, Key(store.metadata.namespace, f"{store.metadata.name}-0"))
