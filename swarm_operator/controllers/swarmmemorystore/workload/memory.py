"""Memory of the service's container, which grows with its cache.

The limit of a running pod stays while it suffices. So a smaller cache, or one that was as large before, restarts no
pod. A cache that needs more memory needs a new pod. Changing the limit of a running pod (`pods/resize`) needs
Kubernetes 1.33, and a StatefulSet with the new limit in its template replaces the pod anyway.
"""

from __future__ import annotations

import copy

from swarm_operator.api.quantity import canonical_quantity, parse_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common.children import matches
from swarm_operator.runtime.resource import Object

_BASE_MB = 192
"""Interpreter, SQLite's own caches and in-flight requests; the entry cache comes on top."""
_MIB = 1024 * 1024


def needed_mb(cache_mb: int) -> int:
    """Return what the service needs with a full cache of that size, in MiB."""
    return _BASE_MB + cache_mb


def resources(cache_mb: int) -> Object:
    """Return what a container with a cache of that size requests, and its limits."""
    memory = needed_mb(cache_mb)
    return {
        "requests": {"cpu": "50m", "memory": canonical_quantity(f"{memory}Mi")},
        "limits": {"memory": canonical_quantity(f"{2 * memory}Mi")},
    }


def with_present_memory(wanted: Object, live: Object | None) -> Object:
    """Return the wanted StatefulSet with the resources of the live one, if these suffice and the pod stays for that.

    A pod that is replaced for another reason gets the resources that it needs. So does one of a StatefulSet that runs
    none.
    """
    if live is None or not wanted["spec"]["replicas"]:
        return wanted
    present = _cache_mb(live)
    needed = _cache_mb(wanted)
    if present is None or needed is None or present <= needed:
        return wanted
    kept = copy.deepcopy(wanted)
    _container(kept)["resources"] = resources(present)
    return kept if matches(kept["spec"]["template"], live["spec"]["template"]) else wanted


def suffices(live: Object | None, store: SwarmMemoryStore) -> bool:
    """Return whether the pod of a StatefulSet has the memory that the store's cache needs.

    Resources that are not ours are taken to suffice.
    """
    present = _cache_mb(live) if live else None
    return present is None or present >= store.spec.cache_memory_mb


def _cache_mb(workload: Object) -> int | None:
    """Return the size of the cache that the resources of a StatefulSet are for; None if they are not ours."""
    found = _container(workload).get("resources") or {}
    try:
        cache = parse_quantity(found["requests"]["memory"]) // _MIB - _BASE_MB
    except (KeyError, ValueError):
        return None
    return cache if found == resources(cache) else None


def _container(workload: Object) -> Object:
    container: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return container
