"""SwarmMemoryStore: volume, tokens, Services and pod of one store, and its status."""

from swarm_operator.controllers.swarmmemorystore.reconciler import SwarmMemoryStoreReconciler

__all__ = ["SwarmMemoryStoreReconciler"]
