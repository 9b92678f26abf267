"""Readiness of the service, for the probes of HTTP and gRPC."""

from __future__ import annotations

from swarm_operator.memory.core.errors import DiskFullError
from swarm_operator.memory.core.store import Store


def unready(store: Store) -> str | None:
    """Return the reason why a store is not ready; None if it is ready.

    A store with a full disk is ready, because reads and deletes still work and Kubernetes sends requests only to ready
    pods.
    """
    if not store.alive:
        return "the writer has stopped"
    fault = store.fault
    if fault is None or isinstance(fault, DiskFullError):
        return None
    return f"the last write failed: {fault.code}: {fault}"
