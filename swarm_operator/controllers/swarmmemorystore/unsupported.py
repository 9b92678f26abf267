"""Fields of a store's spec that this release does not support yet. The condition Degraded names them."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed


class Unsupported(Step[SwarmMemoryStore]):
    """Report the fields that have no effect yet."""

    condition = "Degraded"

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        fields = not_implemented(r.parsed)
        if fields:
            return failed("NotImplemented", f"this release does not carry out yet: {', '.join(fields)}")
        return done("AsExpected")


def not_implemented(store: SwarmMemoryStore) -> list[str]:
    """Return the set fields that have no effect yet, by their names in YAML."""
    spec = store.spec
    asked = {
        "migrateFromLegacy": spec.migrate_from_legacy,
    }
    return [field for field, is_asked in asked.items() if is_asked]
