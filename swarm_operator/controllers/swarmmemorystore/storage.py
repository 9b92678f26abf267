"""The data volume: a claim of its own and not a claim template, so that growing it is a patch."""

from __future__ import annotations

from typing import Any

from swarm_operator.api.quantity import canonical_quantity
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.runtime.resource import Object


class Storage(Step[SwarmMemoryStore]):
    """Ensure the claim of the data volume. A volume that cannot grow does not keep the pod from changing."""

    condition = "StorageReady"
    owns = (kinds.PERSISTENT_VOLUME_CLAIM,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        claim = await children.ensure(r, kinds.PERSISTENT_VOLUME_CLAIM, data_claim(r.parsed))
        outcome = claim_outcome(claim)
        r.status["storageReady"] = outcome.is_done
        return outcome


def data_claim_name(store: SwarmMemoryStore) -> str:
    """Return the name of the claim of the data volume."""
    return f"{store.metadata.name}-data"


def data_claim(store: SwarmMemoryStore) -> Object:
    """Return the claim of the data volume.

    ReadWriteOnce limits the volume to one node; the service's own lock limits the database to one process.
    """
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": canonical_quantity(store.spec.storage_size)}},
    }
    if store.spec.storage_class:
        spec["storageClassName"] = store.spec.storage_class
    return {"metadata": {"name": data_claim_name(store), "labels": labels.of_store(store)}, "spec": spec}


def claim_outcome(claim: Object) -> Outcome:
    """Return the outcome of a claim. Reasons: Bound, WaitingForVolume or VolumeTerminating."""
    name = claim["metadata"]["name"]
    if claim["metadata"].get("deletionTimestamp"):
        message = f"PersistentVolumeClaim {name} is being deleted; the pod keeps it until then"
        return failed("VolumeTerminating", message)
    if (claim.get("status") or {}).get("phase") == "Bound":
        return done("Bound", f"PersistentVolumeClaim {name} is bound")
    return waiting("WaitingForVolume", f"PersistentVolumeClaim {name} has no volume yet")
