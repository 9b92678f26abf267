"""SwarmMemoryRestore: one restore of a backup into a store, carried out by the store's memory service."""

from swarm_operator.controllers.swarmmemoryrestore.reconciler import SwarmMemoryRestoreReconciler

__all__ = ["SwarmMemoryRestoreReconciler"]
