"""The data volume: a claim of the reconciler's own, not a claim template, so that growing it is a patch."""

from __future__ import annotations

from typing import Any

from swarm_operator.api.quantity import canonical_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers import labels
from swarm_operator.runtime.resource import Object


def data_claim_name(store: SwarmMemoryStore) -> str:
    """Name of the claim of the data volume."""
    return f"{store.metadata.name}-data"


def data_claim(store: SwarmMemoryStore) -> Object:
    """The claim of the data volume.

    ReadWriteOnce keeps it to one node; that one process opens the database is the service's own lock's duty.
    """
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": canonical_quantity(store.spec.storage_size)}},
    }
    if store.spec.storage_class:
        spec["storageClassName"] = store.spec.storage_class
    return {"metadata": {"name": data_claim_name(store), "labels": labels.of_store(store)}, "spec": spec}


def is_bound(claim: Object) -> bool:
    """Whether the claim has its volume."""
    return bool((claim.get("status") or {}).get("phase") == "Bound")
