"""Which parts of a store's spec this release does not carry out yet; said in the Degraded condition, not in silence."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryStore


def not_implemented(store: SwarmMemoryStore) -> list[str]:
    """The fields, as users write them, that ask for something that does not work yet."""
    spec = store.spec
    asked = {
        "backupInterval": spec.backup_interval is not None,
        "backupOnDelete": spec.backup_on_delete,
        "migrateFromLegacy": spec.migrate_from_legacy,
    }
    return [field for field, is_asked in asked.items() if is_asked]
