"""Whether the service is ready for requests, for the probes of HTTP and gRPC."""

from __future__ import annotations

from swarm_operator.memory.core.errors import DiskFullError
from swarm_operator.memory.core.store import Store


def unready(store: Store) -> str | None:
    """Return why a store is not ready; None if it is.

    A full disk leaves it ready: Kubernetes sends no request to a pod that is not, and reads and deletes still work.
    """
    if not store.alive:
        return "the writer has stopped"
    fault = store.fault
    if fault is None or isinstance(fault, DiskFullError):
        return None
    return f"the last write failed: {fault.code}: {fault}"
