"""PodDisruptionBudget of a store: no eviction deletes its one pod unless the user allows that."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.runtime.resource import Object


class DisruptionBudget(Step[SwarmMemoryStore]):
    """Ensure the PodDisruptionBudget, or that there is none."""

    owns = (kinds.POD_DISRUPTION_BUDGET,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        wanted = disruption_budget(r.parsed) if r.parsed.spec.enable_disruption_budget else None
        if wanted:
            await children.ensure(r, kinds.POD_DISRUPTION_BUDGET, wanted)
        await children.prune(r, kinds.POD_DISRUPTION_BUDGET, [wanted["metadata"]["name"]] if wanted else [])
        return done()


def disruption_budget(store: SwarmMemoryStore) -> Object:
    """Return the PodDisruptionBudget."""
    return {
        "metadata": {"name": store.metadata.name, "labels": labels.of_store(store)},
        "spec": {
            # A hibernated store has no pod. With minAvailable, monitoring would report the missing pod.
            "maxUnavailable": 0,
            # A pod that does not serve may be moved to another node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": labels.selector(store)},
        },
    }
