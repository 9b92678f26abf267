"""SwarmMemoryStore: volume, token, Services and pod of one store, and what the store says of itself."""

from swarm_operator.controllers.swarmmemorystore.reconciler import SwarmMemoryStoreReconciler

__all__ = ["SwarmMemoryStoreReconciler"]
